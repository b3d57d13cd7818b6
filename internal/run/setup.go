package run

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/coldbrick/coldbrick/internal/gluster"
	"github.com/coldbrick/coldbrick/internal/objstore/s3"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/report"
	"github.com/coldbrick/coldbrick/internal/volume"
	"github.com/coldbrick/coldbrick/recall"
)

// Keys are the credentials of a volume's bucket.
type Keys = s3.Keys

// ParseKeys reads credentials from a file that others can neither read nor write.
func ParseKeys(path string) (Keys, error) {
	name, ok := strings.CutSuffix(filepath.Base(path), ".toml")
	if !ok {
		return Keys{}, Usagef("%s: the name does not end in .toml", path)
	}
	keys, err := s3.ReadKeys(filepath.Dir(path), name)
	if err != nil {
		return keys, UsageError{err}
	}
	return keys, nil
}

// Arrangement is what setup is to write beside what the settings say.
type Arrangement struct {
	Keys    Keys                                        // zero: the file that is there stays, or the AWS chain is asked
	Config  string                                      // coldbrick's configuration file
	Table   string                                      // keys for its table of the volume, as TOML; "" for none
	Tables  []string                                    // the volumes that have a table there
	Confirm func(question string) (yes bool, err error) // on a terminal, else nil
}

// arranged is <state-dir>/setup/VOLUME.json: what setup has done, written before it is
// done, so that --undo takes back that and nothing else.
type arranged struct {
	Version  int               `json:"v"`
	KeysFile string            `json:"keys_file,omitempty"`
	KeysSum  string            `json:"keys_sha256,omitempty"` // of what was written
	Config   string            `json:"config,omitempty"`
	Made     bool              `json:"config_made,omitempty"` // it was not there before
	Table    string            `json:"table,omitempty"`       // what was added to it
	Set      []volume.Option   `json:"set,omitempty"`
	Before   map[string]string `json:"before,omitempty"` // of those in Set that somebody had set
	Pinned   bool              `json:"pinned,omitempty"` // an undo was cut short
}

const arrangedVersion = 1

// setup is one run of the command.
type setup struct {
	examination
	record arranged
	path   string // of the record
}

// Setup writes the files that a volume needs, says or runs the commands of gluster, and
// ends in doctor.
func Setup(ctx context.Context, s *Session, wish Arrangement) error {
	u := &setup{examination: examination{Session: s}}
	return s.Finish("setup", "", errors.Join(u.arrange(ctx, wish), u.verdict()))
}

// Unsetup takes back what Setup has done.
func Unsetup(ctx context.Context, s *Session) error {
	u := &setup{examination: examination{Session: s}}
	return s.Finish("setup", "", u.undo(ctx))
}

func (u *setup) load() error {
	u.path = filepath.Join(u.StateDir, "setup", u.Volume+".json")
	text, err := os.ReadFile(u.path)
	if errors.Is(err, fs.ErrNotExist) {
		u.record = arranged{Version: arrangedVersion}
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &u.record); err != nil {
		return fmt.Errorf("%s: %w", u.path, err)
	}
	if u.record.Version != arrangedVersion {
		return fmt.Errorf("%s is of another version of coldbrick", u.path)
	}
	return nil
}

