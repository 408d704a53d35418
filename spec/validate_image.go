package spec

import (
	"fmt"
	"strings"
)

func (c *checker) checkImages() {
	for i := range c.w.Images {
		m := &c.w.Images[i]
		path, what := "image/"+m.Name, fmt.Sprintf("image %q", clip(m.Name))
		c.err(path, what, ValidImageName(m.Name))
		c.err(path+"/base", what, ValidBase(m.Base))
		if !digestKey.MatchString(m.Key) {
			c.bad(path, "", "%s: the key %q is not sha256: and 64 hex digits", what, clip(m.Key))
		}
		if m.Context != "" && !digestKey.MatchString(m.Context) {
			c.bad(path, "", "%s: the context %q is not sha256: and 64 hex digits", what, clip(m.Context))
		}
		if m.BaseDigest != "" && !digestKey.MatchString(m.BaseDigest) {
			c.bad(path, "", "%s: the digest %q of its base is not sha256: and 64 hex digits", what, clip(m.BaseDigest))
		}
		if !cleanText(m.Rexfile) || len(m.Rexfile) > MaxPathBytes {
			c.bad(path+"/rexfile", "", "%s: the file name %q has control characters in it or is too long", what, clip(m.Rexfile))
		}
		c.checkEnv(path+"/env", what, m.Env)
		c.checkArgv(path+"/command", what+": command", m.Command)
		c.checkServices(path, what, m.Service)
		for _, v := range m.Volumes {
			c.checkMountPoint(path+"/volume", what+": volume", v)
		}
		if m.Host != "" {
			c.err(path+"/hostname", what, ValidHostname(m.Host))
		}
		if m.Addr.IsValid() && !m.Addr.Addr().IsValid() {
			c.bad(path+"/ip", "", "%s: the address is not ADDRESS/LENGTH", what)
		}
		c.checkSteps(m, path, what)
	}
	c.checkImageCycle()
}

func (c *checker) checkSteps(m *Image, path, what string) {
	if len(m.Steps) > MaxSteps {
		c.bad(path, "", "%s: %d steps, %d are the most", what, len(m.Steps), MaxSteps)
		return
	}
	for i := range m.Steps {
		s := &m.Steps[i]
		path, what := fmt.Sprintf("%s/step/%d", path, i), fmt.Sprintf("%s: step %d", what, i+1)
		if !digestKey.MatchString(s.Key) {
			c.bad(path, "", "%s: the key %q is not sha256: and 64 hex digits", what, clip(s.Key))
		}
		if err := validValue(s.Text, MaxArgBytes); err != nil {
			c.bad(path, "", "%s: the text %v", what, err)
		}
		switch s.Kind {
		case StepRun:
			if err := validValue(s.Run, MaxArgBytes); err != nil {
				c.bad(path, "", "%s: the command %v", what, err)
			}
			if strings.TrimSpace(s.Run) == "" {
				c.bad(path, "", "%s: the command is empty", what)
			}
		case StepCopy:
			c.checkCopy(s, path, what)
		case StepEnv:
			c.checkEnv(path, what, s.Env)
		default:
			c.bad(path, "", "%s: the kind %q is not known", what, clip(string(s.Kind)))
		}
	}
}

func (c *checker) checkCopy(s *Step, path, what string) {
	if len(s.Src) == 0 || len(s.Src) > MaxArgs {
		c.bad(path, "", "%s: copies %d paths, 1 to %d are allowed", what, len(s.Src), MaxArgs)
	}
	for _, src := range s.Src {
		c.err(path, what, ValidContextPath(src))
	}
	if s.Owner != "" && !validOwner.MatchString(s.Owner) {
		c.bad(path, "", "%s: the owner %q is not USER or USER:GROUP", what, clip(s.Owner))
	}
	dst := s.Dst
	if len(dst) > 1 { // a trailing slash says: into this directory
		dst = strings.TrimSuffix(dst, "/")
	}
	c.err(path, what, ValidPath(dst))
	if len(s.Src) > 1 && !strings.HasSuffix(s.Dst, "/") {
		c.bad(path, "end the destination with /", "%s: several sources need a directory to go to", what)
	}
	if s.Digest != "" && !digestKey.MatchString(s.Digest) {
		c.bad(path, "", "%s: the digest %q is not sha256: and 64 hex digits", what, clip(s.Digest))
	}
}

// checkImageCycle refuses images that are based on each other in a circle.
func (c *checker) checkImageCycle() {
	next := func(name string) []string {
		if m := c.images[name]; m != nil && c.images[m.Base] != nil {
			return []string{m.Base}
		}
		return nil
	}
	names := make([]string, 0, len(c.w.Images))
	for _, m := range c.w.Images {
		names = append(names, m.Name)
	}
	if cycle := findCycle(names, next); cycle != nil {
		c.bad("image/"+cycle[0]+"/base", "one of them needs another base",
			"the images are based on each other in a circle: %s", joinArrows(cycle))
	}
}
