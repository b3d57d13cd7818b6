package main

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"

	"github.com/coldbrick/coldbrick/internal/config"
	"github.com/coldbrick/coldbrick/internal/outcome"
	"github.com/coldbrick/coldbrick/internal/report"
)

var update = flag.Bool("update", false, "write the generated pages of the manual anew")

const generated = "<!-- made from the code: go test ./cmd/coldbrick -run TestTheManual -update -->\n\n"

// TestTheManualIsTrue holds the reference pages, the man pages and the sample
// configuration against the code.
func TestTheManualIsTrue(t *testing.T) {
	a := newApp(env{stderr: os.Stderr}, nil)
	root := a.command()
	pages := map[string]string{
		"cli.md":           cliPage(root),
		"reasons.md":       reasonsPage(),
		"configuration.md": configurationPage(),
		"metrics.md":       metricsPage(),
		"coldbrick.toml":   sampleConfig(),
	}
	manPages(t, root, pages)
	pages["man/coldbrick.toml.5"] = settingsPage()
	for name, want := range pages {
		path := filepath.Join("../../docs", name)
		if *update {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("docs/%s is not what the code says: go test ./cmd/coldbrick -run TestTheManual -update", name)
		}
	}
	for _, old := range stale(t, pages) {
		t.Errorf("%s: no command has this page", old)
	}
}

// stale lists man pages of commands that are no more.
func stale(t *testing.T, pages map[string]string) []string {
	t.Helper()
	found, err := filepath.Glob("../../docs/man/*")
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(found, func(path string) bool {
		_, ok := pages["man/"+filepath.Base(path)]
		return ok
	})
}

// walkCommands visits the commands that a user can run, in the order of the help.
func walkCommands(cmd *cobra.Command, visit func(*cobra.Command)) {
	if cmd.Runnable() && cmd.HasParent() && !cmd.HasSubCommands() && cmd.Name() != "help" {
		visit(cmd)
	}
	for _, c := range cmd.Commands() {
		walkCommands(c, visit)
	}
}

func cliPage(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString("# The command line\n\n" + generated)
	b.WriteString("`BRICK` is a brick's directory on this host, `PATH` a path on a mount of the volume. Paths in output are\n" +
		"relative to the volume root, without a leading slash.\n\n" +
		"Standard output is data, standard error is for people: one line for each file that failed, with `-v` for each\n" +
		"file, and a summary at the end. With `-q` the summary appears only when something went wrong. `--json` writes\n" +
		"one object a line to standard output, as [schema/record.json](schema/record.json) says. Names that are not\n" +
		"printable are quoted with escapes in text; in JSON, one that is not UTF-8 has `path_base64` as well.\n\n" +
		"The first SIGINT, SIGTERM or SIGHUP starts no new file and finishes those in work. The second drops them at once,\n" +
		"still losing nothing.\n")
	walkCommands(root, func(cmd *cobra.Command) {
		fmt.Fprintf(&b, "\n## %s\n\n%s.\n\n", cmd.CommandPath(), cmd.Short)
		if cmd.Long != "" {
			fmt.Fprintf(&b, "%s\n\n", cmd.Long)
		}
		fmt.Fprintf(&b, "    %s\n", cmd.UseLine())
		fmt.Fprintf(&b, "\n```\n%s\n%s```\n", cmd.Example, flagHelp(cmd))
	})
	b.WriteString("\n## Exit codes\n\n| code | outcome | meaning |\n|---|---|---|\n")
	for _, e := range exits {
		fmt.Fprintf(&b, "| %d | `%s` | %s |\n", e.code, e.end, e.meaning)
	}
	return b.String()
}

func reasonsPage() string {
	var b strings.Builder
	b.WriteString("# Words\n\n" + generated)
	b.WriteString("The same words stand in output, logs, metrics and here, and never change their meaning.\n\n" +
		"## Outcomes of a file\n\n`candidate` (would be archived), `archived`, `copied` (archive --keep: its object is proven, its data stays), `recalled`, `skipped`, `failed`; `catalogued` (a name that a catalog holds), `rebuilt`.\n\n" +
		"## Reasons\n\nWhy a file was skipped, or failed. The file ...\n\n| reason | meaning |\n|---|---|\n")
	for _, r := range slices.Sorted(maps.Keys(outcome.Meaning)) {
		fmt.Fprintf(&b, "| `%s` | %s |\n", r, outcome.Meaning[r])
	}
	b.WriteString("\n## Findings\n\nWhat is wrong with a stub, as `status` and `fsck` tell it.\n\n| class | severity | meaning |\n|---|---|---|\n")
	for _, c := range slices.Sorted(slices.Values(outcome.Classes())) {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", c, c.Severity(), c.Meaning())
	}
	return b.String()
}

