package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// settings is a small schema with one flag of each kind.
type settings struct {
	age     Age
	wait    Span
	size    Size
	rate    Rate
	max     Percent
	jobs    Number
	order   Choice
	exclude List
	dry     bool
	bucket  string
	volume  string
	secret  Secret
}

func (s *settings) flags() *pflag.FlagSet {
	f := pflag.NewFlagSet("test", pflag.ContinueOnError)
	s.age, s.jobs, s.order = Age(30*day), NewNumber(4, 1, 64), NewChoice("found", "coldest", "largest")
	f.Var(&s.age, "older-than", "")
	f.Var(&s.wait, "lock-wait", "")
	f.Var(&s.size, "min-size", "")
	f.Var(&s.rate, "bwlimit", "")
	f.Var(&s.max, "max-errors", "")
	f.Var(&s.jobs, "jobs", "")
	f.Var(&s.order, "order", "")
	f.Var(&s.exclude, "exclude", "")
	f.BoolVar(&s.dry, "dry-run", false, "")
	f.StringVar(&s.bucket, "bucket", "", "")
	f.StringVar(&s.volume, "volume", "", "")
	f.Var(&s.secret, "secret-access-key", "")
	f.Lookup("secret-access-key").Annotations = map[string][]string{FileOnly: {}}
	return f
}

func schema() *pflag.FlagSet { return new(settings).flags() }

