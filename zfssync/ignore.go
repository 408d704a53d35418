package zfssync

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
)

// ignoreFile lists what never enters a build context: one pattern a line, relative to the context, '#' comments, '!'
// takes a path in again, "**" stands for any number of directories. The last line that fits decides.
const ignoreFile = ".rexignore"

type ignoreRule struct {
	parts []string
	keep  bool
}

func readIgnore(root *os.Root) ([]ignoreRule, error) {
	b, err := root.ReadFile(ignoreFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", ignoreFile, err)
	}
	return parseIgnore(string(b))
}

func parseIgnore(text string) ([]ignoreRule, error) {
	var rules []ignoreRule
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		pattern, keep := strings.CutPrefix(line, "!")
		pattern = strings.Trim(path.Clean(strings.TrimSpace(pattern)), "/")
		if pattern == "" || pattern == "." {
			continue
		}
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, fmt.Errorf("%s:%d: pattern %q: %w", ignoreFile, i+1, line, err)
		}
		rules = append(rules, ignoreRule{strings.Split(pattern, "/"), keep})
	}
	return rules, nil
}

// ignored reports whether the rules leave name, or a directory above it, out.
func ignored(rules []ignoreRule, name string) bool {
	parts := strings.Split(name, "/")
	out := false
	for _, r := range rules {
		for n := 1; n <= len(parts); n++ {
			if matchParts(r.parts, parts[:n]) {
				out = !r.keep
				break
			}
		}
	}
	return out
}

// matchParts matches a whole path; "**" takes any number of parts, also none.
func matchParts(pattern, parts []string) bool {
	for len(pattern) > 0 {
		if pattern[0] == "**" {
			for n := 0; n <= len(parts); n++ {
				if matchParts(pattern[1:], parts[n:]) {
					return true
				}
			}
			return false
		}
		if len(parts) == 0 {
			return false
		}
		if ok, err := path.Match(pattern[0], parts[0]); err != nil || !ok {
			return false
		}
		pattern, parts = pattern[1:], parts[1:]
	}
	return len(parts) == 0
}
