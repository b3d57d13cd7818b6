// Package delay puts distance between a client and a server: what one sends reaches the
// other that much later, at any rate. It is for where the kernel has no netem.
package delay

import (
	"errors"
	"net"
	"time"
)

// Serve forwards connections of l to an address until l is closed. Every byte is under
// way for half a round trip, and a connection takes a whole one to be made.
func Serve(l net.Listener, to string, roundTrip time.Duration) error {
	for {
		client, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go func() {
			defer client.Close()
			time.Sleep(roundTrip)
			server, err := net.Dial("tcp", to)
			if err != nil {
				return // the client sees its connection end
			}
			defer server.Close()
			up := make(chan struct{})
			go func() {
				defer close(up)
				carry(server, client, roundTrip/2)
			}()
			carry(client, server, roundTrip/2)
			<-up
		}()
	}
}

// parcel is what was read at once, and when it arrives; nil data is the end.
type parcel struct {
	data []byte
	due  time.Time
}

// carry delivers what src sends to dst. Many parcels are under way at once.
func carry(dst, src net.Conn, after time.Duration) {
	const inFlight = 1024 // of at most 64 KiB
	way := make(chan parcel, inFlight)
	go func() {
		defer close(way)
		buffer := make([]byte, 64<<10)
		for {
			n, err := src.Read(buffer)
			if n > 0 {
				way <- parcel{append([]byte(nil), buffer[:n]...), time.Now().Add(after)}
			}
			if err != nil {
				way <- parcel{due: time.Now().Add(after)}
				return
			}
		}
	}()
	var lost error
	for p := range way { // to its end, or src's reader would wait for ever
		time.Sleep(time.Until(p.due))
		switch {
		case lost != nil:
		case p.data == nil:
			if half, ok := dst.(*net.TCPConn); ok {
				lost = half.CloseWrite()
			}
		default:
			if _, lost = dst.Write(p.data); lost != nil {
				lost = errors.Join(lost, src.Close())
			}
		}
	}
}
