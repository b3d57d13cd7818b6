package gluster

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Types of the translators that matter to archiving.
const (
	TypeClient    = "protocol/client"
	TypeCloudsync = "features/cloudsync"
	TypeDisperse  = "cluster/disperse"
	TypeDHT       = "cluster/distribute"
	TypeQuickRead = "performance/quick-read"
	TypeReplicate = "cluster/replicate"
	TypePosix     = "storage/posix" // of a brick, not of a client
	TypeShard     = "features/shard"
	TypeUtime     = "features/utime" // in the graph while features.ctime is on

	TypeIOThreads    = "performance/io-threads"
	TypeMDCache      = "performance/md-cache" // performance.stat-prefetch
	TypeOpenBehind   = "performance/open-behind"
	TypeReaddirAhead = "performance/readdir-ahead"
	TypeWriteBehind  = "performance/write-behind"
)

// Graph is a client's volume file: translators in the order of definition, each
// after those below it, the top of the graph last.
type Graph []Xlator

// Xlator is one translator of a graph.
type Xlator struct {
	Name       string
	Type       string
	Options    []Option
	Subvolumes []string // names of the translators right below, in order
}

// Option is a setting of a translator. Which options hold secrets changes from
// release to release (password, s3plugin-seckey), so no value prints itself.
type Option struct {
	Key   string
	Value Secret
}

// ErrVolfile means that a volume file cannot be read or must not be written.
var ErrVolfile = errors.New("not a usable volume file")

// ParseVolfile reads a volume file as glusterd and .meta/graphs/active/volfile
// write it: one statement a line. Its errors name lines, never values.
func ParseVolfile(text []byte) (Graph, error) {
	var (
		graph   Graph
		defined = make(map[string]bool)
		current *Xlator
	)
	for n, line := range strings.Split(string(text), "\n") {
		bad := func(what string) (Graph, error) {
			return nil, fmt.Errorf("%w: line %d: %s", ErrVolfile, n+1, what)
		}
		line = strings.Trim(line, " \t\r")
		if line == "" || line[0] == '#' {
			continue
		}
		word, rest := cutWord(line)
		if (current == nil) != (word == "volume") {
			return bad("statement out of place")
		}
		switch word {
		case "volume":
			if !isWord(rest) || defined[rest] {
				return bad("no new volume name")
			}
			current = &Xlator{Name: rest}
		case "type":
			if !isWord(rest) || current.Type != "" {
				return bad("no single type")
			}
			current.Type = rest
		case "option":
			key, value := cutWord(rest)
			value, ok := unquote(value)
			if !isWord(key) || !ok {
				return bad("no option")
			}
			if _, twice := current.option(key); twice {
				return bad("option given twice")
			}
			current.Options = append(current.Options, Option{key, NewSecret(value)})
		case "subvolumes":
			if rest == "" || current.Subvolumes != nil {
				return bad("no single list of subvolumes")
			}
			current.Subvolumes = strings.Fields(rest)
			for _, name := range current.Subvolumes {
				if !isWord(name) || !defined[name] {
					return bad("subvolume that no line above defines")
				}
			}
		case "end-volume":
			if rest != "" || current.Type == "" {
				return bad("volume without type")
			}
			graph = append(graph, *current)
			defined[current.Name] = true
			current = nil
		default:
			return bad("unknown statement")
		}
	}
	if current != nil || len(graph) == 0 {
		return nil, fmt.Errorf("%w: truncated or empty", ErrVolfile)
	}
	return graph, nil
}