// eachSetting visits all settings, with help text as a user sees it.
func eachSetting(visit func(f *pflag.Flag, usage string)) {
	schema().VisitAll(func(f *pflag.Flag) {
		if f.Name != "config" {
			_, usage := pflag.UnquoteUsage(f)
			visit(f, usage)
		}
	})
}

func configurationPage() string {
	var b strings.Builder
	b.WriteString("# Configuration\n\n" + generated)
	b.WriteString("A setting is a flag, a variable of the environment, or a key of the TOML file that `--config` or\n" +
		"`COLDBRICK_CONFIG` names, by default `" + defaultConfig + "` if it exists. The command line wins over the\n" +
		"environment, and that over the file. In the file, a table `[volume.NAME]` wins over the top level for the volume\n" +
		"of that name: the one of `--volume`, or the one that the mount says it is. `coldbrick config show` prints what is\n" +
		"in force and where it came from.\n\n" +
		"- Ages and durations: `30d`, `2w`, `1y`, `12h`, `90m`, `45s`, `1d12h`. Of an age, a bare number is days.\n" +
		"- Sizes: bytes, `64KiB` or `64K` (1024), `10MB` (1000), `1.5TiB`. Rates: the same, with or without `/s`.\n" +
		"- Lists: an array in the file, one element a line in the environment, the flag several times.\n" +
		"- An unknown key, a wrong type or unit is an error that names file and line. A file that holds a secret must\n" +
		"  be readable by its owner alone. [coldbrick.toml](coldbrick.toml) has every key.\n\n" +
		"| key and flag | variable | default | meaning |\n|---|---|---|---|\n")
	eachSetting(func(f *pflag.Flag, usage string) {
		variable := "`" + config.Variable(f.Name) + "`"
		if f.Annotations[config.FileOnly] != nil {
			variable = "in the file alone"
		}
		value := ""
		if f.DefValue != "" && f.DefValue != "0" && f.DefValue != "false" {
			value = "`" + f.DefValue + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.Name, variable, value, strings.ReplaceAll(usage, "|", `\|`))
	})
	return b.String()
}

func metricsPage() string {
	var b strings.Builder
	b.WriteString("# Metrics\n\n" + generated)
	b.WriteString("`archive`, `release`, `recall`, `fsck`, `catalog` and `gc` write these for the textfile collector of\n" +
		"node_exporter: into the directory `--metrics-file`, by default\n" +
		"`" + defaultMetrics + "` if it exists, a file for each brick and volume,\n" +
		"`coldbrick-ID.prom`; or, if that is no directory, into this one file (let it end in `.prom`, and\n" +
		"give each job its own). Empty, `metrics-file = \"\"`, it turns them off. A file is replaced at once,\n" +
		"and tells all that is remembered of its brick under `--state-dir`, whichever command has run last.\n\n" +
		"Labels: `brick`, its directory, or `volume:NAME` for a run as a whole; `volume`, where its name is\n" +
		"known; `command`, but for the stubs. What was done counts once: with the brick, and with\n" +
		"`volume:NAME` for `recall` and `gc`, which know no bricks. Counters add up over crashes; of a run\n" +
		"that is killed, at most the last 15 seconds are missing. Dry runs change nothing here, nor do\n" +
		"`recall --to` and `--stdout`, nor does a run that finds another one at work: its last success grows\n" +
		"older. A brick that is no more: delete its file, and its history under `--state-dir`.\n\n" +
		"| metric | type | meaning |\n|---|---|---|\n")
	for _, m := range report.AllMetrics() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", m.Name, m.Type, m.Help)
	}
	return b.String()
}

func sampleConfig() string {
	var b strings.Builder
	b.WriteString("# " + defaultConfig + ": every key, with its default. Flags and COLDBRICK_* win over this file.\n" +
		"# Keep it readable by root alone (chmod 600) once it holds a secret.\n")
	eachSetting(func(f *pflag.Flag, usage string) {
		fmt.Fprintf(&b, "\n# %s\n#%s = %s\n", usage, f.Name, tomlValue(f.Value))
	})
	b.WriteString("\n# One table for each volume: its keys win over those above.\n#[volume.NAME]\n#bucket = \"archive\"\n#older-than = \"1y\"\n")
	return b.String()
}

