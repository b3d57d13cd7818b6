package main

import (
	"strings"
	"testing"
	"time"

	"github.com/coldbrick/coldbrick/internal/config"
	"github.com/coldbrick/coldbrick/internal/objstore/stores"
)

// What the file says of a store is what the store is given, secrets too; the table of
// the volume wins.
func TestEachOptionOfAStoreReachesIt(t *testing.T) {
	var text strings.Builder
	for _, section := range []struct{ header, value string }{{"", "top "}, {"[volume.v]\n", "table "}} {
		text.WriteString(section.header)
		for _, kind := range stores.All {
			for _, o := range kind.Options {
				text.WriteString(o.Name + " = \"" + section.value + o.Name + "\"\n")
			}
		}
	}
	file, err := config.Parse("coldbrick.toml", []byte(text.String()), schema())
	if err != nil {
		t.Fatal(err)
	}
	var s settings
	flags := s.flags()
	for volume, want := range map[string]string{"other": "top ", "v": "table "} {
		if _, err := config.Apply(flags, nil, file, volume); err != nil {
			t.Fatal(err)
		}
		options := s.storeOptions()
		for _, kind := range stores.All {
			for _, o := range kind.Options {
				if options[o.Name] != want+o.Name {
					t.Errorf("volume %s: %s of %s is %q", volume, o.Name, kind.Name, options[o.Name])
				}
				if o.Secret && strings.Contains(flags.Lookup(o.Name).Value.String(), o.Name) {
					t.Errorf("%s shows itself", o.Name)
				}
			}
		}
	}
}

// The grace is never shorter than the backups of bricks are old, whatever a flag says.
func TestBackupsRaiseTheGrace(t *testing.T) {
	const day = 24 * time.Hour
	for _, tt := range []struct {
		file, grace string
		want        time.Duration
	}{
		{"", "", 30 * day},
		{`backups-older-than = "90d"`, "", 90 * day},
		{`backups-older-than = "90d"`, "14d", 90 * day},
		{`backups-older-than = "90d"`, "1y", 365 * day},
		{"[volume.other]\nbackups-older-than = \"90d\"", "", 30 * day},
	} {
		file, err := config.Parse("coldbrick.toml", []byte(tt.file), schema())
		if err != nil {
			t.Fatal(err)
		}
		var s settings
		flags := s.flags()
		if tt.grace != "" {
			if err := flags.Set("grace", tt.grace); err != nil {
				t.Fatal(err)
			}
		}
		origins, err := config.Apply(flags, nil, file, "v")
		if err != nil {
			t.Fatal(err)
		}
		if got := s.values(origins).Grace; got != tt.want {
			t.Errorf("%q and --grace %q: %v, want %v", tt.file, tt.grace, got, tt.want)
		}
	}
}
