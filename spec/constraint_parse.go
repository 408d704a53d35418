package spec

import (
	"fmt"
	"regexp"
	"strings"
)

const (
	maxConstraintBytes = 4096
	maxConstraintDepth = 50
	maxConstraintTerms = 200
)

// ParseConstraint reads an expression; see Constraint for the language. The
// error is a *ConstraintError.
func ParseConstraint(s string) (Constraint, error) {
	p := &constraintParser{text: s}
	if len(s) > maxConstraintBytes {
		p.fail(0, "the expression is longer than %d bytes", maxConstraintBytes)
		return Constraint{}, p.err
	}
	p.next()
	root := p.or(0)
	if p.err == nil && p.kind != tokEnd {
		p.fail(p.start, "%q is not expected here: join expressions with && or ||", p.tok)
	}
	if p.err != nil {
		return Constraint{}, p.err
	}
	return Constraint{root: root, text: strings.TrimSpace(s)}, nil
}

type tokKind uint8

const (
	tokEnd tokKind = iota
	tokWord
	tokString // quoted
	tokSign
)

// constraintParser is a recursive-descent parser with one token of lookahead.
// After the first failure every token is tokEnd, so it ends soon.
type constraintParser struct {
	text  string
	pos   int
	start int // of tok
	kind  tokKind
	tok   string
	terms int
	err   error
}

func (p *constraintParser) fail(at int, format string, args ...any) {
	if p.err == nil {
		p.err = &ConstraintError{Text: p.text, Column: at + 1, Message: fmt.Sprintf(format, args...)}
	}
	p.kind, p.tok, p.pos = tokEnd, "", len(p.text)
}

func isWordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '.' || c == '-' || c == '/' || c == ':'
}

// signs, longer ones first.
var signs = []string{"==", "!=", "<=", ">=", "=~", "!~", "&&", "||", "<", ">", "!", "(", ")", "[", "]", ","}

func (p *constraintParser) next() {
	for p.pos < len(p.text) && (p.text[p.pos] == ' ' || p.text[p.pos] == '\t' || p.text[p.pos] == '\n') {
		p.pos++
	}
	p.start = p.pos
	if p.pos == len(p.text) {
		p.kind, p.tok = tokEnd, ""
		return
	}
	rest := p.text[p.pos:]
	if c := rest[0]; c == '"' || c == '\'' {
		end := strings.IndexByte(rest[1:], c)
		if end < 0 {
			p.fail(p.start, "the quote is not closed")
			return
		}
		p.kind, p.tok, p.pos = tokString, rest[1:1+end], p.pos+end+2
		return
	}
	n := 0
	for n < len(rest) && isWordByte(rest[n]) {
		n++
	}
	if n > 0 {
		p.kind, p.tok, p.pos = tokWord, rest[:n], p.pos+n
		return
	}
	for _, s := range signs {
		if strings.HasPrefix(rest, s) {
			p.kind, p.tok, p.pos = tokSign, s, p.pos+len(s)
			return
		}
	}
	if rest[0] == '=' {
		p.fail(p.start, "write == to compare")
		return
	}
	p.fail(p.start, "%q is not expected here", runeAt(p.text, p.start))
}

// take consumes the token if it is one of the given signs or words.
func (p *constraintParser) take(words ...string) bool {
	if p.kind == tokEnd || p.kind == tokString {
		return false
	}
	for _, w := range words {
		if p.tok == w {
			p.next()
			return true
		}
	}
	return false
}

func (p *constraintParser) or(depth int) *node {
	n := p.and(depth)
	for p.take("||", "or") {
		n = &node{op: opOr, left: n, right: p.and(depth)}
	}
	return n
}

func (p *constraintParser) and(depth int) *node {
	n := p.not(depth)
	for p.take("&&", "and") {
		n = &node{op: opAnd, left: n, right: p.not(depth)}
	}
	return n
}

func (p *constraintParser) not(depth int) *node {
	if p.terms++; depth > maxConstraintDepth || p.terms > maxConstraintTerms {
		p.fail(p.start, "the expression is too deep or too long")
		return nil
	}
	switch {
	case p.take("!", "not"):
		return &node{op: opNot, left: p.not(depth + 1)}
	case p.take("("):
		n := p.or(depth + 1)
		if !p.take(")") {
			p.fail(p.start, "a ) is missing")
		}
		return n
	}
	return p.comparison()
}

var comparisons = map[string]op{"==": opEq, "!=": opNe, "<": opLt, "<=": opLe, ">": opGt, ">=": opGe, "=~": opMatch, "!~": opNotMatch}

func (p *constraintParser) comparison() *node {
	if p.kind != tokWord {
		what := "the expression ends"
		if p.kind != tokEnd {
			what = fmt.Sprintf("there is %q", p.tok)
		}
		p.fail(p.start, "%s where a name was expected, such as os, cpu or label.rack", what)
		return nil
	}
	key, ok := fullName(p.tok)
	if !ok {
		p.fail(p.start, "%q is not the name of an attribute or label", clip(p.tok))
		return nil
	}
	n := &node{key: key}
	p.next()
	switch {
	case p.take("in"):
		n.op, n.list = opIn, p.list()
	case p.kind == tokWord && p.tok == "not":
		p.next()
		if !p.take("in") {
			p.fail(p.start, `"in" was expected after "not"`)
		}
		n.op, n.list = opNotIn, p.list()
	case p.kind == tokSign && comparisons[p.tok] != 0:
		n.op = comparisons[p.tok]
		p.next()
		p.operand(n)
	}
	return n
}

func (p *constraintParser) operand(n *node) {
	at := p.start
	n.value = p.value()
	if p.err != nil {
		return
	}
	if n.op == opMatch || n.op == opNotMatch {
		re, err := regexp.Compile(n.value)
		if err != nil {
			p.fail(at, "the regular expression is wrong: %v", err)
		}
		n.re = re
		return
	}
	n.number, n.isNumber = constraintNumber(n.value)
}

func (p *constraintParser) value() string {
	if p.kind != tokWord && p.kind != tokString {
		if p.kind == tokEnd {
			p.fail(p.start, "the expression ends where a value was expected")
		} else {
			p.fail(p.start, "there is %q where a value was expected", p.tok)
		}
		return ""
	}
	v := p.tok
	p.next()
	return v
}

func (p *constraintParser) list() []string {
	if !p.take("[") {
		p.fail(p.start, "a list was expected, such as [amd64, arm64]")
		return nil
	}
	var out []string
	for p.err == nil {
		out = append(out, p.value())
		if p.take("]") {
			break
		}
		if !p.take(",") {
			p.fail(p.start, "a , or ] is missing in the list")
		}
	}
	return out
}

// fullName resolves a bare name to a label.
func fullName(s string) (string, bool) {
	switch s {
	case "os", "arch", "host", "runtime", "cpu", "memory":
		return s, true
	case "in", "and", "or", "not":
		return "", false
	}
	s = strings.TrimPrefix(s, "label.")
	return "label." + s, validLabelKey(s) == nil
}
