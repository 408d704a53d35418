package jail

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// netPlan is the content of the file that Spec.NetNS names on FreeBSD, where a network stack begins with its jail: what
// there is to do for it. Package netd writes the file before the start, as JSON:
//
//	{"interfaces": ["rj3f2a91b00"],
//	 "setup": [["/sbin/ifconfig", "-j", "{jail}", "rj3f2a91b00", "inet", "10.77.0.5/24", "up"]]}
//
// Interfaces are moved into the jail when it is made. Setup are commands for the host, run in order when the jail is there
// with its interfaces and before its first process; "{jail}" in an argument is the jail's name in the kernel.
// Teardown are commands run before the jail ends, for interfaces that must come home at once; their failure is only logged.
type netPlan struct {
	Interfaces []string   `json:"interfaces"`
	Setup      [][]string `json:"setup"`
	Teardown   [][]string `json:"teardown,omitempty"`
}

const jailPlaceholder = "{jail}"

// readNetPlan reads the file; no name is a plan without interfaces.
func readNetPlan(name string) (netPlan, error) {
	var p netPlan
	if name == "" {
		return p, nil
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		return p, fmt.Errorf("network plan of the jail: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return p, fmt.Errorf("network plan %s: %w", name, err)
	}
	return p, nil
}

// forJail puts the jail's name into a command.
func forJail(argv []string, kernelName string) []string {
	out := make([]string, len(argv))
	for i, a := range argv {
		out[i] = strings.ReplaceAll(a, jailPlaceholder, kernelName)
	}
	return out
}