// Encode writes the graph as glusterfs -f reads it. It refuses values that
// glusterfs would not read back: one with a backtick would even be run as a
// command.
func (g Graph) Encode() ([]byte, error) {
	var b bytes.Buffer
	for _, x := range g {
		fmt.Fprintf(&b, "volume %s\n    type %s\n", x.Name, x.Type)
		for _, o := range x.Options {
			value := o.Value.Reveal()
			if value == "" || strings.ContainsAny(value, "`\n\r\x00") {
				return nil, fmt.Errorf("%w: value of option %s of volume %s cannot be written", ErrVolfile, o.Key, x.Name)
			}
			fmt.Fprintf(&b, "    option %s \"%s\"\n", o.Key, quoter.Replace(value))
		}
		if len(x.Subvolumes) > 0 {
			fmt.Fprintf(&b, "    subvolumes %s\n", strings.Join(x.Subvolumes, " "))
		}
		b.WriteString("end-volume\n")
	}
	return b.Bytes(), nil
}

var quoter = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// Option gives the value of an option, "" if it is not set. Do not print it.
func (x Xlator) Option(key string) string {
	value, _ := x.option(key)
	return value.Reveal()
}

func (x Xlator) option(key string) (Secret, bool) {
	for _, o := range x.Options {
		if o.Key == key {
			return o.Value, true
		}
	}
	return Secret{}, false
}

// Of gives the translators of one type, in the order of definition, which is
// the order of bricks and replica sets in the volume.
func (g Graph) Of(xlatorType string) []Xlator {
	var of []Xlator
	for _, x := range g {
		if x.Type == xlatorType {
			of = append(of, x)
		}
	}
	return of
}

// Has reports whether a translator of this type is in the graph.
func (g Graph) Has(xlatorType string) bool {
	return slices.ContainsFunc(g, func(x Xlator) bool { return x.Type == xlatorType })
}

// Under reports whether a translator of one type is anywhere below one of another.
func (g Graph) Under(below, above string) bool {
	carry := make(map[string]bool) // those of the first type, and what is over them
	for _, x := range g {
		over := slices.ContainsFunc(x.Subvolumes, func(name string) bool { return carry[name] })
		if over && x.Type == above {
			return true
		}
		carry[x.Name] = over || x.Type == below
	}
	return false
}

// Distributed reports whether there is more than one brick, or set of them, that a
// file may be on, so that a rebalance moves files.
func (g Graph) Distributed() bool {
	return slices.ContainsFunc(g.Of(TypeDHT), func(x Xlator) bool { return len(x.Subvolumes) > 1 })
}

// ForStamping derives the graph of a mount to stamp through. Cloudsync stays in
// it without its store: a read there can never set off a recall.
func (g Graph) ForStamping() (Graph, error) {
	if !g.Has(TypeCloudsync) {
		return nil, fmt.Errorf("%w: no %s in it", ErrVolfile, TypeCloudsync)
	}
	return g.derive(isMountsOwn, func(x Xlator, key string) bool {
		// Reading a file must not change it, as it does with ctime.noatime off: the
		// brick's file is then written its atime, which moves its ctime.
		return isHandshake(key) || x.Type == TypeCloudsync && key != "cloudsync" || x.Type == TypeUtime && key == "noatime"
	})
}

// ForRecall derives the graph of a mount on which stubs are ordinary files of
// size 0, to be read and written like others: it has no cloudsync. Of the
// translators for performance it keeps those of the volume that make writing
// fast and cache nothing: write-behind may tell of a write that failed as late
// as fsync, which a recall waits for before anybody can see a byte.
func (g Graph) ForRecall() (Graph, error) {
	return g.derive(func(x Xlator) bool {
		return x.Type == TypeCloudsync || isMountsOwn(x) && x.Type != TypeWriteBehind && x.Type != TypeIOThreads
	},
		func(_ Xlator, key string) bool { return isHandshake(key) })
}

