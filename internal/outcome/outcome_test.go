package outcome

import (
	"errors"
	"strings"
	"sync"
	"testing"
)

func TestATallyCountsFromManyGoroutines(t *testing.T) {
	var tally Tally
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				tally.Add(Skipped, TooWarm, 3)
				tally.Add(Skipped, NoData, 0)
			}
		})
	}
	wg.Wait()
	if got := tally.Outcome(Skipped); got != (Total{16000, 24000}) {
		t.Errorf("skipped %+v", got)
	}
	if got := tally.Totals()[Result{Skipped, TooWarm}]; got != (Total{8000, 24000}) {
		t.Errorf("too warm %+v", got)
	}
}

func TestEveryReasonHasAMeaning(t *testing.T) {
	for reason, meaning := range Meaning {
		if strings.Trim(string(reason), "abcdefghijklmnopqrstuvwxyz-") != "" || meaning == "" {
			t.Errorf("%q: %q", reason, meaning)
		}
	}
}

// Who leaves a file alone says whether somebody should look at it.
func TestALeftFileIsSkippedOrFailed(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want Left
		text string
	}{
		{Skip(TooWarm, ""), Left{Skipped, TooWarm, ""}, "too-warm"},
		{Fail(Broken, "by hand"), Left{Failed, Broken, "by hand"}, "broken: by hand"},
	} {
		var left *Left
		if !errors.As(tt.err, &left) || *left != tt.want || left.Error() != tt.text {
			t.Errorf("%+v, want %+v, %q", left, tt.want, tt.text)
		}
	}
}
