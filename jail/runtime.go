package jail

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
)

// runtime is one way to call an OCI runtime.
type runtime struct {
	path    string   // absolute
	kind    string   // "runc" or "crun": their global options differ
	version string   // "runc 1.1.5"
	hide    []string // mounts that it must not see
}

func runtimeKind(path string) string {
	if strings.Contains(filepath.Base(path), "crun") {
		return "crun"
	}
	return "runc"
}

// argv returns the command line for one verb; errors go to logFile as JSON lines.
func (r *runtime) argv(root, logFile string, verb ...string) []string {
	if r.kind == "crun" {
		return append([]string{r.path, "--root", root, "--log", "file:" + logFile, "--log-format", "json"}, verb...)
	}
	return append([]string{r.path, "--root", root, "--log", logFile, "--log-format", "json"}, verb...)
}

// lastMessage returns the last error of a runtime's log, without its own preamble.
func lastMessage(raw []byte) string {
	msg := ""
	for l := range bytes.Lines(raw) {
		var e struct{ Level, Msg string }
		l = bytes.TrimSpace(l)
		if json.Unmarshal(l, &e) == nil && e.Msg != "" {
			if e.Level == "" || e.Level == "error" || e.Level == "fatal" || msg == "" {
				msg = e.Msg
			}
		} else if len(l) > 0 {
			msg = string(l)
		}
	}
	return strings.TrimPrefix(msg, "runc run failed: ")
}

var versionLine = regexp.MustCompile(`(runc|crun) version ([0-9][^\s+]*)`)

// parseVersion takes the first line of `--version`.
func parseVersion(out []byte) string {
	m := versionLine.FindSubmatch(out)
	if m == nil {
		return ""
	}
	return string(m[1]) + " " + string(m[2])
}
