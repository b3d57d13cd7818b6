package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/object"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/owner"
	"github.com/coldbrick/coldbrick/internal/record"
	"github.com/coldbrick/coldbrick/internal/testkit"
	"github.com/coldbrick/coldbrick/internal/volume"
)

// A run died with a multipart upload half way, after it had stamped a file while
// a brick was down; self-heal has brought the data back under the stub since.
func TestTheNextRunClearsAwayWhatADeadOneLeft(t *testing.T) {
	v, s3 := testkit.NewVolume(t), testkit.S3(t)
	proxy := testkit.FaultProxy(t, s3)
	s3.Endpoint = proxy.Endpoint
	nocs := v.NewMount(t, testkit.WithoutCloudsync())
	state := t.TempDir()
	coldbrick := commandOn(t, v, s3)
	archive := func() []treeLine {
		t.Helper()
		return coldbrick("archive", v.BrickDir(), "--mount", v.MountDir(), "--json", "--state-dir", state)
	}
	data := bytes.Repeat([]byte("data "), 1000)
	cold := time.Unix(1672628645, 0)
	v.Write("f", data, cold)
	archive()
	if err := os.WriteFile(filepath.Join(nocs, "f"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(nocs, "f"), cold, cold); err != nil { // as a heal does
		t.Fatal(err)
	}
	dead := leaveRecord(t, filepath.Join(state, "runs"), v.BrickDir(),
		record.Entry{Phase: record.Uploading, Key: "half", Upload: "c0ffee"},
		record.Entry{Phase: record.Degraded, Path: []byte("f"), GFID: ref(v.GFID("f")), Key: "f"})

	archived := false
	for _, l := range archive() {
		t.Logf("%+v", l)
		archived = archived || l.path() == "f" && l.Outcome == "archived"
	}
	if !archived || v.BrickSize("f") != 0 {
		t.Error("the fixed file was not archived again")
	}
	if aborts := proxy.Requests(testkit.Match{Method: "DELETE", Key: "half", Query: []string{"uploadId=c0ffee"}}); len(aborts) != 1 {
		t.Errorf("%d requests to abort the upload", len(aborts))
	}
	if left, err := record.Open(filepath.Join(state, "runs"), dead); err != nil {
		t.Error(err)
	} else {
		for _, u := range left {
			if u.Owner.Run == dead.Run {
				t.Error("the record of the dead run is still unsettled")
			}
		}
	}
	coldbrick("recall", v.Path("f"))
	if got, err := os.ReadFile(filepath.Join(v.NewMount(t), "f")); err != nil || !bytes.Equal(got, data) {
		t.Errorf("after all that: %d bytes, %v", len(got), err)
	}
}

// A brick was down at the stamp, and self-heal has begun to bring the data back under
// the stub: one brick has it, nothing is noted as pending any more, and the mount
// shows one of the others, where all is well. Whoever believes that has a file that
// nobody can read as soon as self-heal goes on.
func TestTheNextRunMendsAStubWhoseBytesOneReplicaKept(t *testing.T) {
	v, s3 := testkit.NewVolume(t, testkit.Replica(3)), testkit.S3(t)
	state := t.TempDir()
	coldbrick := commandOn(t, v, s3)
	archive := func() []treeLine {
		t.Helper()
		return coldbrick("archive", v.BrickDir(), "--mount", v.MountDir(), "--json", "--state-dir", state)
	}
	data := bytes.Repeat([]byte("data "), 1000)
	noted := []record.Entry{
		{Phase: record.Degraded, Path: []byte("degraded"), Key: "degraded"},
		{Phase: record.Proven, Path: []byte("proven"), Key: "proven", Attempt: "1"}, // it died before it had looked
	}
	for _, e := range noted {
		v.Write(string(e.Path), data, time.Unix(1672628645, 0))
	}
	archive()
	for i, e := range noted {
		if err := os.WriteFile(filepath.Join(v.BrickDirs()[2], string(e.Path)), data, 0o644); err != nil {
			t.Fatal(err)
		}
		noted[i].GFID = ref(v.GFID(string(e.Path)))
	}
	found, code, stderr := anyCommandOn(t, v, s3)("fsck", v.BrickDirs()[2], "--mount", v.MountDir(), "--json")
	if code != 14 || len(found) == 0 || found[0].Class != string(outcome.ClassBytesInStub) {
		t.Errorf("fsck of that brick: exit code %d, found %+v: %s", code, found, stderr)
	}
	leaveRecord(t, filepath.Join(state, "runs"), v.BrickDir(), noted...)

	archived := map[string]bool{}
	for _, l := range archive() {
		archived[l.path()] = archived[l.path()] || l.Outcome == "archived"
	}
	for _, e := range noted {
		path := string(e.Path)
		if info, err := os.Stat(filepath.Join(v.BrickDirs()[2], path)); !archived[path] || err != nil || info.Size() != 0 {
			t.Errorf("%s: archived again: %v; the brick: %+v, %v", path, archived[path], info, err)
		}
		coldbrick("recall", v.Path(path))
		if got, err := os.ReadFile(filepath.Join(v.NewMount(t), path)); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s, after all that: %d bytes, %v", path, len(got), err)
		}
	}
}