func parse(t *testing.T, text string) *File {
	t.Helper()
	f, err := Parse("c.toml", []byte(text), schema())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestTheCommandLineWinsOverTheEnvironmentAndThatOverTheFile(t *testing.T) {
	file := parse(t, "bucket = \"from-file\"\njobs = 2\nolder-than = \"60d\"\nexclude = [\"a\", \"b\"]\n\n"+
		"[volume.vol1]\nbucket = \"from-table\"\nmin-size = \"1MiB\"\n")
	for _, tt := range []struct {
		name, volume string
		args         []string
		environ      []string
		setting      string
		want, origin string
	}{
		{"default", "", nil, nil, "max-errors", "0%", FromDefault},
		{"file", "", nil, nil, "bucket", "from-file", "c.toml:1"},
		{"age in the file", "", nil, nil, "older-than", "60d", "c.toml:3"},
		{"list in the file", "", nil, nil, "exclude", "a\nb", "c.toml:4"},
		{"another volume's table", "vol2", nil, nil, "bucket", "from-file", "c.toml:1"},
		{"the volume's table", "vol1", nil, nil, "bucket", "from-table", "c.toml:7"},
		{"beside the volume's table", "vol1", nil, nil, "jobs", "2", "c.toml:2"},
		{"environment", "vol1", nil, []string{"COLDBRICK_BUCKET=from-env"}, "bucket", "from-env", "COLDBRICK_BUCKET"},
		{"list in the environment", "", nil, []string{"COLDBRICK_EXCLUDE=x,y\nz\n"}, "exclude", "x,y\nz", "COLDBRICK_EXCLUDE"},
		{"empty in the environment", "", nil, []string{"COLDBRICK_BUCKET="}, "bucket", "", "COLDBRICK_BUCKET"},
		{"flag", "vol1", []string{"--bucket=from-flag"}, []string{"COLDBRICK_BUCKET=from-env"}, "bucket", "from-flag", FromFlag},
		{"flag that repeats", "", []string{"--exclude=p", "--exclude=q"}, nil, "exclude", "p\nq", FromFlag},
	} {
		t.Run(tt.name, func(t *testing.T) {
			flags := schema()
			if err := flags.Parse(tt.args); err != nil {
				t.Fatal(err)
			}
			origins, err := Apply(flags, tt.environ, file, tt.volume)
			if err != nil {
				t.Fatal(err)
			}
			if got := flags.Lookup(tt.setting).Value.String(); got != tt.want || origins[tt.setting] != tt.origin {
				t.Errorf("%s = %q from %s, want %q from %s", tt.setting, got, origins[tt.setting], tt.want, tt.origin)
			}
		})
	}
}

func TestApplyAgainOnceTheVolumeIsKnown(t *testing.T) {
	file := parse(t, "exclude = [\"a\"]\nbucket = \"b\"\n[volume.v]\nexclude = [\"c\"]\n")
	flags := schema()
	for volume, want := range map[string]string{"": "a", "v": "c"} {
		if _, err := Apply(flags, nil, file, volume); err != nil {
			t.Fatal(err)
		}
		if got := flags.Lookup("exclude").Value.String(); got != want {
			t.Errorf("volume %q: exclude = %q, want %q", volume, got, want)
		}
	}
}

func TestWhatIsWrongInAFileIsNamedWithItsLine(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"misspelt", "jobs = 1\n\nolder-then = \"30d\"", `c.toml:3: unknown key "older-then": did you mean "older-than"?`},
		{"underscore", "older_than = 3", `c.toml:1: unknown key "older_than": did you mean "older-than"?`},
		{"nothing near", "xyzzy = 3", `c.toml:1: unknown key "xyzzy"`},
		{"in a table", "[volume.v]\njobs=1\nbukket = \"x\"", `c.toml:3: unknown key "bukket": did you mean "bucket"?`},
		{"dotted", "volume.v.bukket = \"x\"", `c.toml:1: unknown key "bukket": did you mean "bucket"?`},
		{"inline", "#\nvolume = {v = {bukket = \"x\"}}", `c.toml:2: unknown key "bukket": did you mean "bucket"?`},
		{"unknown table", "[volumes.v]\nbucket=\"x\"", `c.toml:1: unknown key "volumes": did you mean "volume"?`},
		{"volume in a volume", "[volume.v]\nvolume=\"x\"", `c.toml:2: unknown key "volume"`},
		{"no table", "[volume]\nv = \"x\"", `c.toml:2: must be a table: write [volume.v] on a line of its own`},
		{"config in the file", "config = \"x\"", `c.toml:1: unknown key "config"`},
		{"unit", "older-than = \"30x\"", `c.toml:1: older-than: "30x" is not a length of time: write for example 30d, 2w, 1y, 12h, 90m or 45s`},
		{"negative", "older-than = -1", `c.toml:1: older-than: "-1" is negative`},
		{"number as string", "jobs = \"4\"", `c.toml:1: jobs: must be a whole number, without quotes, not a string`},
		{"number as fraction", "jobs = 4.5", `c.toml:1: jobs: must be a whole number, without quotes, not a fraction`},
		{"number out of range", "jobs = 65", `c.toml:1: jobs: "65" is not a whole number from 1 to 64`},
		{"bool as string", "dry-run = \"yes\"", `c.toml:1: dry-run: must be true or false, without quotes, not a string`},
		{"string as number", "bucket = 5", `c.toml:1: bucket: must be a string in quotes, not a whole number`},
		{"string as list", "bucket = [\"a\"]", `c.toml:1: bucket: must be a string in quotes, not an array`},
		{"list of numbers", "exclude = [1]", `c.toml:1: exclude: must be strings, not a whole number`},
		{"date", "bucket = 2020-01-01", `c.toml:1: bucket: must be a string in quotes, not a date`},
		{"choice", "order = \"newest\"", `c.toml:1: order: "newest" is not one of found, coldest, largest`},
		{"syntax", "jobs = 1\nolder-than = 30d\n", `c.toml:2: `},
		{"twice", "jobs = 1\njobs = 2\n", `c.toml:2: `},
		{"two things", "bad = 1\njobs = \"1\"\n", "c.toml:1: unknown key \"bad\"\nc.toml:2: jobs: "},
		{"secret of a wrong type", "secret-access-key = 12345", `c.toml:1: secret-access-key: must be a string in quotes, not a whole number`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("c.toml", []byte(tt.text), schema())
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestWrongValuesInTheEnvironmentNameTheVariable(t *testing.T) {
	_, err := Apply(schema(), []string{"COLDBRICK_OLDER_THAN=-3", "COLDBRICK_JOBS=x", "OTHER=1"}, nil, "")
	want := "COLDBRICK_JOBS: \"x\" is not a whole number from 1 to 64\nCOLDBRICK_OLDER_THAN: \"-3\" is negative"
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

func TestUnknownVariablesAreNamed(t *testing.T) {
	got := Unknown(schema(), []string{"COLDBRICK_BUKKET=x", "COLDBRICK_BUCKET=x", "COLDBRICK_SECRET_ACCESS_KEY=s", "BUCKET=x"})
	want := `COLDBRICK_BUKKET: did you mean "COLDBRICK_BUCKET"?|COLDBRICK_SECRET_ACCESS_KEY`
	if strings.Join(got, "|") != want {
		t.Errorf("got %q", got)
	}
}

func TestAFileWithSecretsThatOthersCanReadIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.toml")
	for _, tt := range []struct {
		text string
		mode os.FileMode
		ok   bool
	}{
		{"secret-access-key = \"s3cr3t\"", 0o600, true},
		{"secret-access-key = \"s3cr3t\"", 0o640, false},
		{"secret-access-key = \"s3cr3t\"", 0o604, false},
		{"\n[volume.v]\nsecret-access-key = \"s3cr3t\"", 0o644, false},
		{"bucket = \"b\"", 0o644, true},
	} {
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, tt.mode); err != nil {
			t.Fatal(err)
		}
		_, err := Open(path, schema())
		switch {
		case tt.ok && err != nil:
			t.Errorf("%q %o: %v", tt.text, tt.mode, err)
		case !tt.ok && (err == nil || !strings.HasSuffix(err.Error(), "chmod 600 "+path) || strings.Contains(err.Error(), "s3cr3t")):
			t.Errorf("%q %o: %v", tt.text, tt.mode, err)
		}
	}
}

func TestASecretIsNeverShown(t *testing.T) {
	flags := schema()
	if _, err := Apply(flags, []string{"COLDBRICK_SECRET_ACCESS_KEY=fromenv"}, parse(t, "secret-access-key = \"s3cr3t\""), ""); err != nil {
		t.Fatal(err)
	}
	v := flags.Lookup("secret-access-key").Value
	if v.String() != "(hidden)" || v.(*Secret).Reveal() != "s3cr3t" {
		t.Errorf("shown %q, kept %q", v, v.(*Secret).Reveal())
	}
}

func FuzzAnyFileIsReadOrRefusedWithALine(f *testing.F) {
	f.Add("older-than = \"30d\"\n[volume.v]\nexclude = [\"a\"]\n")
	f.Add("volume = {v = {jobs = 1}}")
	f.Add("\"\\u0000\" = 1\nvolume.\"\" = 3")
	f.Fuzz(func(t *testing.T, text string) {
		file, err := Parse("c.toml", []byte(text), schema())
		if err != nil {
			if !strings.HasPrefix(err.Error(), "c.toml:") {
				t.Fatalf("no file and line: %v", err)
			}
			return
		}
		flags := schema()
		for _, volume := range append(file.Volumes(), "") {
			if _, err := Apply(flags, nil, file, volume); err != nil {
				t.Fatalf("a checked file does not apply: %v", err)
			}
		}
	})
}
