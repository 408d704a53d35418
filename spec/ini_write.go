package spec

import (
	"fmt"
	"strconv"
	"strings"
)

// rctlLimits are the rules that both systems know: rctl(8), cgroups(7).
var rctlLimits = map[string]string{"memoryuse": "memory", "vmemoryuse": "memory", "maxproc": "processes", "openfiles": "open_files", "pcpu": "cpu"}

// resource reads one rule of rctl(8) without its subject: RESOURCE:ACTION=AMOUNT.
func (c *iniConverter) resource(s *iniSection) {
	if v, ok := s.get("devctl-action"); ok {
		c.warn(v.sp, "", "devctl-action is not used: a rule that is broken is refused by the kernel and counted in the metrics")
	}
	v := c.need(s, "rctl")
	if v.text == "" {
		return
	}
	name, rest, ok := strings.Cut(v.text, ":")
	action, amount, ok2 := strings.Cut(rest, "=")
	if !ok || !ok2 || amount == "" {
		c.fail(v.sp, "as in maxproc:deny=200", "%q is no rule RESOURCE:ACTION=AMOUNT", clip(v.text))
		return
	}
	limit, known := rctlLimits[name]
	switch {
	case !known:
		c.warn(v.sp, "", "%s is not limited: memoryuse, vmemoryuse, maxproc, openfiles and pcpu are", clip(name))
		return
	case action != "deny" && action != "sigkill" && action != "sigterm":
		c.warn(v.sp, "write "+name+":deny="+amount, "%s:%s is not used: limits deny", name, clip(action))
		return
	case name == "vmemoryuse":
		c.warn(v.sp, "write memoryuse", "vmemoryuse is kept as a limit of memory")
	}
	value := quoteHCL(amount)
	switch limit {
	case "cpu":
		percent, err := strconv.ParseFloat(amount, 64)
		if err != nil || percent <= 0 {
			c.fail(v.sp, "", "%q is no percentage of a CPU", clip(amount))
			return
		}
		value = strconv.FormatFloat(percent/100, 'f', -1, 64)
	case "processes", "open_files":
		if _, err := strconv.ParseUint(amount, 10, 32); err != nil {
			c.fail(v.sp, "", "%q is not a number", clip(amount))
			return
		}
		value = amount
	}
	for _, l := range c.limits {
		if l.name == limit {
			c.fail(v.sp, "keep one of them", "two rules limit %s", limit)
			return
		}
	}
	c.limits = append(c.limits, iniLimit{limit, value, v.sp})
}

func (c *iniConverter) writeNetwork(n iniNetwork) {
	if n.kind == "none" {
		return
	}
	c.at = n.at
	c.line("network %s {", quoteHCL(n.name))
	c.line("  subnet = %s", quoteHCL(n.subnet.String()))
	c.line("  nat    = %t", n.kind == "nat")
	for _, p := range n.publish {
		c.at = p.at
		c.line("  publish %s {", quoteHCL(fmt.Sprintf("port-%d", p.host)))
		c.line("    port    = %d", p.host)
		c.line("    service = %s", quoteHCL(c.service(p)))
		c.line("  }")
	}
	c.at = n.at
	c.line("}")
}

// service is the name of what stands behind a published port.
func (c *iniConverter) service(p iniPublish) string {
	return fmt.Sprintf("%s-%d", clipName(c.name), p.jail)
}

// clipName leaves room for a port behind a name of 63 characters.
func clipName(s string) string { return strings.TrimRight(s[:min(len(s), 56)], "-") }

func (c *iniConverter) writeJail(sup *iniSection) {
	image := c.writeImage(sup)
	c.at = sup.head
	c.line("jail %s {", quoteHCL(c.name))
	v, _ := sup.get("image")
	c.at = v.sp
	c.line("  image = %s", quoteHCL(image))
	c.writeNICs()
	if c.hostname.text != "" {
		c.at = c.hostname.sp
		c.line("  hostname = %s", quoteHCL(c.hostname.text))
	}
	if v, ok := sup.get("command"); ok && v.text != "" {
		words, err := shellWords(v.text)
		if err != nil {
			c.fail(v.sp, "", "command: %v", err)
		}
		c.at = v.sp
		c.line("  command = %s", quoteList(words))
	}
	c.writeRestart(sup)
	for _, vol := range c.volumes {
		c.at = vol.at
		c.line("  volume %s {", quoteHCL(vol.name))
		c.line("    path = %s", quoteHCL(vol.path))
		if vol.source != "" {
			c.line("    source    = %s", quoteHCL(vol.source))
			c.line("    read_only = %t", !vol.writable)
		}
		c.line("  }")
	}
	if len(c.limits) > 0 {
		c.line("  limits {")
		for _, l := range c.limits {
			c.at = l.at
			c.line("    %s = %s", l.name, l.value)
		}
		c.line("  }")
	}
	c.writeServices()
	c.at = sup.head
	c.line("}")
}