func (u *setup) save() error {
	text, err := json.MarshalIndent(u.record, "", "  ")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(u.path), 0o700)
	}
	if err == nil {
		err = report.ReplaceFile(u.path, append(text, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("note what setup does: %w", err)
	}
	return nil
}

func (u *setup) did(name, detail string) {
	if u.JSON {
		u.note(outcome.Check{Name: name, Verdict: outcome.OK, Reason: detail})
	} else {
		u.UI.Say(detail)
	}
}

func (u *setup) arrange(ctx context.Context, wish Arrangement) error {
	asking, stop := u.drains(ctx)
	defer stop()
	v, err := volume.Discover(asking, u.Volume)
	if err != nil {
		return ofCluster(asking, err)
	}
	options, err := u.wanted(v)
	if err != nil {
		return UsageError{err}
	}
	if err := u.load(); err != nil {
		return err
	}
	if err := errors.Join(u.writeKeys(wish.Keys), u.writeTable(wish)); err != nil {
		return err
	}
	if err := u.options(asking, v, options, wish.Confirm); err != nil {
		return err
	}
	return u.run(ctx)
}

// wanted are the options that make a volume archivable. Server and bucket are those of
// the volume if none are given.
func (u *setup) wanted(v *volume.Volume) ([]volume.Option, error) {
	const atServer, ofBucket = "features.s3plugin-hostname", "features.s3plugin-bucketid"
	bucket := cmp.Or(u.Store.Options["bucket"], v.ChangedOptions.Get(ofBucket))
	if bucket == "" {
		return nil, errors.New("no bucket given: write --bucket NAME")
	}
	hostname := v.ChangedOptions.Get(atServer)
	if hostname == "" || slices.ContainsFunc(s3.InHostname, func(name string) bool { return u.Store.Options[name] != "" }) {
		var err error
		if hostname, err = s3.Hostname(u.Store.Options); err != nil {
			return nil, fmt.Errorf("--%w", err)
		}
	}
	return []volume.Option{
		{Name: "performance.quick-read", Value: "off"},
		{Name: "client.event-threads", Value: "32"},
		{Name: atServer, Value: hostname},
		{Name: ofBucket, Value: bucket},
		{Name: "features.cloudsync-storetype", Value: gluster.StoreS3},
		{Name: "features.cloudsync", Value: "on"},
	}, nil
}

func sumOf(text []byte) string { return fmt.Sprintf("%x", sha256.Sum256(text)) }

// writeKeys writes the file from which coldbrick and the plugin read the credentials.
// One that somebody else has written stays as it is.
func (u *setup) writeKeys(keys Keys) error {
	path := s3.KeysFile(s3.KeysDir, u.Volume)
	there, err := os.ReadFile(path)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case keys == Keys{} && err == nil:
		u.did("credentials", "the keys in "+path+" stay as they are")
		return nil
	case keys == Keys{}:
		u.did("credentials", "no keys given: coldbrick and the plugin ask the AWS chain (environment, shared files, instance role)")
		return nil
	}
	text, encodeErr := keys.Encode()
	switch {
	case encodeErr != nil:
		return encodeErr
	case err == nil && string(there) == string(text):
		u.did("credentials", "the keys are in "+path+" already")
		return nil
	case err == nil && sumOf(there) != u.record.KeysSum:
		return Usagef("%s has other keys, which setup has not written: remove the file, or run setup without keys", path)
	}
	u.record.KeysFile, u.record.KeysSum = path, sumOf(text)
	if err := u.save(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := report.ReplaceFile(path, text, 0o600); err != nil {
		return err
	}
	u.did("credentials", "wrote "+path+" (root alone can read it): copy it to every other host with a brick; every other client needs one like it, where a key that can only read is enough")
	return nil
}

// writeTable adds the table of the volume to coldbrick's configuration, or replaces the
// one that an earlier run has added.
func (u *setup) writeTable(wish Arrangement) error {
	if wish.Table == "" {
		return nil
	}
	path, head := wish.Config, "[volume."+u.Volume+"]"
	if file, err := filepath.EvalSymlinks(path); err == nil {
		path = file // a link stays one
	}
	text, mode, err := readWithMode(path)
	made := errors.Is(err, fs.ErrNotExist)
	if err != nil && !made {
		return err
	}
	table, previous := "\n"+head+" # by coldbrick setup\n"+wish.Table, u.record.Table
	switch {
	case previous != "" && u.record.Config == path && strings.HasSuffix(text, previous):
		text, made = strings.TrimSuffix(text, previous), u.record.Made
	case slices.Contains(wish.Tables, u.Volume):
		u.did("settings", path+" has a table "+head+" already: it stays as it is")
		return nil
	}
	u.record.Config, u.record.Table, u.record.Made = path, table, made
	if err := u.save(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := report.ReplaceFile(path, []byte(text+table), mode); err != nil {
		return err
	}
	u.did("settings", "wrote "+head+" to "+path)
	return nil
}

// readWithMode reads a file that is to be replaced by one of the same mode: 0600 if
// there is none.
func readWithMode(path string) (text string, mode fs.FileMode, err error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return "", 0o600, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", 0o600, err
	}
	return string(content), info.Mode().Perm(), nil
}

// options says which options of the volume are missing, and sets them with --apply or if
// that is confirmed.
func (u *setup) options(ctx context.Context, v *volume.Volume, wanted []volume.Option, confirm func(string) (bool, error)) error {
	missing := slices.DeleteFunc(wanted, func(o volume.Option) bool {
		is := v.Options.Get(o.Name)
		switch o.Value {
		case "on":
			return gluster.IsOn(is)
		case "off":
			return is != "" && !gluster.IsOn(is)
		}
		return is == o.Value
	})
	if len(missing) == 0 {
		u.did("options", "volume "+u.Volume+" has all options that it needs")
		return nil
	}
	command := "gluster volume set " + u.Volume
	for _, o := range missing {
		command += " " + o.Name + " " + quoted(o.Value)
	}
	hosts, _, err := v.Mounted(ctx)
	felt := "no host has it mounted"
	switch {
	case err != nil && v.Started:
		felt = "which hosts have it mounted is not known"
	case len(hosts) > 0:
		felt = "mounted on " + strings.Join(hosts, ", ")
	}
	u.UI.Say("the clients of volume " + u.Volume + " (" + felt + ") get new settings at once; files that are open stay open. " +
		"A client without the package coldbrick-gluster-plugin cannot read stubs, and on GlusterFS 10 a later change of options " +
		"can crash it: install the package on every client first, and mount anew afterwards")
	apply := u.Apply
	if !apply && confirm != nil {
		if apply, err = confirm("Run this now?\n  " + command + "\n"); err != nil {
			return err
		}
	}
	if !apply {
		u.note(outcome.Check{Name: "options", Verdict: outcome.Warning,
			Reason: "volume " + u.Volume + " lacks options: run the command, or coldbrick setup with --apply", Fix: command})
		return nil
	}
	for _, o := range missing {
		at := slices.IndexFunc(u.record.Set, func(s volume.Option) bool { return s.Name == o.Name })
		if at >= 0 {
			u.record.Set[at] = o // what was before us stays noted
			continue
		}
		u.record.Set = append(u.record.Set, o)
		if before, set := v.ChangedOptions[o.Name]; set {
			if u.record.Before == nil {
				u.record.Before = map[string]string{}
			}
			u.record.Before[o.Name] = before.Reveal()
		}
	}
	if err := u.save(); err != nil {
		return err
	}
	if err := volume.SetOptions(ctx, u.Volume, missing); err != nil {
		return ofCluster(ctx, err)
	}
	u.did("options", "done: "+command)
	return nil
}

// quoted is a word as a shell reads it.
func quoted(word string) string {
	if !strings.ContainsAny(word, " '\"\\$&?*;<>|()[]{}~#`!") {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// undo takes back what is noted, if no stub can be left without what it needs.
func (u *setup) undo(ctx context.Context) error {
	if err := u.load(); err != nil {
		return err
	}
	if u.record.KeysFile == "" && u.record.Table == "" && len(u.record.Set) == 0 && !u.record.Pinned {
		return Usagef("setup has changed nothing of volume %s on this host: %s is not there", u.Volume, u.path)
	}
	asking, stop := u.drains(ctx)
	defer stop()
	if err := u.withoutStubs(asking, u.takeBack); err != nil {
		return err
	}
	return os.Remove(u.path)
}

// withoutStubs does something while it is certain that the volume has no stub, and that
// nobody makes one. A pin on the root of the volume keeps archives that begin now from
// taking a file; others would be connected.
func (u *setup) withoutStubs(ctx context.Context, do func(context.Context, *volume.Volume) error) (err error) {
	s, err := u.look(ctx)
	if err != nil {
		return err
	}
	if s.cluster == nil || !s.cluster.Started {
		return u.keeps(fmt.Errorf("volume %s is not started: nobody can look for stubs", u.Volume))
	}
	all, err := mountPrivately(ctx, s.mount, volume.ForRecall)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, all.Close()) }()
	if err := all.Children(); err != nil {
		return u.keeps(err)
	}
	unpin, err := u.pin(all)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unpin()) }()
	if err := u.alone(ctx, s.cluster); err != nil {
		return err
	}
	u.UI.Say("looking for stubs in volume " + u.Volume)
	if err := u.noStubs(ctx, all); err != nil {
		return causeOf(ctx, err)
	}
	if err := errors.Join(all.Children(), u.alone(ctx, s.cluster)); err != nil {
		return u.keeps(err)
	}
	return do(ctx, s.cluster)
}