func manPages(t *testing.T, root *cobra.Command, pages map[string]string) {
	t.Helper()
	root.DisableAutoGenTag = true
	date := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) // of the first page: a date of today would never stay true
	var page func(cmd *cobra.Command)
	page = func(cmd *cobra.Command) {
		var b bytes.Buffer
		header := doc.GenManHeader{Section: "1", Date: &date, Source: "coldbrick", Manual: "coldbrick"}
		if err := doc.GenMan(cmd, &header, &b); err != nil {
			t.Fatal(err)
		}
		pages["man/"+strings.ReplaceAll(cmd.CommandPath(), " ", "-")+".1"] = inSections(t, cmd, b.String())
		for _, c := range cmd.Commands() {
			if c.Name() != "help" {
				page(c)
			}
		}
	}
	page(root)
}

// inSections groups the flags of a man page as the help does.
func inSections(t *testing.T, cmd *cobra.Command, page string) string {
	t.Helper()
	const head = ".SH OPTIONS\n"
	before, rest, ok := strings.Cut(page, head)
	if !ok {
		return page
	}
	end := max(0, strings.Index(rest, "\n.SH ")) + 1
	entries := strings.Split(strings.TrimSpace(rest[:end]), "\n\n.PP\n")
	entryOf := func(name string) string {
		at := slices.IndexFunc(entries, func(e string) bool {
			head, _, _ := strings.Cut(e, "\n")
			return strings.Contains(head, "--"+name+"\\fP")
		})
		if at < 0 {
			t.Fatalf("%s: the man page lacks --%s", cmd.CommandPath(), name)
		}
		return entries[at]
	}
	var b strings.Builder
	titles, groups := flagSections(cmd)
	count := 0
	for i, group := range groups {
		fmt.Fprintf(&b, ".SS %s\n", titles[i])
		group.VisitAll(func(f *pflag.Flag) {
			flag, what, _ := strings.Cut(entryOf(f.Name), "\n")
			fmt.Fprintf(&b, ".TP\n%s\n%s\n", flag, strings.TrimSpace(what))
			count++
		})
	}
	if count != len(entries) {
		t.Errorf("%s: %d flags in sections, %d in the man page", cmd.CommandPath(), count, len(entries))
	}
	return before + head + b.String() + "\n" + rest[end:]
}

