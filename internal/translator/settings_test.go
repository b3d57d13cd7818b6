package translator

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestHostnameIsAHostOrAURL(t *testing.T) {
	for _, tt := range []struct {
		hostname string
		want     map[string]string // nil: an error
	}{
		{"", map[string]string{}},
		{"s3.example.org", map[string]string{"endpoint-url": "https://s3.example.org"}},
		{"s3.example.org:9000", map[string]string{"endpoint-url": "https://s3.example.org:9000"}},
		{"[2001:db8::1]:9000", map[string]string{"endpoint-url": "https://[2001:db8::1]:9000"}},
		{"http://10.0.0.1:9000/", map[string]string{"endpoint-url": "http://10.0.0.1:9000"}},
		{"https://h/base?region=eu-1&ca=/etc/ca.pem&path-style=false&idle-timeout=5s",
			map[string]string{"endpoint-url": "https://h/base", "region": "eu-1", "ca-bundle": "/etc/ca.pem", "path-style": "false", "idle-timeout": "5s"}},
		{"s3.eu-west-1.amazonaws.com", map[string]string{"endpoint-url": "https://s3.eu-west-1.amazonaws.com", "region": "eu-west-1"}},
		{"s3.eu-west-1.amazonaws.com?region=x", map[string]string{"endpoint-url": "https://s3.eu-west-1.amazonaws.com", "region": "x"}},
		{"s3.amazonaws.com", map[string]string{"endpoint-url": "https://s3.amazonaws.com"}},
		{"http://user:hunter2@h", nil},
		{"http://h?secret=hunter2", nil},
		{"http://h?region=a&region=b", nil},
		{"http://h:hunter2", nil},
	} {
		s := Settings{Volume: "v", Hostname: tt.hostname, Bucket: "b", KeyID: "id", Secret: "hunter2"}
		got, err := s.Options(t.TempDir())
		if (err == nil) != (tt.want != nil) {
			t.Errorf("%q: %v, %v", tt.hostname, got, err)
			continue
		}
		if err != nil {
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%q: the error holds a secret: %v", tt.hostname, err)
			}
			continue
		}
		for _, name := range []string{"bucket", "access-key-id", "secret-access-key"} {
			delete(got, name)
		}
		if !maps.Equal(got, tt.want) {
			t.Errorf("%q: %q, want %q", tt.hostname, got, tt.want)
		}
	}
}

func TestCredentialsComeFromOptionsThenFileThenTheChain(t *testing.T) {
	const both = "access-key-id = 'file-id'\nsecret-access-key = 'file-secret'\n"
	for _, tt := range []struct {
		name, file, keyID, secret string
		wantID, wantSecret        string
	}{
		{"options", both, "id", "secret", "id", "secret"},
		{"file", both, "", "", "file-id", "file-secret"},
		{"id of the options, secret of the file", "secret-access-key = 'file-secret'\n", "id", "", "id", "file-secret"},
		{"chain", "", "", "", "", ""},
		{"chain, a left-over id", "", "id", "", "", ""},
		{"a profile", "profile = 'p'\n", "id", "", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if tt.file != "" {
				write(t, dir, tt.file, 0o600)
			}
			got, err := Settings{Volume: "vol", Bucket: "b", KeyID: tt.keyID, Secret: tt.secret}.Options(dir)
			if err != nil {
				t.Fatal(err)
			}
			if got["access-key-id"] != tt.wantID || got["secret-access-key"] != tt.wantSecret {
				t.Errorf("%q", got)
			}
		})
	}
}

