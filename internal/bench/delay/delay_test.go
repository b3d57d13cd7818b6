package delay

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

func TestEveryByteArrivesAndNoneTooEarly(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	near, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	const roundTrip = 30 * time.Millisecond
	served := make(chan error, 1)
	go func() { served <- Serve(near, echo.Addr().String(), roundTrip) }()

	start := time.Now()
	c, err := net.Dial("tcp", near.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	go func() {
		_, _ = c.Write(sent)
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	first := make([]byte, 1)
	if _, err := io.ReadFull(c, first); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 2*roundTrip {
		t.Errorf("a connection and an answer took %v", took)
	}
	rest, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(append(first, rest...), sent) {
		t.Errorf("%d of %d bytes came back as they were: %v", 1+len(rest), len(sent), err)
	}
	near.Close()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