// Bricks gives the clients of the bricks that make up a replica set, each fit to be
// a graph of its own.
func (g Graph) Bricks(set string) ([]Xlator, error) {
	at := slices.IndexFunc(g, func(x Xlator) bool { return x.Name == set && x.Type == TypeReplicate })
	if at < 0 {
		return nil, fmt.Errorf("%w: no replica set %s in it", ErrVolfile, set)
	}
	var bricks []Xlator
	for _, x := range g.Of(TypeClient) {
		if slices.Contains(g[at].Subvolumes, x.Name) {
			x.Options = slices.DeleteFunc(slices.Clone(x.Options), func(o Option) bool { return isHandshake(o.Key) })
			bricks = append(bricks, x)
		}
	}
	if len(bricks) != len(g[at].Subvolumes) {
		return nil, fmt.Errorf("%w: %s is made of what is no brick", ErrVolfile, set)
	}
	return bricks, nil
}

// isMountsOwn matches what belongs to the mount that was looked at and not to
// the volume: translators that the client itself loads (for --acl, -o ro,
// .meta), and all of performance/*, none of which is needed for correctness.
// Without them a mount says what the bricks say: nothing caches or defers, and
// a write that fails fails at once.
func isMountsOwn(x Xlator) bool {
	return strings.HasSuffix(x.Name, "-autoload") || strings.HasPrefix(x.Type, "performance/") ||
		x.Type == "meta" || x.Type == "features/read-only"
}

// isHandshake matches the options that a client adds to its protocol/client
// translators when it connects; they say who that client is.
func isHandshake(key string) bool {
	switch key {
	case "process-uuid", "process-name", "opversion", "clnt-lk-version", "client-version", "fops-version":
		return true
	}
	return strings.HasPrefix(key, "volfile-")
}

func (g Graph) derive(dropXlator func(Xlator) bool, dropOption func(Xlator, string) bool) (Graph, error) {
	var derived Graph
	instead := make(map[string]string) // dropped translator -> the one that takes its place
	for _, x := range g {
		subvolumes := slices.Clone(x.Subvolumes)
		for i, name := range subvolumes {
			if below, dropped := instead[name]; dropped {
				subvolumes[i] = below
			}
		}
		if dropXlator(x) {
			if len(subvolumes) != 1 {
				return nil, fmt.Errorf("%w: volume %s of type %s has %d subvolumes, so none can take its place",
					ErrVolfile, x.Name, x.Type, len(subvolumes))
			}
			instead[x.Name] = subvolumes[0]
			continue
		}
		options := slices.DeleteFunc(slices.Clone(x.Options), func(o Option) bool { return dropOption(x, o.Key) })
		derived = append(derived, Xlator{x.Name, x.Type, options, subvolumes})
	}
	return derived, nil
}

func cutWord(s string) (word, rest string) {
	if i := strings.IndexAny(s, " \t"); i >= 0 {
		return s[:i], strings.Trim(s[i:], " \t")
	}
	return s, ""
}

// isWord reports whether s is one bare token of Gluster's lexer.
func isWord(s string) bool {
	return s != "" && s[0] != '#' && !strings.ContainsAny(s, " \t\r\n\"\\`\x00")
}

// unquote reads the value of an option. Files made by a client or glusterd do
// not quote, and then the value is the rest of the line.
func unquote(s string) (string, bool) {
	if s == "" || s[0] != '"' {
		return s, s != ""
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), i == len(s)-1
		case '\\':
			if i++; i == len(s) {
				return "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", false
}

// SameShape reports whether both graphs have the same translators, joined in
// the same way, over the same bricks. Other options may differ, and so may the
// order of those that are not joined.
func (g Graph) SameShape(other Graph) bool {
	named := make(map[string]Xlator, len(other))
	for _, x := range other {
		named[x.Name] = x
	}
	return len(g) == len(other) && !slices.ContainsFunc(g, func(a Xlator) bool {
		b, ok := named[a.Name]
		return !ok || a.Type != b.Type || !slices.Equal(a.Subvolumes, b.Subvolumes) ||
			a.Option("remote-host") != b.Option("remote-host") ||
			a.Option("remote-subvolume") != b.Option("remote-subvolume")
	})
}
