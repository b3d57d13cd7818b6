package testkit

import (
	"encoding/xml"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"
)

// Glacier plays S3's cold storage classes in front of a server that has none: objects
// put with such a class cannot be read until they were restored. A restore ends when
// the test says so.
type Glacier struct {
	mu      sync.Mutex
	changed *sync.Cond
	objects map[string]*coldObject
}

type coldObject struct {
	class   string
	restore string // x-amz-restore, empty if nobody has asked
	asked   []RestoreRequest
	looks   int // HEADs since the last change
}

// RestoreRequest is what a client has asked for.
type RestoreRequest struct {
	Status int // of the answer
	Days   int
	Tier   string
}

// Glacier makes the proxy play cold storage classes. Faults of On come before it.
func (p *Proxy) Glacier() *Glacier {
	g := &Glacier{objects: map[string]*coldObject{}}
	g.changed = sync.NewCond(&g.mu)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.glacier = g
	return g
}

// Freeze moves an object to a class, as a lifecycle rule does, or lets its restored
// copy expire.
func (g *Glacier) Freeze(key, class string) { g.set(key, class, "") }

// Finish ends the restore of an object.
func (g *Glacier) Finish(key string) {
	g.set(key, "", `ongoing-request="false", expiry-date="Fri, 21 Dec 2029 00:00:00 GMT"`)
}

func (g *Glacier) set(key, class, restore string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	o := g.object(key)
	if class != "" {
		o.class = class
	}
	o.restore, o.looks = restore, 0
	g.changed.Broadcast()
}

// object must be called with the lock held.
func (g *Glacier) object(key string) *coldObject {
	if g.objects[key] == nil {
		g.objects[key] = &coldObject{}
	}
	return g.objects[key]
}

// Asked are the restores asked for of an object.
func (g *Glacier) Asked(key string) []RestoreRequest {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]RestoreRequest(nil), g.object(key).asked...)
}

// Class is that with which an object was put; empty for the standard one.
func (g *Glacier) Class(key string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.object(key).class
}

// AwaitAsked returns when so many restores of an object were asked for.
func (g *Glacier) AwaitAsked(t testing.TB, key string, n int) {
	t.Helper()
	g.await(t, func() bool { return len(g.object(key).asked) >= n }, "restore requests of "+key)
}

// AwaitLooks returns when clients have looked at an object so many times since its
// state has changed.
func (g *Glacier) AwaitLooks(t testing.TB, key string, n int) {
	t.Helper()
	g.await(t, func() bool { return g.object(key).looks >= n }, "looks at "+key)
}

func (g *Glacier) await(t testing.TB, met func() bool, what string) {
	t.Helper()
	late := false
	defer time.AfterFunc(time.Minute, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		late = true
		g.changed.Broadcast()
	}).Stop()
	g.mu.Lock()
	defer g.mu.Unlock()
	for !met() {
		if late {
			t.Fatalf("a minute without %s", what)
		}
		g.changed.Wait()
	}
}

// fault is what the classes do to a request, nil for nothing.
func (g *Glacier) fault(r Request) Fault {
	g.mu.Lock()
	defer g.mu.Unlock()
	if class := r.Header.Get("X-Amz-Storage-Class"); class != "" {
		g.object(r.Key).class = class
		return nil
	}
	o := *g.object(r.Key)
	if o.class == "" {
		return nil
	}
	thawed := o.restore != "" && o.restore != ongoing
	switch {
	case r.Method == http.MethodPost && r.Query.Has("restore"):
		return func(w http.ResponseWriter, req *http.Request, _ func() Answer) { g.ask(w, req, r.Key) }
	case r.Method == http.MethodHead:
		g.object(r.Key).looks++
		g.changed.Broadcast()
		return Edit(func(header http.Header, body []byte) []byte {
			header.Set("X-Amz-Storage-Class", o.class)
			if o.restore != "" {
				header.Set("X-Amz-Restore", o.restore)
			}
			return body
		})
	case r.Method == http.MethodGet && len(r.Query) <= 1 && !thawed: // of the data: x-id at most
		return Refuse(http.StatusForbidden, "InvalidObjectState")
	}
	return nil
}

const ongoing = `ongoing-request="true"`

// ask answers a RestoreObject.
func (g *Glacier) ask(w http.ResponseWriter, req *http.Request, key string) {
	var body struct {
		Days                 int
		GlacierJobParameters struct{ Tier string }
	}
	text, _ := io.ReadAll(req.Body)
	if err := xml.Unmarshal(text, &body); err != nil {
		Refuse(http.StatusBadRequest, "MalformedXML")(w, req, nil)
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	o := g.object(key)
	asked := RestoreRequest{Status: http.StatusAccepted, Days: body.Days, Tier: body.GlacierJobParameters.Tier}
	switch o.restore {
	case "":
		o.restore = ongoing
	case ongoing:
		asked.Status = http.StatusConflict
	default:
		asked.Status = http.StatusOK // it can be read for longer
	}
	o.asked, o.looks = append(o.asked, asked), 0
	g.changed.Broadcast()
	if asked.Status == http.StatusConflict {
		Refuse(asked.Status, "RestoreAlreadyInProgress")(w, req, nil)
		return
	}
	w.WriteHeader(asked.Status)
}
