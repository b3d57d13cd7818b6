package gc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/catalog"
	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/objstore"
	"github.com/coldbrick/coldbrick/internal/objstore/s3"
	"github.com/coldbrick/coldbrick/internal/owner"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/internal/volume"
)

// victimVariable makes the test program a run of gc, to be killed.
const victimVariable = "COLDBRICK_TEST_GC"

func TestMain(m *testing.M) {
	if text := os.Getenv(victimVariable); text != "" {
		var v victim
		err := json.Unmarshal([]byte(text), &v)
		if err == nil {
			err = v.run(context.Background())
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// victim is a run of gc --apply in a process of its own.
type victim struct {
	Options    map[string]string // of the store
	Brick, Dir string
	Most       int64
}

func (v victim) subject() catalog.Subject {
	name := "host:" + v.Brick
	return catalog.Subject{Brick: name, Ask: func(context.Context) (catalog.Cluster, error) {
		return catalog.Cluster{Asked: true, Sets: [][]string{{name}}}, nil
	}}
}

func (v victim) open(ctx context.Context) (Place, error) {
	store := &s3.Store{}
	if err := store.Init(ctx, v.Options); err != nil {
		return Place{}, err
	}
	_, err := store.Probe(ctx)
	return NewPlace(store, prefix, secret, v.Dir), err
}

func (v victim) scan() (*volume.Brick, catalog.Scan, error) {
	brick, err := volume.OpenBrick(v.Brick)
	return brick, catalog.Scan{Brick: brick, Dir: v.Dir, Workers: 1}, err
}

func (v victim) run(ctx context.Context) error {
	p, err := v.open(ctx)
	if err != nil {
		return err
	}
	f, err := p.Search(ctx, Search{Grace: grace, Jobs: 2, Found: func(Candidate) error { return nil }})
	if err != nil {
		return err
	}
	if len(f.List.Candidates) > 0 {
		if err := v.apply(ctx, p, &f.List); err != nil {
			return err
		}
	}
	_, err = p.Retire(ctx, grace)
	return err
}

func (v victim) apply(ctx context.Context, p Place, found *List) error {
	if err := p.Publish(ctx, found); err != nil {
		return err
	}
	status, err := p.Open(ctx)
	if err != nil || status == nil {
		return errors.Join(err, errors.New("no list is open"))
	}
	l, err := p.Read(ctx, *status)
	if err != nil {
		return err
	}
	brick, scan, err := v.scan()
	if err != nil {
		return err
	}
	defer brick.Close()
	if _, err := p.Answer(ctx, l, mine, v.subject(), Look{
		References: func(ctx context.Context, visit func(catalog.Ref) error) error {
			return catalog.References(ctx, scan, visit)
		},
		Lives: func(gfid gluster.GFID) (bool, error) { return catalog.Lives(brick, gfid) },
	}); err != nil {
		return err
	}
	self, err := owner.Self(object.NewID())
	if err != nil {
		return err
	}
	d := Deletion{Place: p, List: l, Owner: self, Jobs: 2, Most: v.Most,
		Record: func(Candidate) error { return nil }, Tell: func(Candidate, error) {}}
	return d.Run(ctx)
}

// A process that runs gc --apply on a real store is killed at its requests, before they
// are sent on or after they were carried out. What is referred to stays, and the next run
// whose time has come deletes what is left. make soak kills at each request.
func TestAProcessThatWasKilledHarmsNobody(t *testing.T) {
	server := testkit.S3(t)
	proxy := testkit.FaultProxy(t, server)
	options := map[string]string{"bucket": server.Bucket, "endpoint-url": server.Endpoint, "region": server.Region,
		"access-key-id": server.AccessKey, "secret-access-key": server.SecretKey}
	v := victim{options, testkit.Dir(t), t.TempDir(), 1}
	p, err := v.open(t.Context())
	must(t, err)
	must(t, objstore.Register(t.Context(), p.Store.(objstore.Registry), prefix, mine, secret))
	id, err := gluster.ParseGFID(mine)
	must(t, err)
	must(t, os.Mkdir(v.Brick+"/.glusterfs", 0o700))
	must(t, unix.Lsetxattr(v.Brick, gluster.XattrGFID, gluster.RootGFID[:], 0))
	must(t, unix.Lsetxattr(v.Brick, gluster.XattrVolumeID, id[:], 0))
	put := func(name string, n int) string {
		gfid := gluster.NewGFID()
		key := fmt.Sprintf("%sdata/%s %d", prefix, name, n)
		meta := object.Metadata{Volume: mine, GFID: gfid, Size: 1, Attempt: object.NewID()}
		_, err := p.Store.Create(t.Context(), key, bytes.NewReader([]byte("x")), 1, meta.Encode())
		must(t, err)
		if name == "kept" {
			file := fmt.Sprintf("%s/%d", v.Brick, n)
			must(t, os.WriteFile(file, nil, 0o600))
			must(t, unix.Lsetxattr(file, gluster.XattrGFID, gfid[:], 0))
			pointer := object.Pointer{GFID: gfid, Volume: mine, Key: key, Time: time.Now()}
			must(t, unix.Lsetxattr(file, gluster.XattrPointer, pointer.Encode(), 0))
		}
		return key
	}
	var kept []string
	for n := range 3 {
		kept = append(kept, put("kept", n))
	}
	for n := range victims + 3 {
		put("garbage", n)
	}
	age := func(by time.Duration) {
		must(t, filepath.WalkDir(filepath.Dir(server.ObjectFile("x")), func(name string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			info, err := entry.Info()
			must(t, err)
			return os.Chtimes(name, time.Time{}, info.ModTime().Add(-by))
		}))
	}
	writeDown := func() {
		brick, scan, err := v.scan()
		must(t, err)
		_, err = p.catalogs(mine).Take(t.Context(), v.subject(), scan)
		must(t, errors.Join(err, brick.Close()))
	}
	left := func() (keys []string) {
		must(t, p.Store.List(t.Context(), prefix, func(o objstore.Listed) error {
			if object.IsData(prefix, o.Key) {
				keys = append(keys, o.Key)
			}
			return nil
		}))
		slices.Sort(keys)
		return keys
	}
	v.Options = map[string]string{}
	for name, value := range options {
		v.Options[name] = value
	}
	v.Options["endpoint-url"] = proxy.Endpoint
	child := func() (*exec.Cmd, *bytes.Buffer) {
		text, err := json.Marshal(v)
		must(t, err)
		var said bytes.Buffer
		cmd := exec.Command("/proc/self/exe")
		cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), victimVariable+"="+string(text)), &said, &said
		return cmd, &said
	}

	age(time.Hour)
	writeDown()
	age(grace)
	killed := 0
	for n := range victims {
		age(3 * day) // what the run before has left open is over
		writeDown()
		proxy.Clear()
		cmd, said := child()
		started, done := make(chan struct{}), make(chan struct{})
		proxy.On(testkit.Match{Skip: 1 + n*everyVictim, Times: 1}, func(_ http.ResponseWriter, _ *http.Request, forward func() testkit.Answer) {
			if n%2 == 0 {
				forward()
			}
			<-started
			close(done) // it waits for an answer
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		})
		must(t, cmd.Start())
		close(started)
		err := cmd.Wait()
		select {
		case <-done:
			killed++
		default: // it had fewer requests
			if err != nil {
				t.Fatalf("run %d: %v: %s", n, err, said)
			}
		}
		for _, key := range kept {
			if !slices.Contains(left(), key) {
				t.Fatalf("run %d: %q is gone", n, key)
			}
		}
	}
	if killed < victims/2 {
		t.Errorf("%d of %d runs were killed: they prove nothing", killed, victims)
	}
	proxy.Clear()
	age(3 * day)
	writeDown()
	v.Most = 1 << 40
	cmd, said := child()
	if err := cmd.Run(); err != nil || !slices.Equal(left(), kept) {
		t.Errorf("the next run: %v: %s; left are %q", err, said, left())
	}
}
