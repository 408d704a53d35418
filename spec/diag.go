package spec

import (
	"fmt"
	"sort"
	"strings"
	"unicode/utf8"
)

// Diagnostic is one thing that a user should know about a file, at its place.
type Diagnostic struct {
	File    string `json:"file"`
	Line    int    `json:"line"`   // from 1; 0 when the place is not known
	Column  int    `json:"column"` // from 1, in characters
	Width   int    `json:"width"`  // characters to underline on Line, >= 1
	Summary string `json:"summary"`
	Detail  string `json:"detail,omitempty"`
	Hint    string `json:"hint,omitempty"`    // what to try next
	Warning bool   `json:"warning,omitempty"` // the file is usable all the same

	text string // the source line as it stands in the file, when known
}

// Error is the diagnostic on one line: file:line:column: summary.
func (d Diagnostic) Error() string {
	var b strings.Builder
	b.WriteString(d.place())
	if d.Warning {
		b.WriteString("warning: ")
	}
	b.WriteString(d.Summary)
	if d.Detail != "" {
		b.WriteString(": " + d.Detail)
	}
	if d.Hint != "" {
		b.WriteString(" (" + d.Hint + ")")
	}
	return b.String()
}

func (d Diagnostic) place() string {
	file := printable(d.File)
	switch {
	case file == "":
		return ""
	case d.Line == 0:
		return file + ": "
	}
	return fmt.Sprintf("%s:%d:%d: ", file, d.Line, d.Column)
}

// Diagnostics is what reading one file brought to light, in the order of the
// places it speaks about. It is an error only if HasErrors says so: use Err.
type Diagnostics []Diagnostic

// HasErrors says whether any of them is more than a warning.
func (ds Diagnostics) HasErrors() bool {
	for _, d := range ds {
		if !d.Warning {
			return true
		}
	}
	return false
}

// Err is ds as an error, or nil when there are only warnings.
func (ds Diagnostics) Err() error {
	if !ds.HasErrors() {
		return nil
	}
	return ds
}

// Error lists the diagnostics, one per line, without source lines.
func (ds Diagnostics) Error() string {
	lines := make([]string, len(ds))
	for i, d := range ds {
		lines[i] = d.Error()
	}
	return strings.Join(lines, "\n")
}

const (
	colourRed    = "\x1b[1;31m"
	colourYellow = "\x1b[1;33m"
	colourBold   = "\x1b[1m"
	colourOff    = "\x1b[0m"
)

// Format prints every diagnostic with its source line and a caret line:
//
//	web.hcl:3:3: unknown attribute "imgae" in jail "web"
//	    imgae = "web"
//	    ~~~~^
//	  did you mean "image"?
//
// src is the text of the file; it is only needed where a diagnostic does not
// bring its own line. The meaning never depends on color.
func (ds Diagnostics) Format(src []byte, color bool) string {
	var b strings.Builder
	for _, d := range ds {
		d.format(&b, src, color)
	}
	return b.String()
}

func (d Diagnostic) format(b *strings.Builder, src []byte, color bool) {
	paint := func(code, s string) string {
		if !color {
			return s
		}
		return code + s + colourOff
	}
	word, code := "", colourRed
	if d.Warning {
		word, code = "warning: ", colourYellow
	}
	b.WriteString(paint(colourBold, d.place()))
	b.WriteString(paint(code, word+printable(d.Summary)) + "\n")
	text := d.text
	if text == "" && d.Line > 0 {
		text = lineOf(src, d.Line)
	}
	if text != "" {
		shown, under := caretLine(text, d.Column, d.Width)
		fmt.Fprintf(b, "    %s\n    %s\n", shown, paint(code, under))
	}
	for _, more := range []string{d.Detail, d.Hint} {
		if more != "" {
			fmt.Fprintf(b, "  %s\n", printable(more))
		}
	}
}

// maxShown is how much of a source line is printed, in characters: a file
// may be one line of 16 MiB.
const maxShown = 120

// caretLine returns the part of text around column, and a line of the same
// indentation that underlines width characters and ends in a caret.
func caretLine(text string, column, width int) (shown, under string) {
	runes := []rune(strings.TrimRight(text, "\r\n"))
	col := min(max(column-1, 0), len(runes))
	width = max(min(width, len(runes)-col), 1)
	start := 0
	if col > maxShown*2/3 {
		start = col - maxShown/3
	}
	end := min(len(runes), start+maxShown)
	width = min(width, max(end-col, 1))
	pad := make([]rune, 0, col-start)
	for _, r := range runes[start:col] {
		if r != '\t' {
			r = ' '
		}
		pad = append(pad, r)
	}
	shown = strings.TrimRight(printable(string(runes[start:end])), " ")
	return shown, string(pad) + strings.Repeat("~", width-1) + "^"
}

// printable replaces what could drive a terminal (ESC and its kin).
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || r != '\t' && r != '\n' && (r < ' ' || r >= 0x7f && r < 0xa0) {
			return '?'
		}
		return r
	}, s)
}

func lineOf(src []byte, line int) string {
	text := string(src)
	for ; line > 1; line-- {
		_, rest, found := strings.Cut(text, "\n")
		if !found {
			return ""
		}
		text = rest
	}
	text, _, _ = strings.Cut(text, "\n")
	return text
}

// span is a half-open range of bytes in a file.
type span struct{ start, end int }

// sourceFile turns spans into lines and columns.
type sourceFile struct {
	name   string
	src    []byte
	starts []int // offset of each line
}

func newSource(name string, src []byte) *sourceFile {
	f := &sourceFile{name: name, src: src, starts: []int{0}}
	for i, c := range src {
		if c == '\n' {
			f.starts = append(f.starts, i+1)
		}
	}
	return f
}

// at makes a Diagnostic that points at sp.
func (f *sourceFile) at(sp span, summary string) Diagnostic {
	start := min(max(sp.start, 0), len(f.src))
	line := sort.SearchInts(f.starts, start+1) - 1
	first := f.starts[line]
	last := len(f.src)
	if line+1 < len(f.starts) {
		last = f.starts[line+1] - 1
	}
	end := max(min(sp.end, last), start)
	return Diagnostic{
		File: f.name, Line: line + 1,
		Column:  utf8.RuneCount(f.src[first:start]) + 1,
		Width:   max(utf8.RuneCount(f.src[start:end]), 1),
		Summary: summary,
		text:    string(f.src[first:last]),
	}
}

// sorted puts ds in the order of places and drops what says the same of the
// same place again (a block with count speaks once per replica).
func (ds Diagnostics) sorted() Diagnostics {
	sort.SliceStable(ds, func(i, j int) bool {
		a, b := ds[i], ds[j]
		if a.File != b.File {
			return false
		}
		if a.Line != b.Line {
			return a.Line < b.Line
		}
		return a.Column < b.Column
	})
	seen := make(map[string]bool, len(ds))
	out := ds[:0]
	for _, d := range ds {
		key := fmt.Sprintf("%s:%d:%d:%s", d.File, d.Line, d.Column, d.Summary)
		if !seen[key] {
			seen[key] = true
			out = append(out, d)
		}
	}
	return out
}