// settingsPage is coldbrick.toml(5).
func settingsPage() string {
	var b strings.Builder
	b.WriteString(".nh\n.TH \"COLDBRICK.TOML\" \"5\" \"Jan 2026\" \"coldbrick\" \"coldbrick\"\n" +
		".SH NAME\ncoldbrick.toml - settings of coldbrick\n" +
		".SH SYNOPSIS\n\\fB" + defaultConfig + "\\fP\n" +
		".SH DESCRIPTION\nA file in TOML that coldbrick reads where \\fB--config\\fP or COLDBRICK_CONFIG name no other. " +
		"Every key has the name of a flag: the command line wins over the environment, and that over the file. " +
		"A table [volume.NAME] wins over the top level for the volume of that name. " +
		"An unknown key, a wrong type or unit is an error that names file and line. " +
		"A file that holds a secret must be readable by its owner alone.\n" +
		".SH EXAMPLE\n.nf\nolder-than = \"180d\"\nexclude = [\"**/.snapshots/**\"]\n\n[volume.vol]\nolder-than = \"1y\"\nkey-prefix = \"vol/\"\n.fi\n" +
		".SH KEYS\n")
	roff := strings.NewReplacer(`\`, `\e`, "-", `\-`)
	eachSetting(func(f *pflag.Flag, usage string) {
		fmt.Fprintf(&b, ".TP\n\\fB%s\\fP = %s\n%s\n", roff.Replace(f.Name), roff.Replace(tomlValue(f.Value)), roff.Replace(usage))
	})
	b.WriteString(".SH FILES\n.TP\n" + defaultConfig + "\nthis file\n.TP\n/etc/coldbrick/VOLUME.toml\n" +
		"the keys of a volume's bucket: access\\-key\\-id and secret\\-access\\-key, for coldbrick and its plugin. coldbrick setup writes it.\n" +
		".SH SEE ALSO\n\\fBcoldbrick(1)\\fP, \\fBcoldbrick-config-show(1)\\fP, \\fBcoldbrick-setup(1)\\fP\n")
	return b.String()
}

// Every command shows how it is used, and what it shows can be run.
func TestExamplesAreOfFlagsThatAreThere(t *testing.T) {
	a := newApp(env{stderr: os.Stderr}, nil)
	root := a.command()
	walkCommands(root, func(cmd *cobra.Command) {
		examples := 0
		text := strings.ReplaceAll(cmd.Example, "\\\n", " ")
		for line := range strings.SplitSeq(text, "\n") {
			line, _, _ = strings.Cut(line, " #")
			words := strings.Fields(strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(line), "source <("), ")"))
			fresh := newApp(env{stderr: os.Stderr}, nil).command()
			if len(words) == 0 || words[0] != "coldbrick" {
				t.Errorf("%s: %q is not an example", cmd.CommandPath(), line)
				continue
			}
			found, rest, err := fresh.Find(words[1:])
			if err == nil {
				err = found.ParseFlags(rest)
			}
			if err == nil && found.Args != nil {
				err = found.Args(found, found.Flags().Args())
			}
			if err != nil {
				t.Errorf("%s: %q: %v", cmd.CommandPath(), line, err)
			}
			if found.CommandPath() == cmd.CommandPath() {
				examples++
			}
		}
		if examples == 0 {
			t.Errorf("%s has no example", cmd.CommandPath())
		}
	})
}

// The sample configuration, with every key taken as it stands, changes nothing.
func TestTheSampleConfigurationIsTheDefault(t *testing.T) {
	var text strings.Builder
	for line := range strings.Lines(sampleConfig()) {
		if key, ok := strings.CutPrefix(line, "#"); ok && !strings.HasPrefix(key, " ") && !strings.HasPrefix(key, "[") {
			text.WriteString(key)
		}
		if strings.HasPrefix(line, "#[volume") {
			break
		}
	}
	file, err := config.Parse("coldbrick.toml", []byte(text.String()), schema())
	if err != nil {
		t.Fatal(err)
	}
	flags := schema()
	origins, err := config.Apply(flags, nil, file, "")
	if err != nil {
		t.Fatal(err)
	}
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name != "config" && (origins[f.Name] == config.FromDefault || f.Value.String() != f.DefValue) {
			t.Errorf("%s: %q from %s, default %q", f.Name, f.Value, origins[f.Name], f.DefValue)
		}
	})
}

// Exit codes have one word each, and every error of ours its code.
func TestExitCodesAreThoseOfTheManual(t *testing.T) {
	known := map[int]bool{}
	for _, e := range exits {
		if known[e.code] {
			t.Errorf("code %d stands twice", e.code)
		}
		known[e.code] = true
	}
	for want, errs := range codes {
		for _, err := range errs {
			if got := exitCode(fmt.Errorf("wrapped: %w", err)); got != want || !known[got] {
				t.Errorf("%v: exit code %d, want %d", err, got, want)
			}
		}
	}
}

// docs/dependencies.md names each module that our code imports, and no other.
func TestEachDependencyHasItsReason(t *testing.T) {
	text, err := os.ReadFile("../../docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "list", "-f",
		`{{join .Imports "\n"}} {{join .TestImports "\n"}} {{join .XTestImports "\n"}}`, "../../...").Output()
	if err != nil {
		t.Fatal(err)
	}
	imports := map[string]bool{}
	for path := range strings.FieldsSeq(string(out)) {
		first, _, _ := strings.Cut(path, "/")
		if strings.Contains(first, ".") && !strings.HasPrefix(path, "github.com/coldbrick/") {
			imports[path] = true
		}
	}
	var named []string
	for _, row := range strings.Split(string(text), "\n") {
		cells := strings.Split(row, "|")
		if len(cells) < 4 {
			continue
		}
		for i, word := range strings.Split(cells[1], "`") {
			if i%2 == 1 && strings.Contains(word, ".") {
				named = append(named, word)
			}
		}
	}
	for path := range imports {
		if !slices.ContainsFunc(named, func(module string) bool { return path == module || strings.HasPrefix(path, module+"/") }) {
			t.Errorf("%s is imported, and docs/dependencies.md does not say why", path)
		}
	}
	for _, module := range named {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(imports)), func(path string) bool {
			return path == module || strings.HasPrefix(path, module+"/")
		}) {
			t.Errorf("docs/dependencies.md explains %s, which nothing imports", module)
		}
	}
}
