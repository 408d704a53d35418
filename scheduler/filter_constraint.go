package scheduler

import (
	"strconv"
	"strings"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

// condition is one parsed constraint or affinity. An expression that does not
// parse never holds; spec refuses it at the door, but a log may be older than
// the parser.
type condition struct {
	text   string
	weight int64
	c      spec.Constraint
	bad    error
}

// conditions parses the expressions of a constraint.
func conditions(texts []string) []condition {
	cs := make([]condition, 0, len(texts))
	for _, t := range texts {
		c, err := spec.ParseConstraint(t)
		cs = append(cs, condition{text: t, c: c, bad: err})
	}
	return cs
}

// likings parses the expressions of an affinity.
func likings(texts []string) []condition {
	cs := make([]condition, 0, len(texts))
	for _, t := range texts {
		a, err := spec.ParseAffinity(t)
		cs = append(cs, condition{text: t, weight: int64(a.Weight), c: a.Constraint, bad: err})
	}
	return cs
}

func (c *condition) holds(h *fsm.Host) bool {
	return c.bad == nil && c.c.Eval(func(name string) (string, bool) { return attribute(h, name) })
}

// attribute is what expressions see of a host. A label without a value counts
// as true.
func attribute(h *fsm.Host, name string) (string, bool) {
	switch name {
	case "os":
		return h.OS, true
	case "arch":
		return h.Arch, true
	case "host":
		return h.Name, true
	case "runtime":
		return h.Runtime, true
	case "cpu":
		return strconv.FormatFloat(float64(h.Capacity.MilliCPU)/1000, 'g', -1, 64), h.Capacity.MilliCPU > 0
	case "memory":
		return strconv.FormatInt(h.Capacity.MemoryBytes, 10), h.Capacity.MemoryBytes > 0
	}
	key, ok := strings.CutPrefix(name, "label.")
	if !ok {
		return "", false
	}
	v, ok := h.Labels[key]
	if ok && v == "" {
		v = "true"
	}
	return v, ok
}

func constraintOK(_ *fleet, n *need, h *fsm.Host) bool {
	for i := range n.terms {
		if !n.terms[i].holds(h) {
			return false
		}
	}
	return true
}

func constraintWhy(_ *fleet, n *need, h *fsm.Host) string {
	for i := range n.terms {
		switch c := &n.terms[i]; {
		case c.bad != nil:
			return "cannot read the constraint: " + c.bad.Error()
		case !c.holds(h):
			return "does not satisfy " + c.text
		}
	}
	return ""
}
