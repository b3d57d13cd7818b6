package translator

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Addresses are those from which this process is connected, but for loopback: bricks
// know it by one of them. Without any connection to another host they are those of
// this host.
func Addresses() ([]netip.Addr, error) {
	sockets, err := ownSockets("/proc/self/fd")
	if err != nil {
		return nil, err
	}
	var all []netip.Addr
	for _, table := range []string{"/proc/self/net/tcp", "/proc/self/net/tcp6"} {
		f, err := os.Open(table)
		if errors.Is(err, os.ErrNotExist) { // no IPv6
			continue
		}
		if err != nil {
			return nil, err
		}
		found, err := connectedFrom(f, sockets)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", table, err)
		}
		all = append(all, found...)
	}
	all = foreign(all)
	if len(all) > 0 {
		return all, nil
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	for _, a := range own {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			all = append(all, prefix.Addr())
		}
	}
	return foreign(all), nil
}

// foreign leaves out what other hosts cannot know this one by, and what is said twice.
func foreign(addrs []netip.Addr) (kept []netip.Addr) {
	for _, addr := range addrs {
		if addr = addr.Unmap().WithZone(""); !addr.IsLoopback() && !slices.Contains(kept, addr) {
			kept = append(kept, addr)
		}
	}
	return kept
}

// ownSockets are the numbers of the sockets that the process has open.
func ownSockets(fds string) (map[string]bool, error) {
	entries, err := os.ReadDir(fds)
	if err != nil {
		return nil, err
	}
	sockets := map[string]bool{}
	for _, e := range entries {
		to, err := os.Readlink(filepath.Join(fds, e.Name()))
		if err != nil { // closed in the meantime
			continue
		}
		if number, ok := strings.CutPrefix(to, "socket:["); ok {
			sockets[strings.TrimSuffix(number, "]")] = true
		}
	}
	return sockets, nil
}

// Columns of /proc/net/tcp, of a connection that is established.
const (
	columnLocal  = 1
	columnState  = 3
	columnSocket = 9
	established  = "01"
)

// connectedFrom gives the local address of each connection among the sockets.
func connectedFrom(table io.Reader, sockets map[string]bool) (addrs []netip.Addr, err error) {
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) <= columnSocket || fields[columnState] != established || !sockets[fields[columnSocket]] {
			continue
		}
		addr, err := kernelAddr(fields[columnLocal])
		if err != nil {
			return nil, err
		}
		addrs = append(addrs, addr)
	}
	return addrs, lines.Err()
}

// kernelAddr reads ADDRESS:PORT as the kernel prints it on a little-endian machine, the
// only kind that the plugin is built for: each four bytes are reversed.
func kernelAddr(text string) (netip.Addr, error) {
	text, _, _ = strings.Cut(text, ":")
	b, err := hex.DecodeString(text)
	if err != nil || len(b)%4 != 0 {
		return netip.Addr{}, fmt.Errorf("%q is not an address", text)
	}
	for word := range slices.Chunk(b, 4) {
		slices.Reverse(word)
	}
	addr, ok := netip.AddrFromSlice(b)
	if !ok {
		return netip.Addr{}, fmt.Errorf("%q is not an address", text)
	}
	return addr, nil
}