func write(t *testing.T, dir, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(dir, "vol.toml")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestASecretThatOthersCanReachIsRefused(t *testing.T) {
	const text = "access-key-id = 'id'\nsecret-access-key = 'hunter2'\n"
	for _, tt := range []struct {
		name string
		make func(t *testing.T, dir string)
	}{
		{"readable by the group", func(t *testing.T, dir string) { write(t, dir, text, 0o640) }},
		{"another's", func(t *testing.T, dir string) {
			path := write(t, dir, text, 0o600)
			if os.Getuid() != 0 {
				return // it is not root's anyhow
			}
			if err := os.Chown(path, 1, 0); err != nil {
				t.Fatal(err)
			}
		}},
		{"a symlink", func(t *testing.T, dir string) {
			if err := os.Rename(write(t, dir, text, 0o600), dir+"/x"); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("x", dir+"/vol.toml"); err != nil {
				t.Fatal(err)
			}
		}},
		{"a directory", func(t *testing.T, dir string) {
			if err := os.Mkdir(dir+"/vol.toml", 0o700); err != nil {
				t.Fatal(err)
			}
		}},
		{"a mistyped line", func(t *testing.T, dir string) { write(t, dir, "secret-access-key = hunter2\n", 0o600) }},
		{"an unknown key", func(t *testing.T, dir string) { write(t, dir, "secret_key = 'hunter2'\n", 0o600) }},
		{"an id without its secret", func(t *testing.T, dir string) { write(t, dir, "access-key-id = 'id'\n", 0o600) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			tt.make(t, dir)
			got, err := Settings{Volume: "vol", Bucket: "b"}.Options(dir)
			if err == nil {
				t.Fatalf("accepted: %d options", len(got))
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error holds the secret: %v", err)
			}
		})
	}
}

func TestAVolumeNameIsNoPath(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "secret-access-key = 's'\naccess-key-id = 'i'\n", 0o600)
	sub := filepath.Join(dir, "sub")
	if err := os.Mkdir(sub, 0o700); err != nil {
		t.Fatal(err)
	}
	got, err := Settings{Volume: "../vol", Bucket: "b"}.Options(sub)
	if err != nil || got["secret-access-key"] != "" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestTuningIsNoOptionOfTheStore(t *testing.T) {
	usual := Tuning{ReadBlock: 1 << 20, ReadCache: 64 << 20}
	with := func(edit func(*Tuning)) Tuning { t := usual; edit(&t); return t }
	for hostname, want := range map[string]Tuning{
		"":                         usual,
		"s3.example.org":           usual,
		"s3.example.org?guard=on":  usual,
		"s3.example.org?guard=off": with(func(t *Tuning) { t.GuardOff = true }),
		"http://s3.example.org?region=r&guard=off":                 with(func(t *Tuning) { t.GuardOff = true }),
		"http://s3.example.org?read-block=256KiB&read-cache=1GiB":  with(func(t *Tuning) { t.ReadBlock, t.ReadCache = 256<<10, 1<<30 }),
		"http://s3.example.org?recall-limit=100":                   with(func(t *Tuning) { t.RecallLimit.Recalls = 100 }),
		"http://s3.example.org?recall-limit=10GiB":                 with(func(t *Tuning) { t.RecallLimit.Bytes = 10 << 30 }),
		"http://s3.example.org?recall-limit=10GiB,100&guard=off":   {true, 1 << 20, 64 << 20, Limit{100, 10 << 30}},
		"http://s3.example.org?guard=off&colour=blue&read-cache=1": with(func(t *Tuning) { t.GuardOff = true }),
	} {
		got, err := ParseTuning(hostname)
		if got != want {
			t.Errorf("%q: %+v, want %+v", hostname, got, want)
		}
		options, optionsErr := Settings{Hostname: hostname, Bucket: "b"}.Options(t.TempDir())
		if (err == nil) != (optionsErr == nil) {
			t.Errorf("%q: %v, %v", hostname, err, optionsErr)
		}
		for name := range options {
			if name == "guard" || strings.HasPrefix(name, "read") {
				t.Errorf("%q: the store gets %s", hostname, name)
			}
		}
	}
	for _, query := range []string{
		"guard=of", "guard=", "read-block=1", "read-block=x", "read-block=17MiB", "read-cache=1KiB",
		"read-block=8MiB", // for which the cache is too small
		"recall-limit=", "recall-limit=0", "recall-limit=-1", "recall-limit=1,2", "recall-limit=1GiB,2GiB",
		"recall-limit=x", "recall-limit=1&recall-limit=2", "recall-limit=9999999999TiB",
	} {
		if _, err := (Settings{Hostname: "s3.example.org?" + query, Bucket: "b"}).Options(t.TempDir()); err == nil {
			t.Errorf("%s was accepted", query)
		}
	}
}

func TestARefusalOutranksTheSettings(t *testing.T) {
	_, err := Settings{Hostname: "s3.example.org", Bucket: "b", Refused: "another glusterfs"}.Options(t.TempDir())
	if err == nil || err.Error() != "another glusterfs" {
		t.Error(err)
	}
}

// The hostname is free text, and the file a person's.
func FuzzSettingsNeverPanic(f *testing.F) {
	f.Add("https://h/base?region=eu-1", "bucket", "secret-access-key = 's'\naccess-key-id = 'i'\n")
	f.Add("http://[::1", "b", "secret-access-key = ")
	f.Add("%zz", "", "\xff")
	f.Fuzz(func(t *testing.T, hostname, bucket, file string) {
		dir := t.TempDir()
		write(t, dir, file, 0o600)
		_, _ = Settings{Volume: "vol", Hostname: hostname, Bucket: bucket}.Options(dir) // an error is an answer
		if tuning, _ := ParseTuning(hostname); tuning.ReadBlock <= 0 || tuning.ReadCache < fetches*tuning.ReadBlock {
			t.Errorf("%+v cannot be used", tuning)
		}
	})
}
