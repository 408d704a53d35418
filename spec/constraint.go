package spec

import (
	"fmt"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// Constraint is a parsed expression about a host, such as
//
//	os == freebsd && label.rack != r1
//	arch in [amd64, arm64] and cpu >= 4
//	ssd
//	host =~ "^db-"
//
// Names are os, arch, host, runtime, cpu (cores), memory (bytes) and
// label.KEY; any other bare name is the label of that name. A bare name holds
// if the host has it with a value other than "", "0", "false" and "no".
// == != < <= > >= compare as numbers when both sides are numbers (with K, M,
// G, T, P), else as text; =~ and !~ match an RE2 expression anywhere; in and
// not in look in a list. What the host does not have equals nothing, is in no
// list and is not less or greater: != and not in and !~ hold for it.
// and or not, && || ! and parentheses combine.
//
// The zero Constraint holds everywhere.
type Constraint struct {
	root *node
	text string
}

// Eval says whether c holds for a host, given its attributes by full name
// (label.rack). It takes no lock and allocates nothing.
func (c Constraint) Eval(lookup func(name string) (string, bool)) bool {
	return c.root == nil || c.root.eval(lookup)
}

// String is the expression as it was written.
func (c Constraint) String() string { return c.text }

// Keys lists the full names that c asks for, sorted, each once: hosts that
// agree on these agree on c.
func (c Constraint) Keys() []string {
	seen := make(map[string]bool)
	c.root.keys(seen)
	out := make([]string, 0, len(seen))
	for k := range seen {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}

// Affinity is a Constraint that raises (or, if Weight is negative, lowers)
// the score of the hosts for which it holds.
type Affinity struct {
	Constraint

	Weight int // -100..100, never 0; 1 if none is written
}

// ParseAffinity reads an affinity: an expression as for ParseConstraint, and
// optionally "* WEIGHT" after it: "ssd * 5", "label.rack == r1 * -2". The
// weight is for the whole expression.
func ParseAffinity(s string) (Affinity, error) {
	a := Affinity{Weight: 1}
	if i := strings.LastIndexByte(s, '*'); i >= 0 && isWeight(s[i+1:]) {
		w, err := strconv.Atoi(strings.TrimSpace(s[i+1:]))
		if err != nil || w == 0 || w < -100 || w > 100 {
			return Affinity{}, &ConstraintError{Text: s, Column: i + 2, Message: "the weight is not between -100 and 100, or is 0"}
		}
		a.Weight = w
		s = s[:i]
	}
	c, err := ParseConstraint(s)
	a.Constraint = c
	return a, err
}

func isWeight(s string) bool {
	s = strings.TrimSpace(s)
	return s != "" && strings.Trim(s, "-+0123456789") == ""
}

// ConstraintError says what is wrong with an expression, and where.
type ConstraintError struct {
	Text    string // the expression
	Column  int    // from 1, in bytes
	Message string
}

// Error names the expression and the column.
func (e *ConstraintError) Error() string {
	return fmt.Sprintf("%q, column %d: %s", clip(e.Text), e.Column, e.Message)
}

type op uint8

const (
	opTrue op = iota // bare name
	opEq
	opNe
	opLt
	opLe
	opGt
	opGe
	opIn
	opNotIn
	opMatch
	opNotMatch
	opNot // left
	opAnd // left, right
	opOr  // left, right
)

// node is one operation; immutable after parsing.
type node struct {
	op          op
	key         string
	value       string
	number      float64 // of value
	isNumber    bool
	list        []string
	re          *regexp.Regexp
	left, right *node
}

func (n *node) keys(seen map[string]bool) {
	if n == nil {
		return
	}
	if n.key != "" {
		seen[n.key] = true
	}
	n.left.keys(seen)
	n.right.keys(seen)
}

func (n *node) eval(lookup func(string) (string, bool)) bool {
	switch n.op {
	case opNot:
		return !n.left.eval(lookup)
	case opAnd:
		return n.left.eval(lookup) && n.right.eval(lookup)
	case opOr:
		return n.left.eval(lookup) || n.right.eval(lookup)
	}
	got, ok := lookup(n.key)
	if !ok {
		return n.op == opNe || n.op == opNotIn || n.op == opNotMatch
	}
	switch n.op {
	case opTrue:
		return got != "" && got != "0" && got != "false" && got != "no"
	case opEq:
		return n.equal(got)
	case opNe:
		return !n.equal(got)
	case opIn, opNotIn:
		for _, v := range n.list {
			if v == got {
				return n.op == opIn
			}
		}
		return n.op == opNotIn
	case opMatch:
		return n.re.MatchString(got)
	case opNotMatch:
		return !n.re.MatchString(got)
	}
	return n.ordered(got)
}

func (n *node) equal(got string) bool {
	if got == n.value {
		return true
	}
	if !n.isNumber {
		return false
	}
	x, ok := constraintNumber(got)
	return ok && x == n.number
}

func (n *node) ordered(got string) bool {
	d := strings.Compare(got, n.value)
	if n.isNumber {
		if x, ok := constraintNumber(got); ok {
			d = 0
			if x < n.number {
				d = -1
			} else if x > n.number {
				d = 1
			}
		}
	}
	switch n.op {
	case opLt:
		return d < 0
	case opLe:
		return d <= 0
	case opGt:
		return d > 0
	}
	return d >= 0
}

// constraintNumber reads 4, 0.5, -1 and 16G.
func constraintNumber(s string) (float64, bool) {
	if s == "" || s[0] != '-' && s[0] != '.' && (s[0] < '0' || s[0] > '9') {
		return 0, false
	}
	unit := 1.0
	switch s[len(s)-1] {
	case 'K':
		unit = 1 << 10
	case 'M':
		unit = 1 << 20
	case 'G':
		unit = 1 << 30
	case 'T':
		unit = 1 << 40
	case 'P':
		unit = 1 << 50
	}
	if unit > 1 {
		s = s[:len(s)-1]
	}
	x, err := strconv.ParseFloat(s, 64)
	return x * unit, err == nil
}
