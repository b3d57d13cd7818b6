// Package config turns flags, environment and a TOML file into settings. A set
// of flags is the schema: the file has a key, and the environment a variable,
// for each flag, and values are checked by the flag's own parser.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
	"github.com/spf13/pflag"
)

// maxFile bounds a configuration file, in bytes.
const maxFile = 1 << 20

// FileOnly annotates a flag of the schema that is a key of the file and
// neither a flag of the command line nor a variable of the environment.
const FileOnly = "file-only"

// File is a configuration file whose every key and value was checked.
type File struct {
	path    string
	keys    map[string]entry            // at the top level
	volumes map[string]map[string]entry // in the tables [volume.NAME]
}

// entry is a value as text, and where it stands.
type entry struct {
	elements []string // one, but for a List
	line     int
}

// Open reads and checks the file at path; schema is scratch, its flags take the
// file's values. A file that holds a secret must be
// readable by its owner alone.
func Open(path string, schema *pflag.FlagSet) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err // names operation and path
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: is larger than 1 MiB", path)
	}
	file, err := Parse(path, data, schema)
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		if key, line := file.secret(schema); key != "" {
			return nil, fmt.Errorf("%s:%d: holds a secret (%s) and others can read the file (mode %04o): chmod 600 %[1]s",
				path, line, key, mode)
		}
	}
	return file, nil
}

// Parse checks data, the content of the file at path, against the schema. The
// error has one line for each thing that is wrong.
func Parse(path string, data []byte, schema *pflag.FlagSet) (*File, error) {
	var tree map[string]any
	if err := toml.Unmarshal(data, &tree); err != nil {
		var syntax *toml.DecodeError
		if errors.As(err, &syntax) {
			line, _ := syntax.Position()
			return nil, fmt.Errorf("%s:%d: %s", path, line, strings.TrimPrefix(syntax.Error(), "toml: "))
		}
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	r := reader{path: path, lines: keyLines(data), schema: schema}
	f := &File{path: path, keys: map[string]entry{}, volumes: map[string]map[string]entry{}}
	if tables, ok := tree["volume"].(map[string]any); ok {
		delete(tree, "volume")
		for name, table := range tables {
			keys, ok := table.(map[string]any)
			if !ok {
				r.fail([]string{"volume", name}, "must be a table: write [volume.%s] on a line of its own", name)
				continue
			}
			f.volumes[name] = map[string]entry{}
			r.table([]string{"volume", name}, keys, f.volumes[name])
		}
	}
	r.table(nil, tree, f.keys)
	return f, r.err()
}

// Volumes are the names of the tables [volume.NAME].
func (f *File) Volumes() []string { return slices.Sorted(maps.Keys(f.volumes)) }

// secret finds a key of type secret, and its line.
func (f *File) secret(schema *pflag.FlagSet) (key string, line int) {
	tables := append(slices.Collect(maps.Values(f.volumes)), f.keys)
	for _, table := range tables {
		for key, e := range table {
			if schema.Lookup(key).Value.Type() == new(Secret).Type() {
				return key, e.line
			}
		}
	}
	return "", 0
}

// reader collects what is wrong with a file while it reads it.
type reader struct {
	path   string
	lines  map[string]int
	schema *pflag.FlagSet
	wrong  []flaw
}

type flaw struct {
	line int
	text string
}

// previous are keys that were spelled otherwise before.
var previous = map[string]string{"require_plugin": "require-plugin"}

func (r *reader) table(at []string, values map[string]any, into map[string]entry) {
	for key, value := range values {
		path := append(slices.Clone(at), key)
		if current, ok := previous[key]; ok {
			if _, both := values[current]; both {
				r.fail(path, "%s is what %s was called before: remove it", key, current)
				continue
			}
			key = current
		}
		flag := r.schema.Lookup(key)
		if flag == nil || key == "config" || key == "volume" && len(at) > 0 {
			r.fail(path, "unknown key %q%s", key, Nearest(key, names(r.schema)))
			continue
		}
		elements, err := texts(flag.Value, value)
		for _, e := range elements {
			if err == nil {
				err = flag.Value.Set(e)
			}
		}
		if err != nil {
			r.fail(path, "%s: %s", key, err)
			continue
		}
		into[key] = entry{elements: elements, line: r.line(path)}
	}
}

func (r *reader) fail(path []string, format string, args ...any) {
	r.wrong = append(r.wrong, flaw{r.line(path), fmt.Sprintf(format, args...)})
}

// line is that of the key at path, or of the nearest table around it.
func (r *reader) line(path []string) int {
	for ; len(path) > 0; path = path[:len(path)-1] {
		if n := r.lines[joined(path)]; n != 0 {
			return n
		}
	}
	return 1
}

func (r *reader) err() error {
	slices.SortFunc(r.wrong, func(a, b flaw) int {
		if a.line != b.line {
			return a.line - b.line
		}
		return strings.Compare(a.text, b.text)
	})
	errs := make([]error, 0, len(r.wrong))
	for _, w := range r.wrong {
		errs = append(errs, fmt.Errorf("%s:%d: %s", r.path, w.line, w.text))
	}
	return errors.Join(errs...)
}

// texts gives the value of a key in the words of the flag's own parser, if it
// has the type that a file must use for it. Quantities may be plain numbers.
func texts(flag pflag.Value, value any) ([]string, error) {
	_, isList := flag.(*List)
	number, isNumber := flag.(*Number)
	isBool := flag.Type() == "bool"
	switch v := value.(type) {
	case string:
		if !isBool && (!isNumber || number.canBeAuto && v == auto) {
			return []string{v}, nil
		}
	case int64:
		if isNumber || isQuantity(flag) {
			return []string{strconv.FormatInt(v, 10)}, nil
		}
	case bool:
		if isBool {
			return []string{strconv.FormatBool(v)}, nil
		}
	case []any:
		if !isList {
			break
		}
		elements := make([]string, 0, len(v))
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, fmt.Errorf("must be strings, not %s", kind(e))
			}
			elements = append(elements, s)
		}
		return elements, nil
	}
	want := "a string in quotes"
	switch {
	case isBool:
		want = "true or false, without quotes"
	case isNumber:
		want = "a whole number, without quotes"
	case isList:
		want = `an array of strings, as ["*.mov", "*.wav"]`
	}
	return nil, fmt.Errorf("must be %s, not %s", want, kind(value))
}

func isQuantity(v pflag.Value) bool {
	switch v.(type) {
	case *Age, *Span, *Size, *Rate, *Percent, *Portion:
		return true
	}
	return false
}

func kind(value any) string {
	switch value.(type) {
	case string:
		return "a string"
	case int64:
		return "a whole number"
	case float64:
		return "a fraction"
	case bool:
		return "true or false"
	case []any:
		return "an array"
	case map[string]any:
		return "a table"
	}
	return "a date"
}

// keyLines maps the path of each key and table to its line.
func keyLines(data []byte) map[string]int {
	lines := map[string]int{}
	var p unstable.Parser
	p.Reset(data)
	var table []string
	for p.NextExpression() {
		node := p.Expression()
		var path []string
		line := 0
		for key := node.Key(); key.Next(); {
			path = append(path, string(key.Node().Data))
			line = 1 + bytes.Count(data[:key.Node().Raw.Offset], []byte("\n"))
		}
		switch node.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = path
		default:
			path = append(slices.Clone(table), path...)
		}
		lines[joined(path)] = line
	}
	return lines
}

func joined(path []string) string { return strings.Join(path, "\x00") }
