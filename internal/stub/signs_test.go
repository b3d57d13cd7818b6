package stub

import (
	"testing"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/outcome"
)

const size, plain = int64(100), uint32(0o100644)

func signsOf(names ...string) (s Signs) {
	for _, name := range names {
		s.ReadName(name)
	}
	return s
}

func TestOnlyAWholeLocalFileIsArchivable(t *testing.T) {
	for _, tt := range []struct {
		names []string
		size  int64
		mode  uint32
		want  outcome.Reason
	}{
		{nil, size, plain, ""},
		{[]string{gluster.XattrGFID, gluster.XattrMdata, "trusted.afr.v-client-0", "user.trusted.ec.size"}, size, plain, ""},
		{[]string{gluster.XattrPointer, gluster.XattrRecalled, gluster.XattrPin}, size, plain, ""}, // a pin is a matter of the policy
		{[]string{gluster.XattrLinkto}, 0, plain, outcome.Linkto},
		{[]string{"trusted.hot.linkto"}, size, plain, outcome.Linkto},
		{[]string{gluster.XattrShard + "block-size"}, size, plain, outcome.Sharded},
		{[]string{gluster.XattrEC + "size"}, size, plain, outcome.Dispersed},
		{[]string{gluster.XattrRemote}, 0, plain, outcome.AlreadyRemote},
		{[]string{gluster.XattrRemote, gluster.XattrRecall}, 0, plain, outcome.AlreadyRemote}, // not claimed yet
		{[]string{gluster.XattrRemote}, size, plain, outcome.Broken},
		{[]string{gluster.XattrRemote, gluster.XattrDownload}, size, plain, outcome.Recalling},
		{[]string{gluster.XattrDownload}, size, plain, outcome.Recalling},
		{[]string{gluster.XattrRecall}, size, plain, outcome.Recalling},
		{[]string{gluster.XattrObjectSize}, size, plain, outcome.StaleSize},
		{[]string{gluster.XattrNumBlocks}, size, plain, outcome.StaleSize},
		{nil, size, plain | migrating, outcome.Migrating},
		{nil, size, plain | 0o1000, ""}, // a user's sticky bit alone
		{[]string{gluster.XattrWORM}, size, plain, outcome.Retained},
		{[]string{gluster.XattrRetention}, size, plain, outcome.Retained},
		{[]string{gluster.XattrBadFile}, size, plain, outcome.BadFile},
	} {
		s := signsOf(tt.names...)
		if got := s.Archivable(tt.size, tt.mode); got != tt.want {
			t.Errorf("%q, %d bytes, mode %o: %q, want %q", tt.names, tt.size, tt.mode, got, tt.want)
		}
	}
}

func TestReadingSignsDoesNotAllocate(t *testing.T) {
	names := []string{gluster.XattrGFID, gluster.XattrRemote, "trusted.afr.dirty", "trusted.hot.linkto", "security.selinux"}
	if n := testing.AllocsPerRun(100, func() {
		s := signsOf(names...)
		_ = s.Archivable(size, plain)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
