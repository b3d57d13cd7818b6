//go:build bench

package transfer

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/coldbrick/coldbrick/internal/testkit"
)

// TestRoundTrips counts what coldbrick asks of its private mounts for one file,
// from the client's own record of its FUSE traffic.
func TestRoundTrips(t *testing.T) {
	t.Run("one brick", func(t *testing.T) { roundTrips(newGround(t)) })
	t.Run("replica 3", func(t *testing.T) { roundTrips(newGround(t, testkit.Replica(3))) })
}

func roundTrips(g *ground) {
	w := workload{"200 files of 4 KiB", 200, 4 << 10}
	tree := g.makeTree(w)
	g.Logf("requests per file of %s:\n%s", "archive", g.requests(w, g.archiveCommand(tree)))
	g.mustAllBeStubs(w, tree)
	g.Logf("requests per file of %s:\n%s", "recall", g.requests(w, g.recallCommand(tree)))
}

// TestReleaseRequests counts what a release asks of mounts and store by the size of the
// files: of copied ones, and after a recall.
func TestReleaseRequests(t *testing.T) {
	g := newGround(t)
	proxy := testkit.FaultProxy(t, g.store)
	for _, size := range []int64{4 << 10, 64 << 20, 1 << 30} {
		const files = 4 // of each size, so that what a run asks for itself is the same
		w := workload{fmt.Sprintf("%d files of %d KiB", files, size>>10), files, size}
		tree := g.makeTree(w)
		archive, recall := g.archiveTo(tree, proxy.Endpoint), g.recallCommand(tree)
		recall.command[slices.Index(recall.command, g.store.Endpoint)] = proxy.Endpoint
		keep, release := archive, archive
		keep.command = append(slices.Clone(archive.command), "--keep")
		release.command = slices.Clone(archive.command)
		release.command[1] = "release"
		for _, c := range []tool{keep, release, recall, release} {
			before := len(proxy.Requests(testkit.Match{}))
			atMounts := g.requests(w, c)
			asked := slices.DeleteFunc(proxy.Requests(testkit.Match{})[before:], func(r testkit.Request) bool { return !strings.HasPrefix(r.Key, tree+"/") })
			g.Logf("%s of %s: requests to the store: %v, to the mounts per file:\n%s", c.command[1], w.name,
				tally(asked, func(r testkit.Request) string { return r.Method }), atMounts)
		}
		g.mustAllBeStubs(w, tree)
		g.removeTree(tree)
	}
}

// requests runs coldbrick with clients that record their traffic.
func (g *ground) requests(w workload, c tool) string {
	g.Helper()
	dir := g.TempDir()
	script := "#!/bin/sh\nexec /usr/sbin/glusterfs --dump-fuse=" + dir + "/$$.dump \"$@\"\n"
	if err := os.WriteFile(filepath.Join(dir, "glusterfs"), []byte(script), 0o755); err != nil {
		g.Fatal(err)
	}
	c.env = append(c.env, "PATH="+dir+":"+os.Getenv("PATH"))
	c.run(g.T)
	dumps, err := filepath.Glob(dir + "/*.dump")
	if err != nil || len(dumps) == 0 {
		g.Fatalf("no client was started: %v", err)
	}
	var b strings.Builder
	for i, name := range dumps {
		dump, err := os.ReadFile(name)
		if err != nil {
			g.Fatal(err)
		}
		counts := countRequests(g.T, dump)
		fmt.Fprintf(&b, "  client %d\n", i+1)
		for _, what := range slices.Sorted(maps.Keys(counts)) {
			if perFile := float64(counts[what]) / float64(w.files); perFile >= 0.05 {
				fmt.Fprintf(&b, "    %5.2f %s\n", perFile, what)
			}
		}
	}
	return b.String()
}

// opcodes of fuse(4) that occur here.
var opcodes = map[uint32]string{
	1: "LOOKUP", 2: "FORGET", 3: "GETATTR", 4: "SETATTR", 14: "OPEN", 15: "READ", 16: "WRITE", 17: "STATFS", 18: "RELEASE",
	20: "FSYNC", 21: "SETXATTR", 22: "GETXATTR", 23: "LISTXATTR", 24: "REMOVEXATTR", 25: "FLUSH", 26: "INIT",
	27: "OPENDIR", 28: "READDIR", 29: "RELEASEDIR", 42: "BATCH_FORGET", 44: "READDIRPLUS",
}

// countRequests reads what glusterfs --dump-fuse wrote: per message a direction,
// the number of items that follow, and three items, each beginning with its
// length: time, signature, message.
func countRequests(t *testing.T, dump []byte) map[string]int {
	t.Helper()
	type request struct {
		op   uint32
		node uint64
		name string
	}
	var all []request
	files := map[uint64]bool{} // nodes with attributes of ours: all others are .meta
	for len(dump) > 5 {
		direction := dump[0]
		rest := dump[5:]
		var message []byte
		for range binary.NativeEndian.Uint32(dump[1:]) {
			if len(rest) < 4 || len(rest) < int(binary.NativeEndian.Uint32(rest)) {
				return tally(all, func(r request) string { return label(r.op, r.name, files[r.node]) })
			}
			n := binary.NativeEndian.Uint32(rest)
			message, rest = rest[:n], rest[n:]
		}
		dump = rest
		if direction != 'R' || len(message) < 40 {
			continue
		}
		r := request{op: binary.NativeEndian.Uint32(message[4:]), node: binary.NativeEndian.Uint64(message[16:])}
		switch body := message[40:]; opcodes[r.op] {
		case "SETXATTR", "GETXATTR":
			name, _, _ := bytes.Cut(bytes.TrimLeft(body[8:], "\x00"), []byte{0})
			r.name = string(name)
			files[r.node] = true
		case "REMOVEXATTR":
			name, _, _ := bytes.Cut(body, []byte{0})
			r.name = string(name)
		}
		all = append(all, r)
	}
	return tally(all, func(r request) string { return label(r.op, r.name, files[r.node]) })
}

func tally[T any](all []T, name func(T) string) map[string]int {
	counts := map[string]int{}
	for _, r := range all {
		counts[name(r)]++
	}
	return counts
}

func label(op uint32, name string, file bool) string {
	what := opcodes[op]
	if what == "" {
		what = fmt.Sprint("opcode ", op)
	}
	if name != "" {
		what += " " + name
	} else if file {
		what += " of the file"
	}
	return what
}
