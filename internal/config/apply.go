package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// envPrefix begins the name of every variable that is a setting.
const envPrefix = "COLDBRICK_"

// Where a value came from, beside the name of a variable or "FILE:LINE".
const (
	FromDefault = "default"
	FromFlag    = "flag"
)

// Variable is the name in the environment of the setting name.
func Variable(name string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
}

// Origins tells for each setting where its value came from.
type Origins map[string]string

// Apply gives each flag that the command line left alone its value from the
// environment, else from the file's table of volume, else from the file's top
// level. file may be nil, volume empty.
func Apply(flags *pflag.FlagSet, environ []string, file *File, volume string) (Origins, error) {
	env := variables(environ)
	origins := Origins{}
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed {
			origins[f.Name] = FromFlag
			return
		}
		origin, elements, ok := find(f, env, file, volume)
		origins[f.Name] = origin
		if !ok {
			return
		}
		if err := set(f.Value, elements); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", origin, err))
		}
	})
	return origins, errors.Join(errs...)
}

func find(f *pflag.Flag, env map[string]string, file *File, volume string) (origin string, elements []string, ok bool) {
	if text, ok := env[Variable(f.Name)]; ok && f.Annotations[FileOnly] == nil {
		elements := []string{text}
		if _, isList := f.Value.(*List); isList {
			elements = slices.DeleteFunc(strings.Split(text, "\n"), func(s string) bool { return s == "" })
		}
		return Variable(f.Name), elements, true
	}
	if file != nil {
		e, ok := file.volumes[volume][f.Name]
		if !ok {
			e, ok = file.keys[f.Name]
		}
		if ok {
			return fmt.Sprintf("%s:%d", file.path, e.line), e.elements, true
		}
	}
	return FromDefault, nil, false
}

func set(v pflag.Value, elements []string) error {
	if l, ok := v.(*List); ok {
		return l.Replace(elements)
	}
	err := v.Set(elements[0])
	if err != nil && v.Type() == "bool" {
		err = fmt.Errorf("%q is neither true nor false", elements[0])
	}
	return err
}

// Unknown names the variables that look like settings and are none, each with
// a suggestion where one is near.
func Unknown(schema *pflag.FlagSet, environ []string) []string {
	var known []string
	schema.VisitAll(func(f *pflag.Flag) {
		if f.Annotations[FileOnly] == nil {
			known = append(known, Variable(f.Name))
		}
	})
	var unknown []string
	for name := range variables(environ) {
		if !slices.Contains(known, name) {
			unknown = append(unknown, name+Nearest(name, known))
		}
	}
	slices.Sort(unknown)
	return unknown
}

func variables(environ []string) map[string]string {
	env := map[string]string{}
	for _, assignment := range environ {
		name, value, _ := strings.Cut(assignment, "=")
		if strings.HasPrefix(name, envPrefix) {
			env[name] = value
		}
	}
	return env
}

func names(flags *pflag.FlagSet) []string {
	var all []string
	flags.VisitAll(func(f *pflag.Flag) { all = append(all, f.Name) })
	return all
}

// Nearest is the end of an error about an unknown word: `: did you mean
// "older-than"?`, or nothing if no known word is near.
func Nearest(word string, known []string) string {
	best, least := "", max(2, len(word)/3)+1
	for _, k := range known {
		if d := distance(word, k); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(": did you mean %q?", best)
}

// distance is the number of bytes to insert, delete or replace to make b of a
// (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
