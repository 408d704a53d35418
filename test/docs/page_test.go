package docs_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
)

// step is one thing that a page asks its reader to do.
type step struct {
	line    int
	file    string // write text to this file
	text    string
	command string   // or run this
	daemon  bool     // in another terminal, until the end of the page
	want    []string // lines of output, in order
}

type page struct {
	file  string
	root  bool // shows the prompt of root
	steps []step
}

var fence = regexp.MustCompile("^```(\\S*) *(\\S*)$")

// readPage takes the blocks out of a Markdown file.
func readPage(file string) (page, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return page{}, err
	}
	p := page{file: file}
	var block []string
	language, name, begin := "", "", 0
	for i, line := range strings.Split(string(raw), "\n") {
		m := fence.FindStringSubmatch(line)
		switch {
		case begin == 0 && m != nil:
			language, name, begin, block = m[1], m[2], i+1, nil
		case begin == 0:
		case line == "```":
			p.add(language, name, begin, block)
			begin = 0
		default:
			block = append(block, line)
		}
	}
	if begin != 0 {
		return page{}, fmt.Errorf("%s:%d: this block has no end", file, begin)
	}
	if len(p.steps) == 0 {
		return page{}, fmt.Errorf("%s: shows no command in a ```console block", file)
	}
	return p, nil
}

func (p *page) add(language, name string, line int, block []string) {
	switch {
	case language == "console":
		p.console(line, name == "daemon", block)
	case name != "":
		p.steps = append(p.steps, step{line: line, file: name, text: strings.Join(block, "\n") + "\n"})
	}
}

// console splits a block at its prompts: "$ " is anybody's, "# " is root's. A
// command goes on after a line that ends in a backslash.
func (p *page) console(line int, daemon bool, block []string) {
	goesOn := false
	for i, text := range block {
		last := len(p.steps) - 1
		switch {
		case goesOn:
			p.steps[last].command += "\n" + text
		case strings.HasPrefix(text, "$ "), strings.HasPrefix(text, "# "):
			p.root = p.root || text[0] == '#'
			p.steps = append(p.steps, step{line: line + 1 + i, command: text[2:], daemon: daemon})
		case i > 0 && strings.TrimSpace(text) != "":
			p.steps[last].want = append(p.steps[last].want, text)
		}
		goesOn = strings.HasSuffix(text, "\\") && (goesOn || strings.HasPrefix(text, "$ ") || strings.HasPrefix(text, "# "))
	}
}

// pattern makes a regular expression of a shown line: "..." is anything, and
// so is the width of blanks.
func pattern(line string) *regexp.Regexp {
	parts := strings.Split(strings.TrimSpace(line), "...")
	for i, part := range parts {
		fields := strings.Fields(part)
		for j, f := range fields {
			fields[j] = regexp.QuoteMeta(f)
		}
		parts[i] = strings.Join(fields, `\s+`)
	}
	return regexp.MustCompile(`^\s*` + strings.Join(parts, `.*`) + `\s*$`)
}

// missing returns the first line of want that out does not have in this order.
func missing(out string, want []string) string {
	lines := strings.Split(out, "\n")
	for _, w := range want {
		p, found := pattern(w), false
		for !found && len(lines) > 0 {
			found = p.MatchString(lines[0])
			lines = lines[1:]
		}
		if !found && strings.Trim(w, " .") != "" {
			return w
		}
	}
	return ""
}