// keeps is the refusal to take anything back.
func (u *setup) keeps(why error) error {
	return fmt.Errorf("%w: %w", errKept, why)
}

// alone refuses while anybody but this process has the volume mounted.
func (u *setup) alone(ctx context.Context, v *volume.Volume) error {
	hosts, private, err := v.Mounted(ctx)
	switch {
	case err != nil:
		return u.keeps(fmt.Errorf("which clients are connected is not known: %w", err))
	case len(hosts) > 0:
		return u.keeps(fmt.Errorf("volume %s is mounted on %s, and changing features.cloudsync can crash a mounted client: unmount it there first",
			u.Volume, strings.Join(hosts, ", ")))
	case private != 1:
		return u.keeps(errors.New("another run of coldbrick is at work on the volume"))
	}
	return nil
}

// pin keeps archives that begin later from taking a file.
func (u *setup) pin(all *volume.Private) (unpin func() error, err error) {
	root, err := all.Open(".", unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	_, err = volume.Get(root, gluster.XattrPin)
	switch {
	case err == nil && !u.record.Pinned: // by an administrator
		return root.Close, nil
	case err != nil && !errors.Is(err, unix.ENODATA):
		return nil, errors.Join(err, root.Close())
	}
	u.record.Pinned = true
	if err := errors.Join(u.save(), volume.Set(root, gluster.XattrPin, []byte("1"))); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return func() error {
		err := volume.RemoveAny(root, gluster.XattrPin)
		if err == nil {
			u.record.Pinned = false
			err = u.save()
		}
		return errors.Join(err, root.Close())
	}, nil
}

// noStubs refuses if any file has a mark of cloudsync, or cannot be looked at.
func (u *setup) noStubs(ctx context.Context, all *volume.Private) error {
	var unread error
	err := recall.Walk(ctx, all, ".", func(_ context.Context, t recall.Target) error {
		f, err := all.OpenRegular(t.Path)
		if err != nil {
			return u.keeps(fmt.Errorf("whether %s is a stub is not known: %w", report.Quote(t.Path), err))
		}
		defer f.Close()
		marks, err := volume.ReadMarks(f)
		switch {
		case err != nil:
			return u.keeps(fmt.Errorf("whether %s is a stub is not known: %w", report.Quote(t.Path), err))
		case !marks.Clean():
			return u.keeps(fmt.Errorf("%s is a stub, and without these settings it would look empty: bring all of them back first, with coldbrick recall -r",
				report.Quote(t.Path)))
		}
		return nil
	}, func(dir string, err error) { unread = cmp.Or(unread, err) })
	if err == nil && unread != nil {
		err = u.keeps(fmt.Errorf("a directory cannot be read: %w", unread))
	}
	return err
}

// takeBack undoes what is noted, and leaves alone what somebody has changed since.
func (u *setup) takeBack(ctx context.Context, v *volume.Volume) error {
	for i := len(u.record.Set) - 1; i >= 0; i-- {
		o := u.record.Set[i]
		if v.ChangedOptions.Get(o.Name) != o.Value {
			u.UI.Say(o.Name + " was changed since: it stays as it is")
			continue
		}
		var err error
		if before, was := u.record.Before[o.Name]; was {
			err = volume.SetOptions(ctx, u.Volume, []volume.Option{{Name: o.Name, Value: before}})
		} else {
			err = volume.ResetOption(ctx, u.Volume, o.Name)
		}
		if err != nil {
			return ofCluster(ctx, err)
		}
		u.UI.Say("took back " + o.Name + " " + o.Value)
	}
	return errors.Join(u.removeKeys(), u.removeTable())
}

func (u *setup) removeKeys() error {
	if u.record.KeysFile == "" {
		return nil
	}
	text, err := os.ReadFile(u.record.KeysFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case sumOf(text) != u.record.KeysSum:
		u.UI.Say(u.record.KeysFile + " was changed since: it stays as it is")
		return nil
	}
	u.UI.Say("removed " + u.record.KeysFile)
	return os.Remove(u.record.KeysFile)
}

func (u *setup) removeTable() error {
	if u.record.Table == "" {
		return nil
	}
	text, mode, err := readWithMode(u.record.Config)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	before, after, ok := strings.Cut(text, u.record.Table)
	switch {
	case !ok:
		u.UI.Say(u.record.Config + " was changed since: it stays as it is")
		return nil
	case before+after == "" && u.record.Made:
		err = os.Remove(u.record.Config)
	default:
		err = report.ReplaceFile(u.record.Config, []byte(before+after), mode)
	}
	if err == nil {
		u.UI.Say("took the table of the volume out of " + u.record.Config)
	}
	return err
}
