package spec

import (
	"fmt"
	"strings"
)

// Problem is one thing that is wrong with a Wish, whatever it was made from.
type Problem struct {
	Path    string `json:"path"` // such as jail/web/service/http/port
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// Problems is the error that Validate returns: all that is wrong at once, so
// that a user mends it in one go. At most maxProblems are listed.
type Problems []Problem

const maxProblems = 100

// Error lists the problems, one per line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Message
		if p.Hint != "" {
			lines[i] += " (" + p.Hint + ")"
		}
	}
	return strings.Join(lines, "\n")
}

// Validate checks everything that can be known from the Wish alone, and
// trusts nothing in it: the daemon calls it on a Wish that came as JSON.
// The error is of type Problems.
//
// Images, networks and published services that the Wish does not declare
// itself may exist in the cluster: fsm looks for them (see Unresolved), and
// checks subnets across wishes (see Overlaps). A Wish that was not made by
// Parse wants Normalize first, which fills in the defaults.
//
// These rules are policy and grow stricter with time. A replica that replays
// an old log must not apply today's rules to it: validate before a Wish is
// proposed.
func (w *Wish) Validate() error {
	c := &checker{w: w}
	c.check()
	if len(c.problems) == 0 {
		return nil
	}
	return Problems(c.problems)
}

// checker collects what is wrong with one Wish.
type checker struct {
	w        *Wish
	networks map[string]*Network
	images   map[string]*Image
	groups   map[string]*Jail // first replica of each
	problems []Problem
}

// bad notes a problem. path says where, without replica numbers.
func (c *checker) bad(path, hint, format string, args ...any) {
	if len(c.problems) < maxProblems {
		c.problems = append(c.problems, Problem{Path: path, Message: fmt.Sprintf(format, args...), Hint: hint})
	}
}

// err notes err, if it is one, as a problem of what.
func (c *checker) err(path, what string, err error) {
	if err != nil {
		c.bad(path, "", "%s: %v", what, err)
	}
}

func (c *checker) full() bool { return len(c.problems) >= maxProblems }

func (c *checker) check() {
	w := c.w
	if !c.sizes() {
		return
	}
	c.err("cluster", "the wish", ValidName(w.Name))
	if w.Domain != "" {
		c.err("cluster/domain", "cluster "+clip(w.Name), ValidDomain(w.Domain))
	}
	if !cleanText(w.Source) {
		c.bad("cluster", "", "the source file's name %q has control characters in it", clip(w.Source))
	}
	c.checkSSHKeys()
	c.index()
	c.checkNetworks()
	c.checkImages()
	c.checkJails()
	if len(c.problems) > 0 { // what follows wants sound parts
		return
	}
	c.checkNames()
	c.checkAddresses()
	c.checkPublish()
	c.checkDepends()
}

// sizes bounds the work of everything that follows.
func (c *checker) sizes() bool {
	for _, s := range []struct {
		what      string
		got, most int
	}{
		{"jails", len(c.w.Jails), MaxJails}, {"networks", len(c.w.Networks), MaxNetworks}, {"images", len(c.w.Images), MaxImages},
	} {
		if s.got > s.most {
			c.bad("cluster", "split it into several files", "the wish has %d %s, %d are the most", s.got, s.what, s.most)
		}
	}
	return len(c.problems) == 0
}

// index fills the maps by name and refuses duplicates.
func (c *checker) index() {
	c.networks = make(map[string]*Network, len(c.w.Networks))
	c.images = make(map[string]*Image, len(c.w.Images))
	c.groups = make(map[string]*Jail)
	for i := range c.w.Networks {
		n := &c.w.Networks[i]
		if c.networks[n.Name] != nil {
			c.bad("network/"+n.Name, "", "network %q is declared twice", clip(n.Name))
			continue
		}
		c.networks[n.Name] = n
	}
	for i := range c.w.Images {
		m := &c.w.Images[i]
		if c.images[m.Name] != nil {
			c.bad("image/"+m.Name, "", "image %q is declared twice", clip(m.Name))
			continue
		}
		c.images[m.Name] = m
	}
	for i := range c.w.Jails {
		if j := &c.w.Jails[i]; c.groups[j.Group] == nil {
			c.groups[j.Group] = j
		}
	}
}

// Unresolved lists the images and networks that jails of w use and w does
// not declare: they must exist in the cluster. Sorted, each once.
func (w *Wish) Unresolved() (images, networks []string) {
	known := make(map[string]bool)
	for _, m := range w.Images {
		known["i"+m.Name] = true
	}
	for _, n := range w.Networks {
		known["n"+n.Name] = true
	}
	for i := range w.Jails {
		j := &w.Jails[i]
		if !known["i"+j.Image] {
			known["i"+j.Image] = true
			images = append(images, j.Image)
		}
		for _, nic := range j.NICs {
			if !known["n"+nic.Network] {
				known["n"+nic.Network] = true
				networks = append(networks, nic.Network)
			}
		}
	}
	return sortedCopy(images), sortedCopy(networks)
}
