package jail

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// kernelJail is one line of jls(8).
type kernelJail struct {
	jid     int
	name    string
	path    string
	uuid    string // host.hostuuid: ours, when we made it
	ruleset int    // devfs_ruleset
	dying   bool
}

var jlsArgv = []string{"/usr/sbin/jls", "-d", "-n", "--libxo", "json", "jid", "name", "path", "dying", "host.hostname", "host.hostuuid", "vnet", "devfs_ruleset"}

// parseJLS reads what jls --libxo json prints. With -n every value is a string, but booleans are booleans and addresses
// lists; without it jid is a number. A dying jail lacks most of them.
func parseJLS(raw []byte) ([]kernelJail, error) {
	var doc struct {
		Info struct {
			Jail []map[string]any `json:"jail"`
		} `json:"jail-information"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("read jls: %w", err)
	}
	var out []kernelJail
	for _, m := range doc.Info.Jail {
		var j kernelJail
		switch v := m["jid"].(type) {
		case string:
			j.jid, _ = strconv.Atoi(v)
		case float64:
			j.jid = int(v)
		}
		if j.jid < 1 {
			return nil, fmt.Errorf("read jls: jail %v has no jid", m["name"])
		}
		j.name, _ = m["name"].(string)
		j.path, _ = m["path"].(string)
		j.uuid, _ = m["host.hostuuid"].(string)
		j.dying = truth(m["dying"])
		if s, ok := m["devfs_ruleset"].(string); ok {
			j.ruleset, _ = strconv.Atoi(s)
		}
		out = append(out, j)
	}
	return out, nil
}

func truth(v any) bool {
	switch v := v.(type) {
	case bool:
		return v
	case string:
		return v == "true" || v == "1"
	}
	return false
}

// kernelJails asks the kernel for all jails, dying ones too.
func (f *FreeBSD) kernelJails(ctx context.Context) ([]kernelJail, error) {
	res, err := f.cfg.Runner.Run(ctx, run.Cmd{Argv: jlsArgv, Timeout: toolLimit})
	if err != nil {
		return nil, fmt.Errorf("list jails of the kernel: %w", err)
	}
	return parseJLS(res.Stdout)
}

// kernelJail returns the living one of that name, or nil. A dying one of the same name does not count: the name is free.
func (f *FreeBSD) kernelJail(ctx context.Context, name string) (*kernelJail, error) {
	all, err := f.kernelJails(ctx)
	if err != nil {
		return nil, err
	}
	for i, j := range all {
		if j.name == name && !j.dying {
			return &all[i], nil
		}
	}
	return nil, nil //nolint:nilnil // none is an answer
}

var sysvIPC = []string{"sysvmsg", "sysvsem", "sysvshm"}

// parentIPC names the kinds of System V IPC that a child of this jail cannot have, because the parent has not: the kernel
// would refuse the child.
func (f *FreeBSD) parentIPC(ctx context.Context, parent string, feats *bsdFeatures) ([]string, error) {
	var ask, lacks []string
	for _, p := range sysvIPC {
		if feats.known(p) {
			ask = append(ask, p)
		}
	}
	if parent == "" || len(ask) == 0 {
		return nil, nil
	}
	res, err := f.cfg.Runner.Run(ctx, run.Cmd{Argv: append([]string{jlsArgv[0], "-j", parent, "-n", "--libxo", "json"}, ask...), Timeout: toolLimit})
	if err != nil {
		return nil, fmt.Errorf("network namespace: look at jail %s: %w", parent, err)
	}
	var doc struct {
		Info struct {
			Jail []map[string]string `json:"jail"`
		} `json:"jail-information"`
	}
	if err := json.Unmarshal(res.Stdout, &doc); err != nil || len(doc.Info.Jail) != 1 {
		return nil, fmt.Errorf("network namespace: read jls of jail %s: %q: %w", parent, res.Stdout, err)
	}
	for _, p := range ask {
		if v := doc.Info.Jail[0][p]; v != "new" && v != "inherit" {
			lacks = append(lacks, p)
		}
	}
	return lacks, nil
}

// toolLimit bounds one call of a tool that does not wait for others.
const toolLimit = 30 * time.Second
