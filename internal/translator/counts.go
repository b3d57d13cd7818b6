package translator

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
)

// counts are of one client, since it mounted the volume.
type counts struct {
	recalls, recallBytes, recallsFailed, recallsRefused atomic.Int64
	reads, readBytes, readsFailed                       atomic.Int64
	fetches, fetchBytes                                 atomic.Int64
}

func (c *counts) recalled(size int64, res Result, err error) {
	switch {
	case errors.Is(err, ErrLimit):
		c.recallsRefused.Add(1)
	case err != nil:
		c.recallsFailed.Add(1)
	case !res.Claimed:
		c.recalls.Add(1)
		c.recallBytes.Add(size)
	}
}

func (c *counts) read(size int, err error) {
	if err != nil {
		c.readsFailed.Add(1)
		return
	}
	c.reads.Add(1)
	c.readBytes.Add(int64(size))
}

func (c *counts) fetched(size int) {
	c.fetches.Add(1)
	c.fetchBytes.Add(int64(size))
}

// Counters are the client's, as the textfile collector of node_exporter reads them.
func (i *Instance) Counters() string {
	c := &i.client.counts
	i.mu.Lock()
	volume := i.settings.Volume
	i.mu.Unlock()
	var b strings.Builder
	for _, m := range []struct {
		name, help string
		value      *atomic.Int64
	}{
		{"recalls", "Files that this client recalled.", &c.recalls},
		{"recall_bytes", "Bytes of the files that this client recalled.", &c.recallBytes},
		{"recalls_failed", "Recalls that ended with an error.", &c.recallsFailed},
		{"recalls_refused", "Recalls that recall-limit refused.", &c.recallsRefused},
		{"remote_reads", "Reads of stubs that were served without a recall.", &c.reads},
		{"remote_read_bytes", "Bytes that those reads gave.", &c.readBytes},
		{"remote_reads_failed", "Reads of stubs without a recall that ended with an error.", &c.readsFailed},
		{"remote_fetches", "Ranges of objects that the store was asked for.", &c.fetches},
		{"remote_fetch_bytes", "Bytes of those ranges.", &c.fetchBytes},
	} {
		name := "coldbrick_client_" + m.name + "_total"
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s counter\n", name, m.help, name)
		fmt.Fprintf(&b, "%s{volume=%q} %d\n", name, volume, m.value.Load())
	}
	return b.String()
}