// A host was cut off while it stamped a file, and its brick has not noticed yet: it keeps
// the lock of the dead run.
func TestTheNextRunWaitsForTheLockThatADeadOneLeft(t *testing.T) {
	for _, tt := range []struct {
		name  string
		phase record.Phase
		unset []string // marks that the stamp had not come to
	}{
		{"whole", record.Degraded, nil},
		{"half", record.Proven, []string{gluster.XattrNumBlocks, gluster.XattrBlockSize, gluster.XattrRemote}},
	} {
		t.Run(tt.name, func(t *testing.T) { nextRunWaits(t, tt.phase, tt.unset) })
	}
}

func nextRunWaits(t *testing.T, phase record.Phase, unset []string) {
	v, s3 := testkit.NewVolume(t), testkit.S3(t)
	proxy := testkit.FaultProxy(t, s3)
	s3.Endpoint = proxy.Endpoint
	state := t.TempDir()
	coldbrick := commandOn(t, v, s3)
	data := bytes.Repeat([]byte("data "), 1000)
	v.Write("f", data, testkit.Old)
	coldbrick("archive", v.BrickDir(), "--mount", v.MountDir(), "--json", "--state-dir", state)
	if err := os.WriteFile(filepath.Join(v.NewMount(t, testkit.WithoutCloudsync()), "f"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range unset {
		if err := unix.Lremovexattr(v.BrickPath("f"), name); err != nil {
			t.Fatal(err)
		}
	}
	leaveRecord(t, filepath.Join(state, "runs"), v.BrickDir(), record.Entry{
		Phase: phase, Path: []byte("f"), GFID: ref(v.GFID("f")), Key: "f", Attempt: "1", Size: int64(len(data)),
	})
	ghost, err := os.Open(filepath.Join(v.NewMount(t), "f"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ghost.Close() })
	if err := volume.LockShared(ghost); err != nil {
		t.Fatal(err)
	}
	asked := len(proxy.Requests(testkit.Match{Method: "HEAD", Key: "f"}))
	var noticed sync.WaitGroup
	noticed.Go(func() {
		for len(proxy.Requests(testkit.Match{Method: "HEAD", Key: "f"})) == asked { // then the run wants the lock
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Second)
		if err := volume.Unlock(ghost); err != nil {
			t.Error(err)
		}
	})
	for _, l := range coldbrick("archive", v.BrickDir(), "--mount", v.MountDir(), "--json", "--state-dir", state) {
		if l.Type == "finding" {
			t.Errorf("not fixed: %+v", l)
		}
	}
	noticed.Wait()
	coldbrick("fsck", v.BrickDir(), "--mount", v.MountDir(), "--json")
	coldbrick("recall", v.Path("f"))
	if got, err := os.ReadFile(filepath.Join(v.NewMount(t), "f")); err != nil || !bytes.Equal(got, data) {
		t.Errorf("after all that: %d bytes, %v", len(got), err)
	}
}

// One object that nobody may ask for is one file that the next run looks at again, not a
// night in which nothing is archived.
func TestAFileThatCannotBeLookedAtStopsNobody(t *testing.T) {
	v, s3 := testkit.NewVolume(t), testkit.S3(t)
	proxy := testkit.FaultProxy(t, s3)
	s3.Endpoint = proxy.Endpoint
	runs := filepath.Join(t.TempDir(), "runs")
	archive := func() (stderr string) {
		t.Helper()
		lines, code, stderr := anyCommandOn(t, v, s3)("archive", v.BrickDir(), "--mount", v.MountDir(), "--json", "--state-dir", filepath.Dir(runs))
		if code != 0 {
			t.Errorf("exit code %d, %+v: %s", code, lines, stderr)
		}
		return stderr
	}
	v.Write("refused", []byte("data"), testkit.Old)
	archive()
	dead := leaveRecord(t, runs, v.BrickDir(), record.Entry{Phase: record.Degraded, Path: []byte("refused"), GFID: ref(v.GFID("refused")), Key: "refused"})
	unsettled := func() (is bool) {
		t.Helper()
		left, err := record.Open(runs, dead)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range left {
			is = is || u.Owner.Run == dead.Run
		}
		return is
	}
	v.Write("f", []byte("data"), testkit.Old)
	proxy.On(testkit.Match{Method: "HEAD", Key: "refused"}, testkit.Refuse(403, "AccessDenied"))
	if stderr := archive(); v.BrickSize("f") != 0 || !unsettled() || !strings.Contains(stderr, "refused") {
		t.Errorf("f has %d bytes, unsettled: %v: %s", v.BrickSize("f"), unsettled(), stderr)
	}
	proxy.Clear()
	if archive(); unsettled() {
		t.Error("unsettled though nothing was in the way")
	}
}

// leaveRecord leaves the record of a run that died, with what it had noted.
func leaveRecord(t *testing.T, dir, brick string, entries ...record.Entry) owner.Owner {
	t.Helper()
	dead, err := owner.Self(object.NewID())
	if err != nil {
		t.Fatal(err)
	}
	dead.Start++
	log, err := record.Create(dir, dead, brick)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := log.Append(e); err != nil {
			t.Fatal(err)
		}
	}
	return dead
}

func ref[T any](v T) *T { return &v }

// The power fails within a stamp: after each of the attributes that a brick sets,
// in its order, before it frees the data. Nobody reads the file then, or nobody
// sees what is appended to it, and no line of the run says so.
func TestTheNextRunMendsAStampThatWasCut(t *testing.T) {
	v, s3 := testkit.NewVolume(t), testkit.S3(t)
	nocs := v.NewMount(t, testkit.WithoutCloudsync())
	state := t.TempDir()
	coldbrick := commandOn(t, v, s3)
	archive := func() []treeLine {
		t.Helper()
		return coldbrick("archive", v.BrickDir(), "--mount", v.MountDir(), "--json", "--state-dir", state)
	}
	cold := time.Unix(1672628645, 0)
	data := bytes.Repeat([]byte("data "), 1000)
	set := []string{gluster.XattrObjectSize, gluster.XattrNumBlocks, gluster.XattrBlockSize, gluster.XattrRemote}
	for n := range set {
		v.Write(fmt.Sprint("cut", n), data, cold)
	}
	archive()
	var proven []record.Entry
	for n := range set {
		path := fmt.Sprint("cut", n)
		if err := os.WriteFile(filepath.Join(nocs, path), data, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(nocs, path), cold, cold); err != nil {
			t.Fatal(err)
		}
		for _, name := range set[n+1:] { // not set by then
			if err := unix.Lremovexattr(v.BrickPath(path), name); err != nil {
				t.Fatal(err)
			}
		}
		proven = append(proven, record.Entry{
			Phase: record.Proven, Path: []byte(path), GFID: ref(v.GFID(path)), Key: path, Attempt: path, Size: int64(len(data)),
		})
	}
	dead := leaveRecord(t, filepath.Join(state, "runs"), v.BrickDir(), proven...)

	archived := map[string]bool{}
	for _, l := range archive() {
		if l.Outcome == "archived" {
			archived[l.path()] = true
		}
	}
	for n, name := range set {
		path := fmt.Sprint("cut", n)
		if !archived[path] || v.BrickSize(path) != 0 {
			t.Errorf("cut after %s: not archived again: %d bytes, %+v", name, v.BrickSize(path), v.BrickMarks(path))
		}
		coldbrick("recall", v.Path(path))
		if got, err := os.ReadFile(filepath.Join(v.NewMount(t), path)); err != nil || !bytes.Equal(got, data) {
			t.Errorf("cut after %s: %d bytes, %v", name, len(got), err)
		}
	}
	if left, err := record.Open(filepath.Join(state, "runs"), dead); err != nil || len(left) == 0 {
		t.Errorf("%+v, %v", left, err)
	} else {
		for _, u := range left {
			if u.Owner.Run == dead.Run || len(u.Proven) > 0 {
				t.Errorf("still unsettled: %+v", u)
			}
		}
	}
}

// Credentials that may not abort uploads are no reason to archive nothing, every
// night.
func TestUploadsThatMayNotBeAbortedStopNobody(t *testing.T) {
	v, s3 := testkit.NewVolume(t), testkit.S3(t)
	proxy := testkit.FaultProxy(t, s3)
	s3.Endpoint = proxy.Endpoint
	v.Write("f", []byte("data"), testkit.Old)
	dead, err := owner.Self(object.NewID())
	if err != nil {
		t.Fatal(err)
	}
	dead.Start++
	state := t.TempDir()
	log, err := record.Create(filepath.Join(state, "runs"), dead, v.BrickDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"half", "quarter"} {
		if err := log.Append(record.Entry{Phase: record.Uploading, Key: key, Upload: "c0ffee"}); err != nil {
			t.Fatal(err)
		}
	}
	proxy.On(testkit.Match{Method: "DELETE", Query: []string{"uploadId"}}, testkit.Refuse(403, "AccessDenied"))
	lines, code, stderr := anyCommandOn(t, v, s3)("archive", v.BrickDir(), "--mount", v.MountDir(), "--json", "--state-dir", state)
	if code != 0 || v.BrickSize("f") != 0 {
		t.Errorf("exit code %d, %+v: %s", code, lines, stderr)
	}
	if n := strings.Count(stderr, "may not abort"); n != 1 {
		t.Errorf("said %d times: %s", n, stderr)
	}
}

// Of two volumes with one file's gfid, as a clone has it, each has objects of its
// own.
func TestAnObjectOfAnotherVolumeIsNotTaken(t *testing.T) {
	v, s3 := testkit.NewVolume(t, testkit.Replica(3)), testkit.S3(t)
	proxy := testkit.FaultProxy(t, s3)
	s3.Endpoint = proxy.Endpoint
	v.Write("f", []byte("data"), testkit.Old)
	coldbrick := anyCommandOn(t, v, s3)
	if _, code, stderr := coldbrick("archive", v.BrickDir(), "--mount", v.MountDir(), "--json"); code != 0 {
		t.Fatal(stderr)
	}
	foreign := testkit.WrongHeader("X-Amz-Meta-Coldbrick-Volume", "00000000-0000-4000-8000-000000000001")
	proxy.On(testkit.Match{Key: "f"}, foreign)
	if lines, code, stderr := coldbrick("status", "--check", "--json", v.Path("f")); code != 14 {
		t.Errorf("status: exit code %d, %+v: %s", code, lines, stderr)
	}
	lines, code, stderr := coldbrick("recall", "--json", v.Path("f"))
	if code != 3 || v.BrickMarks("f").State(v.BrickSize("f")) != gluster.Remote {
		t.Errorf("recall: exit code %d, %+v: %s", code, lines, stderr)
	}
}
