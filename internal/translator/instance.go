package translator

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/workers"
)

// Store is a store that can be opened and closed; objstore's are Stores.
type Store interface {
	Downloader
	RangeReader
	// Init reads the options. It sends nothing.
	Init(ctx context.Context, options map[string]string) error
	Fini() error
}

// idleStore is how long a store stays open that nobody reads from: long enough
// that a burst of recalls shares connections, short enough that a mount that
// recalls nothing holds no memory for it.
const idleStore = 2 * time.Minute

// Stores opens stores when they are needed. All instances of a process share
// it: a mount has one instance per graph, Gluster never ends those of previous
// graphs, and what they do not hold cannot leak.
type Stores struct {
	newStore func() Store
	idle     time.Duration

	mu      sync.Mutex
	open    map[string]*openStore // by options
	clients map[string]*client    // by volume
}

// client is what all instances of a volume share in a process.
type client struct {
	cache  *cache
	recent *meter
	counts counts
}

type openStore struct {
	store Store
	users int
	since time.Time // without users, while users is 0
}

// NewStores makes a Stores of those that newStore makes.
func NewStores(newStore func() Store) *Stores {
	return &Stores{newStore: newStore, idle: idleStore, open: map[string]*openStore{}, clients: map[string]*client{}}
}

func (s *Stores) client(volume string) *client {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.clients[volume]
	if c == nil {
		c = &client{cache: newCache(), recent: newMeter()}
		s.clients[volume] = c
	}
	return c
}

// get returns a store of these options, and a function to give it back.
func (s *Stores) get(ctx context.Context, options map[string]string) (_ Store, release func(), err error) {
	name := identity(options)
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.open[name]
	if o == nil {
		o = &openStore{store: s.newStore()}
		if err := o.store.Init(ctx, options); err != nil {
			return nil, nil, err
		}
		s.open[name] = o
	}
	o.users++
	return o.store, func() { s.release(name, o) }, nil
}

func (s *Stores) release(name string, o *openStore) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.users--; o.users > 0 {
		return
	}
	o.since = time.Now()
	time.AfterFunc(s.idle, func() { s.expire(name, o) })
}

func (s *Stores) expire(name string, o *openStore) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.users > 0 || time.Since(o.since) < s.idle || s.open[name] != o {
		return
	}
	delete(s.open, name)
	_ = workers.Guard(o.store.Fini) // closes idle connections: nothing is lost
}

// identity tells sets of options apart.
func identity(options map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(options)) {
		fmt.Fprintf(&b, "%q=%q\n", name, options[name])
	}
	return b.String()
}

// Instance serves one cloudsync translator of one graph.
type Instance struct {
	stores  *Stores
	keysDir string
	client  *client

	mu       sync.Mutex
	settings Settings
	tuning   Tuning
	round    *round // nil when nothing more may begin

	running sync.WaitGroup // all reads and recalls, those that nobody waits for included
	closing chan struct{}
}

// round is what has begun until the graph went.
type round struct {
	ctx            context.Context //nolint:containedctx // done when the graph goes
	end            context.CancelCauseFunc
	reads, recalls sync.WaitGroup
}

func newRound() *round {
	r := &round{}
	r.ctx, r.end = context.WithCancelCause(context.Background())
	return r
}

// NewInstance makes an instance. Nothing is checked yet: a volume whose options
// are wrong still mounts, and its recalls say why they fail.
func NewInstance(stores *Stores, keysDir string, settings Settings) *Instance {
	i := &Instance{
		stores: stores, keysDir: keysDir, client: stores.client(settings.Volume),
		round: newRound(), closing: make(chan struct{}),
	}
	i.Reconfigure(settings)
	return i
}

// Reconfigure changes the settings of recalls that begin later.
func (i *Instance) Reconfigure(settings Settings) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.settings = settings
	i.tuning, _ = ParseTuning(settings.Hostname) // Check says what is wrong with it
	i.client.cache.resize(i.tuning.ReadCache)
}

// Close ends what is still done to files whose brick is away. The translator is
// about to go, and no recall is asked for any more.
func (i *Instance) Close() {
	close(i.closing)
	if r := i.next(nil); r != nil {
		r.end(errEnding)
	}
	waitFor(&i.running)
}

// End is called when the graph goes, whose files may be freed once it has returned: it
// lets remote reads fail, ends what is still done to files whose brick is away, and waits
// for both. What begins later is served. answering is for a call from a read, which
// cannot wait for reads.
func (i *Instance) End(answering bool) {
	r := i.next(newRound())
	if r == nil {
		return
	}
	r.end(errEnding)
	if answering {
		waitFor(&r.recalls)
	} else {
		waitFor(&r.reads, &r.recalls)
	}
}

// next replaces the round, and returns the one that it was.
func (i *Instance) next(r *round) *round {
	i.mu.Lock()
	defer i.mu.Unlock()
	former := i.round
	i.round = r
	return former
}

// begin runs work in a goroutine of its own, which counts in a group of the round. The
// context ends with the round. It reports false, and runs nothing, if the instance ends.
func (i *Instance) begin(group func(*round) *sync.WaitGroup, work func(ctx context.Context)) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	r := i.round
	if r == nil {
		return false
	}
	counted := group(r)
	counted.Add(1)
	i.running.Go(func() {
		defer counted.Done()
		work(r.ctx)
	})
	return true
}

// waitFor gives up on a brick that answers nothing.
func waitFor(groups ...*sync.WaitGroup) {
	ended := make(chan struct{})
	go func() {
		for _, g := range groups {
			g.Wait()
		}
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(closePatience):
	}
}

// Check tells what is wrong with the settings, without asking the store.
func (i *Instance) Check() error {
	_, err := i.options()
	return err
}

// Recall brings the data of a stub back. On an error the file is a stub again,
// and the next read may succeed. If the brick is away, that is done when it
// returns, and late is told how it ended: nil, or what fsck has to fix.
//
// The settings are read anew each time: a changed secret needs no remount.
func (i *Instance) Recall(ctx context.Context, stub Stub, late func(error)) (Result, error) {
	a := &attended{transaction: transaction{Stub: stub, now: time.Now}, late: late, release: func() {}}
	uncount, err := i.admit(stub.Size)
	if err == nil {
		a.store, a.release, err = i.store(ctx)
	}
	if err != nil {
		a.store, a.release = unusable{err}, func() {}
	}
	res, err := i.attend(ctx, a)
	i.client.counts.recalled(stub.Size, res, err)
	if err != nil || res.Claimed {
		uncount()
	}
	return res, err
}

// admit counts a recall, unless the client has had as many as it may.
func (i *Instance) admit(size int64) (undo func(), err error) {
	i.mu.Lock()
	limit := i.tuning.RecallLimit
	i.mu.Unlock()
	undo, err = i.client.recent.take(limit, size, time.Now())
	if err != nil {
		return func() {}, err
	}
	return undo, nil
}

func (i *Instance) store(ctx context.Context) (store Store, release func(), err error) {
	err = workers.Guard(func() error {
		options, err := i.options()
		if err == nil {
			store, release, err = i.stores.get(ctx, options)
		}
		return err
	})
	return store, release, err
}

func (i *Instance) options() (map[string]string, error) {
	i.mu.Lock()
	settings := i.settings
	i.mu.Unlock()
	return settings.Options(i.keysDir)
}

// unusable stands in for a store that cannot be opened, so that the file is
// rolled back in the one way there is.
type unusable struct{ err error }

func (u unusable) Download(context.Context, string, io.WriterAt, func(object.Info) error) (object.Proof, error) {
	return object.Proof{}, u.err
}
