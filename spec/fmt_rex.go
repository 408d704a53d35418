package spec

import (
	"bytes"
	"strings"
)

// formatRex writes verbs in upper case, one blank between verb and rest,
// continuation lines beneath the first argument, no blanks at line ends, and
// at most one empty line. The vocabulary (FROM or BASE) stays the user's.
func formatRex(name string, src []byte) ([]byte, error) {
	if p := parseRex(name, src); p.diags.HasErrors() {
		return nil, p.diags.sorted()
	}
	var out bytes.Buffer
	indent := -1 // of continuation lines; -1 between instructions
	empty := false
	for line := range strings.SplitSeq(strings.TrimRight(string(src), "\n"), "\n") {
		line = strings.Trim(line, " \t\r")
		if line == "" {
			empty = out.Len() > 0
			indent = -1
			continue
		}
		text, more := strings.CutSuffix(line, `\`)
		text = strings.Trim(text, " \t\r")
		if text == "" { // a line of \ alone says nothing
			continue
		}
		if empty {
			out.WriteByte('\n')
			empty = false
		}
		if line[0] == '#' {
			if indent > 0 {
				out.WriteString(strings.Repeat(" ", indent))
			}
			out.WriteString(line + "\n")
			continue
		}
		if indent < 0 {
			text, indent = canonicalVerb(text)
		} else {
			out.WriteString(strings.Repeat(" ", indent))
		}
		out.WriteString(text)
		if more {
			out.WriteString(" \\")
		} else {
			indent = -1
		}
		out.WriteByte('\n')
	}
	return out.Bytes(), nil
}

// canonicalVerb returns the line with its verb in upper case, and the column
// of the first argument.
func canonicalVerb(line string) (text string, column int) {
	var verbs []string
	rest := line
	for {
		verb := rest
		if i := strings.IndexAny(rest, " \t"); i >= 0 {
			verb = rest[:i]
		}
		rest = strings.TrimLeft(rest[len(verb):], " \t")
		verbs = append(verbs, strings.ToUpper(verb))
		if len(verbs) == 2 || verbs[0] != "PROVISION" || rest == "" {
			break
		}
	}
	head := strings.Join(verbs, " ")
	if rest == "" {
		return head, len(head) + 1
	}
	return head + " " + rest, len(head) + 1
}
