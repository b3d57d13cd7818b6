package volume

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
)

// ErrDegraded means that a brick of the volume is not connected.
var ErrDegraded = errors.New("a brick is down")

// child is a translator whose private file in .meta tells whether bricks are
// up: a replica set, or the client of a brick that is in none.
type child struct {
	name    string
	bricks  []string // HOST:DIR, for people, in the order of the set
	replica bool
	private *os.File // O_PATH
}

// children are all of a mount, so that each brick is told about once.
type children []child

// BrickNames are the bricks of the volume as HOST:DIR.
func (m *Mount) BrickNames() (names []string) {
	for _, x := range m.Graph.Of(gluster.TypeClient) {
		names = append(names, x.Option("remote-host")+":"+x.Option("remote-subvolume"))
	}
	return names
}

// findChildren opens their private files.
func findChildren(root *Root, graph gluster.Graph) (children, error) {
	active, err := activeGraph(root)
	if err != nil {
		return nil, err
	}
	bricks := make(map[string]string)
	for _, x := range graph.Of(gluster.TypeClient) {
		bricks[x.Name] = x.Option("remote-host") + ":" + x.Option("remote-subvolume")
	}
	var all children
	inSet := make(map[string]bool)
	for _, x := range graph.Of(gluster.TypeReplicate) {
		c := child{name: x.Name, replica: true}
		for _, name := range x.Subvolumes {
			brick, ok := bricks[name]
			if !ok {
				return nil, fmt.Errorf("%s is made of %s, which is no brick", x.Name, name)
			}
			inSet[name] = true
			c.bricks = append(c.bricks, brick)
		}
		all = append(all, c)
	}
	for _, x := range graph.Of(gluster.TypeClient) {
		if !inSet[x.Name] {
			all = append(all, child{name: x.Name, bricks: []string{bricks[x.Name]}})
		}
	}
	for i, c := range all {
		all[i].private, err = root.Open(".meta/graphs/"+active+"/"+c.name+"/private", unix.O_PATH)
		if err != nil {
			all[:i].close()
			return nil, err
		}
	}
	return all, nil
}

func (all children) close() {
	for _, c := range all {
		c.private.Close()
	}
}

// Children looks whether every brick of the volume is up, as the client of this
// mount sees it at this moment. If not, the error is ErrDegraded and names the
// bricks that are down. Any other error means that it could not be told.
//
// Calls that come while one looks, or soon after, share the next look: of each,
// the answer is no older than the call.
func (p *Private) Children() error { return p.looks.share(p.children.check) }

// lookPause is from one look to the next, so that many workers need few.
const lookPause = 5 * time.Millisecond

// looks lets many callers share what one of them finds.
type looks struct {
	mu           sync.Mutex
	ended        *sync.Cond
	begun, known int64 // numbers of the last look that began, and of the last that found all well
	last         time.Time
	looking      bool // or about to
}

// share returns what a look finds that began after the call. Only that all is
// well is shared: an error may come from the one who looked.
func (l *looks) share(look func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended == nil {
		l.ended = sync.NewCond(&l.mu)
	}
	for mine := l.begun + 1; l.known < mine; {
		if l.looking {
			l.ended.Wait()
			continue
		}
		l.looking = true
		l.mu.Unlock()
		time.Sleep(time.Until(l.last.Add(lookPause)))
		l.mu.Lock()
		l.begun++
		number := l.begun
		l.mu.Unlock()
		err := look()
		l.mu.Lock()
		l.looking, l.last = false, time.Now()
		l.ended.Broadcast()
		if err != nil {
			return err
		}
		l.known = number
	}
	return nil
}

func (all children) check() error {
	var down []string
	for _, c := range all {
		d, err := c.down()
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		down = append(down, d...)
	}
	if down != nil {
		return fmt.Errorf("%w: %s", ErrDegraded, strings.Join(down, ", "))
	}
	return nil
}

// down names the bricks that are not up.
func (c child) down() ([]string, error) {
	// A client that is busy does not wait for its own lock and leaves the
	// values out.
	for try := range 50 {
		if try > 0 {
			time.Sleep(200 * time.Microsecond)
		}
		text, err := glanceVirtual(c.private)
		if err != nil {
			return nil, err
		}
		if down, ok := c.parse(text); ok {
			return down, nil
		}
	}
	return nil, errors.New("its state in .meta does not show")
}

func (c child) parse(text []byte) (down []string, ok bool) {
	values := parsePrivate(text)
	for i, brick := range c.bricks {
		key := "connected"
		if c.replica {
			// Of a set its own view counts: it lets a brick take part only some
			// time after the client has connected it.
			key = fmt.Sprintf("child_up[%d]", i)
		}
		switch values[key] {
		case "1":
		case "":
			return nil, false
		default:
			down = append(down, brick)
		}
	}
	return down, true
}

// parsePrivate reads the "key = value" lines of a private file.
func parsePrivate(text []byte) map[string]string {
	values := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), " = "); ok {
			values[key] = value
		}
	}
	return values
}
