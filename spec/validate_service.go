package spec

import (
	"fmt"
	"strings"
	"time"
)

func (c *checker) checkServices(path, what string, services []Service) {
	if len(services) > MaxServices {
		c.bad(path, "", "%s: %d services, %d are the most", what, len(services), MaxServices)
		return
	}
	seen := make(map[string]bool, len(services))
	for _, s := range services {
		path, what := path+"/service/"+s.Name, fmt.Sprintf("%s: service %q", what, clip(s.Name))
		c.err(path, what, ValidName(s.Name))
		if len(s.Name) > 62 { // _NAME is a DNS label in SRV records
			c.bad(path, "", "%s: the name of a service has 62 characters at most", what)
		}
		if seen[s.Name] {
			c.bad(path, "", "%s is there twice", what)
		}
		seen[s.Name] = true
		if s.Port == 0 {
			c.bad(path+"/port", "", "%s: the port must be 1 to 65535", what)
		}
		c.checkProto(path, what, s.Proto)
		if s.Check != nil {
			c.checkCheck(s.Check, path+"/check", what+": check")
			if s.Proto == "udp" && s.Check.Type != "exec" {
				c.bad(path+"/check/type", `use type = "exec"`, "%s: a %s check cannot see a udp service", what, clip(s.Check.Type))
			}
		}
	}
}

func (c *checker) checkCheck(k *Check, path, what string) {
	c.oneOf(path+"/type", what+": type", k.Type, "tcp", "http", "exec")
	switch {
	case k.Type == "http" && (!strings.HasPrefix(k.Path, "/") || len(k.Path) > MaxPathBytes || !cleanText(k.Path) || strings.Contains(k.Path, " ")):
		c.bad(path+"/path", `path = "/"`, "%s: the path %q of an http check does not begin with / or has blanks in it", what, clip(k.Path))
	case k.Type != "http" && k.Path != "":
		c.bad(path+"/path", "", "%s: only an http check has a path", what)
	case k.Type == "exec" && len(k.Command) == 0:
		c.bad(path+"/command", "", "%s: an exec check needs a command", what)
	case k.Type != "exec" && len(k.Command) > 0:
		c.bad(path+"/command", "", "%s: only an exec check has a command", what)
	}
	c.checkArgv(path+"/command", what+": command", k.Command)
	c.duration(path+"/interval", what+": interval", k.Interval, 100*time.Millisecond, time.Hour)
	c.duration(path+"/timeout", what+": timeout", k.Timeout, 10*time.Millisecond, time.Hour)
	c.duration(path+"/grace", what+": grace", k.Grace, 0, 24*time.Hour)
	c.number(path+"/failures", what+": failures", int64(k.Failures), 1, 1000)
}

func (c *checker) checkVolumes(j *Jail, path, what string) {
	if len(j.Volumes) > MaxVolumes {
		c.bad(path, "", "%s: %d volumes, %d are the most", what, len(j.Volumes), MaxVolumes)
		return
	}
	names, paths := make(map[string]bool), make(map[string]bool)
	for _, v := range j.Volumes {
		path, what := path+"/volume/"+v.Name, fmt.Sprintf("%s: volume %q", what, clip(v.Name))
		c.err(path, what, ValidName(v.Name))
		c.checkMountPoint(path+"/path", what, v.Path)
		if names[v.Name] {
			c.bad(path, "", "%s is there twice", what)
		}
		if paths[v.Path] {
			c.bad(path+"/path", "", "%s: another volume is mounted at %s too", what, clip(v.Path))
		}
		names[v.Name], paths[v.Path] = true, true
		if v.QuotaBytes != 0 && (v.QuotaBytes < 1<<20 || v.QuotaBytes > MaxBytes) {
			c.bad(path+"/quota", "", "%s: quota %s is not between 1M and %s", what, FormatSize(v.QuotaBytes), FormatSize(MaxBytes))
		}
		if v.Source != "" {
			c.err(path+"/source", what+": source", ValidPath(v.Source))
			if v.Snapshot {
				c.bad(path+"/snapshot_before_change", "leave source out", "%s: a directory of the host has no snapshots", what)
			}
			if v.QuotaBytes != 0 {
				c.bad(path+"/quota", "leave out quota or source", "%s: a host's directory has no quota", what)
			}
		}
	}
}

// systemPaths are mounted or written by the host in every jail.
var systemPaths = []string{"/proc", "/sys", "/dev", "/etc/ssl/rc"}

// checkMountPoint refuses to hide what the host itself mounts or writes.
func (c *checker) checkMountPoint(path, what, p string) {
	if err := ValidPath(p); err != nil {
		c.bad(path, "", "%s: %v", what, err)
		return
	}
	if p == "/" || p == "/etc" {
		c.bad(path, "", "%s: nothing can be mounted over %s of a jail", what, p)
	}
	for _, s := range systemPaths {
		if p == s || strings.HasPrefix(p, s+"/") {
			c.bad(path, "", "%s: %s belongs to the system in every jail", what, s)
		}
	}
}