// writeImage declares the image where a repository is named, and returns its name.
func (c *iniConverter) writeImage(sup *iniSection) string {
	v, _ := sup.get("image")
	name := v.text
	tag, tagged := sup.get("tag")
	if tagged && tag.text != "" {
		name += ":" + tag.text
	}
	repo, ok := sup.get("repository")
	if !ok || repo.text == "" {
		return name
	}
	base := strings.TrimRight(repo.text, "/")
	switch scheme, _, isURL := strings.Cut(base, "://"); {
	case isURL && scheme == "s3":
		c.fail(repo.sp, "publish the image by http, or as an OCI image", "repository=%q: s3 is not supported", clip(repo.text))
	case isURL && (scheme == "http" || scheme == "https"):
		base += "/" + strings.ReplaceAll(name, ":", "-") // names of bundles have no colon
	case isURL && scheme != "oci":
		c.fail(repo.sp, "a folder, http(s)://... or oci://...", "repository=%q: unknown kind %q", clip(repo.text), clip(scheme))
	case isURL || strings.HasPrefix(base, "oci:"):
		base = "oci:" + strings.TrimPrefix(strings.TrimPrefix(base, "oci:"), "//") + "/" + name
	default:
		base += "/" + strings.ReplaceAll(name, ":", "-")
	}
	c.at = repo.sp
	c.line("image %s {", quoteHCL(c.name))
	c.line("  base = %s", quoteHCL(base))
	c.line("}")
	return c.name
}

func (c *iniConverter) writeNICs() {
	switch {
	case len(c.nets) == 0 || c.nets[0].kind == "none":
		c.line("  network = %s", quoteHCL("none"))
		return
	case len(c.nets) == 1:
		n := c.nets[0]
		c.at = n.at
		c.line("  network = %s", quoteHCL(n.name))
		if n.addr.IsValid() {
			c.line("  address = %s", quoteHCL(n.addr.String()))
		}
		return
	}
	for _, n := range c.nets {
		c.at = n.at
		c.line("  nic {")
		c.line("    network = %s", quoteHCL(n.name))
		if n.addr.IsValid() {
			c.line("    address = %s", quoteHCL(n.addr.String()))
		}
		c.line("  }")
	}
}

func (c *iniConverter) writeRestart(sup *iniSection) {
	policy, delay := "never", c.whole(sup, "restart-delay")
	if c.yesNo(sup, "restart", false) {
		policy = "always"
	}
	if c.whole(sup, "start-delay-ms") > 0 {
		v, _ := sup.get("start-delay-ms")
		c.warn(v.sp, "depends_on in a cluster file waits for what is healthy", "start-delay-ms is not used")
	}
	c.at = sup.head
	c.line("  restart {")
	c.line("    policy = %s", quoteHCL(policy))
	if delay > 0 {
		v, _ := sup.get("restart-delay")
		c.at = v.sp
		c.line("    backoff = %s", quoteHCL(fmt.Sprintf("%ds", delay)))
	}
	c.line("  }")
}

// writeServices declares what the published ports lead to.
func (c *iniConverter) writeServices() {
	done := map[uint16]bool{}
	for _, n := range c.nets {
		for _, p := range n.publish {
			if done[p.jail] {
				continue
			}
			done[p.jail] = true
			c.at = p.at
			c.line("  service %s {", quoteHCL(c.service(p)))
			c.line("    port = %d", p.jail)
			c.line("  }")
		}
	}
}

// shellWords cuts a command line into words as sh(1) does: blanks, quotes,
// backslashes. Nothing is replaced: who wants that writes sh -c '...'.
func shellWords(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	open, begun := byte(0), false
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case open != 0 && c == open:
			open = 0
		case open == '\'':
			word.WriteByte(c)
		case c == '\\' && i+1 < len(line):
			i++
			if open == '"' && line[i] != '"' && line[i] != '\\' && line[i] != '$' && line[i] != '`' {
				word.WriteByte('\\')
			}
			word.WriteByte(line[i])
			begun = true
		case open == 0 && (c == '\'' || c == '"'):
			open, begun = c, true
		case open == 0 && (c == ' ' || c == '\t'):
			if begun {
				words = append(words, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteByte(c)
			begun = true
		}
	}
	if open != 0 {
		return nil, fmt.Errorf("the quote %c is not closed", open)
	}
	if begun {
		words = append(words, word.String())
	}
	return words, nil
}
