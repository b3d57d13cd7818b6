// Package owner tells which process works on something, and whether that
// process is dead. Marks that a run leaves on files, locks and private mounts
// carry an Owner, so that a later run knows what it may clear away.
package owner

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"
)

// Owner identifies one process of one boot of one host.
type Owner struct {
	Run   string `json:"run"`   // id of the run, see object.NewID
	Host  string `json:"host"`  // for people
	ID    string `json:"id"`    // machine id: survives a reboot
	Boot  string `json:"boot"`  // boot id: does not
	PIDNS string `json:"pidns"` // PIDs mean nothing in another namespace
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // start time in clock ticks after boot: PIDs are used again
}

// UnlockedLife is how long the process of a version that held no lock of the brick
// may live unseen. Whoever leans on it knows nothing better: see Ended.
const UnlockedLife = 7 * 24 * time.Hour

// Self describes this process. run names its run.
func Self(run string) (Owner, error) {
	o := Owner{Run: run, PID: os.Getpid()}
	var errs [4]error
	o.Host, errs[0] = os.Hostname()
	o.Boot, errs[1] = readLine("/proc/sys/kernel/random/boot_id")
	o.PIDNS, errs[2] = os.Readlink("/proc/self/ns/pid")
	o.Start, errs[3] = startTime(o.PID)
	if err := errors.Join(errs[:]...); err != nil {
		return Owner{}, fmt.Errorf("identify this process: %w", err)
	}
	// Without a machine id only the boot id identifies the host: after a
	// reboot its previous runs then count as those of another host.
	o.ID, _ = readLine("/etc/machine-id")
	return o, nil
}

// Dead reports whether other, seen from the process o, is known to have ended,
// where both have left their marks on the same host. It is false for a process
// of another host or another PID namespace, of which nothing can be known here.
func (o Owner) Dead(other Owner) bool {
	if other.Boot != o.Boot {
		return other.ID != "" && other.ID == o.ID // this host has been rebooted since
	}
	return o.Ended(other)
}

// Ended is Dead for a process that may have run anywhere. Hosts that were cloned
// from one image have the same machine id, so another boot of that id may be
// another host, whose process lives.
func (o Owner) Ended(other Owner) bool {
	if other.Boot != o.Boot || other.PIDNS != o.PIDNS {
		return false
	}
	start, err := startTime(other.PID)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	return start != other.Start
}

// A process that nobody has waited for yet runs no more. In a container whose
// first process does not reap it stays so for ever.
const zombie, dead = "Z", "X"

// startTime is that of a living process; fs.ErrNotExist if there is none. It is
// field 22 of /proc/PID/stat. The second field, the name of the
// program in parentheses, may hold anything.
func startTime(pid int) (uint64, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	const stateField, startField = 0, 19 // the third and the 22nd of all
	if len(fields) <= startField {
		return 0, fmt.Errorf("/proc/%d/stat: unknown layout", pid)
	}
	if state := string(fields[stateField]); state == zombie || state == dead {
		return 0, fs.ErrNotExist
	}
	return strconv.ParseUint(string(fields[startField]), 10, 64)
}

func readLine(path string) (string, error) {
	b, err := os.ReadFile(path)
	return strings.TrimSpace(string(b)), err
}
