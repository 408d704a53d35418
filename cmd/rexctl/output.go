package main

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
	"sigs.k8s.io/yaml"
)

// column is one column of a table.
type column[T any] struct {
	title string
	get   func(T) string
	wide  bool // only with -o wide
	mood  func(T) mood
}

// mood gives a cell its colour; the words carry the meaning.
type mood string

const (
	plain   mood = ""
	good    mood = "\x1b[32m"
	warning mood = "\x1b[33m"
	bad     mood = "\x1b[31m"
)

// list prints rows in the format that was asked for.
func list[T any](c *cli.Context, rows []T, name func(T) string, columns []column[T]) error {
	rows, err := filtered(rows, c.StringSlice("filter"))
	if err != nil {
		return err
	}
	e := envOf(c)
	format := c.String("output")
	if c.Bool("quiet") {
		format = "name"
	}
	switch format {
	case "json", "yaml":
		return document(c, rows)
	case "name":
		for _, r := range rows {
			if _, err := fmt.Fprintln(e.stdout, clean(name(r))); err != nil {
				return err
			}
		}
		return nil
	}
	return newGrid(e, columns, format == "wide", !c.Bool("no-header")).add(rows)
}

// listPages is list for what comes in pages: a table shows each as it comes.
func listPages[T any](c *cli.Context, pages iter.Seq2[[]T, error], name func(T) string, columns []column[T]) error {
	format := c.String("output")
	if format == "json" || format == "yaml" || c.Bool("quiet") || format == "name" {
		rows := []T{}
		for page, err := range pages {
			if err != nil {
				return err
			}
			rows = append(rows, page...)
		}
		return list(c, rows, name, columns)
	}
	t := newGrid(envOf(c), columns, format == "wide", !c.Bool("no-header"))
	for page, err := range pages {
		if err == nil {
			page, err = filtered(page, c.StringSlice("filter"))
		}
		if err == nil {
			err = t.add(page)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// document prints v as one JSON or YAML document.
func document(c *cli.Context, v any) error {
	e := envOf(c)
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	if c.String("output") == "yaml" {
		if b, err = yaml.JSONToYAML(b); err != nil {
			return fmt.Errorf("encode the answer: %w", err)
		}
		_, err = e.stdout.Write(b)
		return err
	}
	_, err = e.stdout.Write(append(b, '\n'))
	return err
}

// structured says whether a document was asked for instead of text.
func structured(c *cli.Context) bool {
	return c.String("output") == "json" || c.String("output") == "yaml"
}

// filtered keeps rows whose JSON fields have the wanted values; of a list,
// one of its elements.
func filtered[T any](rows []T, filters []string) ([]T, error) {
	if len(filters) == 0 {
		return rows, nil
	}
	out := []T{}
	for _, r := range rows {
		b, err := json.Marshal(r)
		if err != nil {
			return nil, err
		}
		var fields map[string]any
		if err := json.Unmarshal(b, &fields); err != nil {
			return nil, err
		}
		keep := true
		for _, f := range filters {
			k, want, _ := strings.Cut(f, "=")
			got, known := fields[k]
			if !known && !knownField[T](k) {
				return nil, usagef("--filter %s: there is no field %q; -o json shows them", f, k)
			}
			keep = keep && holds(got, want)
		}
		if keep {
			out = append(out, r)
		}
	}
	return out, nil
}

// knownField says whether T has a JSON field k that an empty value hides.
func knownField[T any](k string) bool {
	for _, name := range jsonFields[T]() {
		if name == k {
			return true
		}
	}
	return false
}

func holds(got any, want string) bool {
	if l, ok := got.([]any); ok {
		for _, x := range l {
			if holds(x, want) {
				return true
			}
		}
		return false
	}
	switch v := got.(type) {
	case nil:
		return want == "" || want == "false"
	case string:
		return v == want
	case float64:
		return strings.TrimSuffix(fmt.Sprintf("%.0f", v), ".0") == want
	}
	return fmt.Sprint(got) == want
}

// pairs prints "name: value" lines, aligned.
func pairs(e *env, kv [][2]string) error {
	width := 0
	for _, p := range kv {
		width = max(width, len(p[0]))
	}
	var b strings.Builder
	for _, p := range kv {
		if p[1] != "" {
			fmt.Fprintf(&b, "%-*s %s\n", width+1, p[0]+":", strings.ReplaceAll(cleanLines(p[1]), "\n", "\n"+strings.Repeat(" ", width+2)))
		}
	}
	_, err := io.WriteString(e.stdout, b.String())
	return err
}

// clean replaces what could drive a terminal: names and reasons come from
// others.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == utf8.RuneError || (r >= 0x7f && r < 0xa0) {
			return '?'
		}
		return r
	}, s)
}

func cleanLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = clean(l)
	}
	return strings.Join(lines, "\n")
}

// size prints bytes for people.
func size(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	div, exp := int64(unit), 0
	for m := n / unit; m >= unit && exp < 5; m /= unit {
		div *= unit
		exp++
	}
	return fmt.Sprintf("%.1f %ciB", float64(n)/float64(div), "KMGTPE"[exp])
}

// clock prints a time for people: UTC, to the second.
func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}
