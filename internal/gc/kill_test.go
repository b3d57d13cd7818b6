package gc

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/owner"
)

// mortal is the store of a process that is killed at a request: from then on it sends
// nothing more.
type mortal struct {
	*seen
	left int // requests before that one
	how  death
	dead bool
	late func() error // that request, which is still on its way
}

type death int

const (
	unsent     death = iota // before the request is sent
	unanswered              // after it was carried out
	onItsWay                // it is carried out much later
	deaths
)

var errKilled = errors.New("killed by the test")

func (m *mortal) send(request func() error) error {
	switch {
	case m.dead:
		return errKilled
	case m.left > 0:
		m.left--
		return request()
	}
	m.dead = true
	switch m.how {
	case unanswered:
		_ = request()
	case onItsWay:
		m.late = request
	}
	return errKilled
}

func (m *mortal) Create(ctx context.Context, key string, body io.ReaderAt, size int64, metadata map[string]string) (p object.Proof, err error) {
	return p, m.send(func() (err error) { p, err = m.seen.Create(ctx, key, body, size, metadata); return err })
}

func (m *mortal) Head(ctx context.Context, key string) (i object.Info, err error) {
	return i, m.send(func() (err error) { i, err = m.seen.Head(ctx, key); return err })
}

func (m *mortal) Download(ctx context.Context, key string, dst io.WriterAt, accept func(object.Info) error) (p object.Proof, err error) {
	return p, m.send(func() (err error) { p, err = m.seen.Download(ctx, key, dst, accept); return err })
}

func (m *mortal) List(ctx context.Context, under string, visit func(objstore.Listed) error) error {
	return m.send(func() error { return m.seen.List(ctx, under, visit) })
}

func (m *mortal) Split(ctx context.Context, under string) (objects []objstore.Listed, below []string, whole bool, err error) {
	err = m.send(func() (err error) { objects, below, whole, err = m.seen.Split(ctx, under); return err })
	return objects, below, whole, err
}

func (m *mortal) Delete(ctx context.Context, key string, is object.Info) error {
	return m.send(func() error { return m.seen.Delete(ctx, key, is) })
}

// resume is gc --apply, whatever another run has left.
func (w *world) resume() error { return w.resumeOr(w.apply) }

// resumeOr goes on with the list that another run has left, or begins anew.
func (w *world) resumeOr(begin func() error) error {
	p := w.place()
	status, err := p.Open(context.Background())
	if err != nil {
		return err
	}
	if status != nil {
		if stale, err := p.Stale(context.Background(), *status); err != nil || stale {
			return errors.Join(err, errors.New("a stale list was ended"))
		}
		l, err := p.Read(context.Background(), *status)
		if err != nil {
			return err
		}
		return errors.Join(w.answers(l), w.delete(l))
	}
	return begin()
}

// A run of gc --apply is killed at each of its requests, in each way. Somebody brings
// the file back as soon as that is allowed: its object is there then, and stays, also
// when the last request of the dead run is carried out only now. Where nobody does, a
// later run deletes it.
func TestARunThatWasKilledHarmsNobody(t *testing.T) {
	key := prefix + "data/garbage"
	refused, undeleted, collected := 0, 0, 0
	for how := range deaths {
		for _, wanted := range []bool{true, false} {
			for nth := 0; ; nth++ {
				w, v := ripe(t)
				m := &mortal{seen: &seen{w}, left: nth, how: how}
				w.via = m
				err := w.apply()
				if !m.dead {
					if err != nil {
						t.Fatal(err)
					}
					break
				}
				w.via = nil
				gone := false
				for try := range 40 { // a new try every two hours, and new catalogs every day
					w.now = w.now.Add(2 * time.Hour)
					if try%12 == 0 {
						v.catalog()
					}
					if wanted && v.files["garbage"] == nil && slices.Contains(w.keys(), key) {
						i, err := w.place().Intend(t.Context(), "an undelete", owner.Owner{Run: object.NewID()})
						if err != nil {
							refused++
						} else {
							undeleted++
							v.files["garbage"] = &file{"1", []string{key}}
							if err := i.End(t.Context()); err != nil {
								t.Fatal(err)
							}
						}
					}
					if m.late != nil && (try == 22 || v.files["garbage"] != nil) { // not after its host gave up
						_ = m.late()
						m.late = nil
					}
					if try%3 == 2 && w.resume() == nil && !slices.Contains(w.keys(), key) {
						gone = true
					}
				}
				if v.files["garbage"] == nil && !gone && slices.Contains(w.keys(), key) {
					t.Errorf("killed at request %d, way %d: the object was never deleted", nth, how)
				}
				if gone {
					collected++
				}
				if want := []string{prefix + "data/kept", prefix + "data/kept too"}; !slices.Contains(w.keys(), want[0]) || !slices.Contains(w.keys(), want[1]) {
					t.Errorf("killed at request %d, way %d: left are %q", nth, how, w.keys())
				}
				if t.Failed() {
					return
				}
			}
		}
	}
	if refused < 10 || undeleted < 10 || collected < 10 {
		t.Errorf("%d undeletes were refused, %d went through, %d objects were collected: it proves nothing", refused, undeleted, collected)
	}
}
