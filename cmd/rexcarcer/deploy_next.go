package main

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// What is to do about a deployment directory, as a function of what is there
// and what was done: nothing here touches a file.

// deployed is what this host remembers of one file of its directory.
type deployed struct {
	Wish  string    `json:"wish,omitempty"`  // that it became; ours from then on
	Sum   string    `json:"sum,omitempty"`   // of the text that was applied, or is wrong
	Error string    `json:"error,omitempty"` // why it could not be; for alarms
	Tries int       `json:"tries,omitempty"` // in vain, since the text changed
	Next  time.Time `json:"next,omitzero"`   // when it is tried again
	Gone  bool      `json:"gone,omitempty"`  // the file is gone, and its wish could not go
}

// found is one file of the directory.
type found struct {
	sum   string
	jails bool // it has a jail: networks alone come before
}

// deployStep is one thing to do.
type deployStep struct {
	file   string
	remove bool // the file is gone: so goes its wish, and never a volume
}

// Times of a file that cannot be applied, for what is missing may come.
const (
	deployFirst = 2 * time.Second
	deployMax   = 2 * time.Minute
)

// nextDeploys lists what is to do now, in order: what is gone goes first, jails
// before networks; then networks come before jails.
func nextDeploys(files map[string]found, done map[string]deployed, wished func(string) bool, now time.Time) []deployStep {
	var steps []deployStep
	for _, name := range slices.Sorted(maps.Keys(done)) {
		if _, there := files[name]; !there && (!done[name].Gone || !done[name].Next.After(now)) {
			steps = append(steps, deployStep{name, true})
		}
	}
	names := slices.SortedFunc(maps.Keys(files), func(a, b string) int {
		if files[a].jails != files[b].jails {
			if files[a].jails {
				return 1
			}
			return -1
		}
		return cmp.Compare(a, b)
	})
	for _, name := range names {
		d, known := done[name]
		switch {
		case !known, d.Sum != files[name].sum:
		case d.Error != "" && d.Next.After(now):
			continue
		case d.Error == "" && (d.Wish == "" || wished(d.Wish)):
			continue
		}
		steps = append(steps, deployStep{name, false})
	}
	return steps
}

// failed is d after one more try in vain.
func (d deployed) failed(why string, now time.Time) deployed {
	d.Error = why
	d.Next = now.Add(min(deployFirst<<min(d.Tries, 16), deployMax))
	d.Tries++
	return d
}

// isDeployable says whether a file of the directory is one of ours to read.
func isDeployable(name string) bool {
	if strings.HasPrefix(name, ".") {
		return false
	}
	return slices.ContainsFunc([]string{".ini", ".hcl", ".rex"}, func(end string) bool { return strings.HasSuffix(strings.ToLower(name), end) })
}

// hasJails says whether a file declares more than networks, as far as its order
// is concerned. Of cluster files nobody can say without reading all of them.
func hasJails(name string, text []byte) bool {
	switch lower := strings.ToLower(name); {
	case strings.HasSuffix(lower, ".rex"):
		return true
	case strings.HasSuffix(lower, ".ini"):
		return strings.Contains(string(text), "[vessel-supervisor]")
	}
	return false
}

// told is what rexctl said, for an alarm: the first error and its hint, in one
// line. Warnings and the text around the place are left out.
func told(stderr string) string {
	var lines []string
	for line := range strings.Lines(stderr) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.TrimSpace(line) == "" || strings.HasPrefix(line, "    "):
		case strings.HasPrefix(line, "  "):
			if len(lines) == 1 { // the hint
				lines = append(lines, strings.TrimSpace(line))
			}
		case len(lines) == 0 && !strings.Contains(line, ": warning: "):
			lines = append(lines, strings.TrimPrefix(line, "rexctl: "))
		}
	}
	return oneLine(strings.Join(lines, ": "))
}

// oneLine makes s fit for the log of the cluster.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	s = strings.Join(strings.Fields(s), " ")
	const most = 500
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return cmp.Or(s, "it cannot be applied")
}

// clipName keeps an alarm's name short.
func clipName(name string) string {
	const most = 100
	if len(name) > most {
		name = name[:most]
	}
	return oneLine(name)
}
