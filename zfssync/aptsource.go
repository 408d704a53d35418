package zfssync

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// aptSource is one (URI, suite) of the host's apt configuration; see sources.list(5).
type aptSource struct {
	URI, Suite string
	Components []string
	Keyring    string // file named by Signed-By, "" for apt's own
}

// line is the source as one line of a sources.list.
func (s aptSource) line() string {
	return strings.Join(append([]string{"deb", s.URI, s.Suite}, s.Components...), " ")
}

// readAptSources returns the binary package sources below dir (/etc/apt). Files that cannot be read are passed over:
// the caller has a mirror to fall back on.
func readAptSources(dir string) []aptSource {
	var out []aptSource
	lists, _ := filepath.Glob(filepath.Join(dir, "sources.list.d", "*"))
	for _, p := range append([]string{filepath.Join(dir, "sources.list")}, lists...) {
		b, err := os.ReadFile(p)
		if err != nil {
			continue
		}
		switch filepath.Ext(p) {
		case ".list":
			out = append(out, parseSourcesList(string(b))...)
		case ".sources":
			out = append(out, parseDeb822(string(b))...)
		}
	}
	return out
}

// parseSourcesList reads one-line style: deb [ option=value ... ] uri suite component...
func parseSourcesList(text string) []aptSource {
	var out []aptSource
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "deb")
		if !ok || rest == "" || rest[0] != ' ' && rest[0] != '\t' && rest[0] != '[' {
			continue
		}
		rest = strings.TrimSpace(rest)
		var s aptSource
		if opts, after, ok := strings.Cut(rest, "]"); ok && strings.HasPrefix(rest, "[") {
			for _, o := range strings.Fields(opts[1:]) {
				if k, v, _ := strings.Cut(o, "="); strings.EqualFold(k, "signed-by") && strings.HasPrefix(v, "/") {
					s.Keyring = v
				}
			}
			rest = after
		}
		if f := strings.Fields(rest); len(f) >= 2 {
			s.URI, s.Suite, s.Components = f[0], f[1], f[2:]
			out = append(out, s)
		}
	}
	return out
}

// parseDeb822 reads stanzas of "Field: value" with continuation lines.
func parseDeb822(text string) []aptSource {
	var out []aptSource
	for _, stanza := range stanzas(text) {
		if !slices.Contains(strings.Fields(stanza["types"]), "deb") || strings.EqualFold(strings.TrimSpace(stanza["enabled"]), "no") {
			continue
		}
		for _, uri := range strings.Fields(stanza["uris"]) {
			for _, suite := range strings.Fields(stanza["suites"]) {
				s := aptSource{URI: uri, Suite: suite, Components: strings.Fields(stanza["components"])}
				if k := strings.TrimSpace(stanza["signed-by"]); strings.HasPrefix(k, "/") {
					s.Keyring = strings.Fields(k)[0]
				}
				out = append(out, s)
			}
		}
	}
	return out
}

func stanzas(text string) []map[string]string {
	var out []map[string]string
	cur, field := map[string]string{}, ""
	for line := range strings.Lines(text + "\n\n") {
		line = strings.TrimRight(line, " \t\r\n")
		switch {
		case strings.HasPrefix(line, "#"):
		case line == "":
			if len(cur) > 0 {
				out = append(out, cur)
			}
			cur, field = map[string]string{}, ""
		case line[0] == ' ' || line[0] == '\t':
			if field != "" {
				cur[field] += "\n" + line
			}
		default:
			k, v, ok := strings.Cut(line, ":")
			if !ok {
				field = ""
				continue
			}
			field = strings.ToLower(strings.TrimSpace(k))
			cur[field] = strings.TrimSpace(v)
		}
	}
	return out
}
