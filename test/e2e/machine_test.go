//go:build linux

package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
)

// instance is the mark of the daemon that has this data directory.
func instance(data string) string {
	sum := sha256.Sum256([]byte(data))
	return hex.EncodeToString(sum[:4])
}

// leftovers looks at the machine itself for what a daemon with these
// directories could have left: it asks neither the daemon nor its scripts.
func leftovers(data, run string) []string {
	mark := instance(data)
	var out []string
	for _, look := range []func(mark, data, run string) ([]string, error){leftProcesses, leftMounts, leftLinks, leftCgroups, leftTables} {
		found, err := look(mark, data, run)
		if err != nil {
			found = append(found, "cannot look: "+err.Error())
		}
		out = append(out, found...)
	}
	return out
}

func leftProcesses(mark, data, run string) (out []string, err error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		line, _ := os.ReadFile(d + "/cmdline") // it may have ended meanwhile
		group, _ := os.ReadFile(d + "/cgroup")
		text := strings.ReplaceAll(string(line), "\x00", " ")
		if strings.Contains(text, data) || strings.Contains(text, run+"/") || strings.Contains(string(group), "/rexcarcer/"+mark) {
			out = append(out, "process "+filepath.Base(d)+": "+text)
		}
	}
	return out, err
}

// leftMounts lists file systems and, on files, network namespaces.
func leftMounts(_, data, run string) (out []string, err error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && (strings.HasPrefix(f[4], data+"/") || strings.HasPrefix(f[4], run+"/") || f[4] == data || f[4] == run) {
			out = append(out, "mount "+f[4]+" of type "+f[len(f)-3])
		}
	}
	return out, err
}

func leftLinks(mark, _, _ string) (out []string, err error) {
	links, err := netlink.LinkList()
	if errors.Is(err, netlink.ErrDumpInterrupted) {
		return leftLinks(mark, "", "")
	}
	for _, l := range links {
		if strings.HasPrefix(l.Attrs().Alias, "rexcarcer:"+mark) {
			out = append(out, "interface "+l.Attrs().Name+" "+l.Attrs().Alias)
		}
	}
	return out, err
}

// leftCgroups looks through every hierarchy, v1 and v2.
func leftCgroups(mark, _, _ string) (out []string, err error) {
	err = filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // other people's groups come and go
		}
		if err != nil || !d.IsDir() {
			return err
		}
		if strings.Contains(path, "/rexcarcer/"+mark) {
			out = append(out, "cgroup "+path)
		}
		return nil
	})
	return out, err
}

func leftTables(mark, _, _ string) (out []string, err error) {
	b, err := exec.Command("nft", "list", "tables").Output()
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, mark) {
			out = append(out, "nftables "+strings.TrimSpace(line))
		}
	}
	return out, err
}

const forwardFile = "/proc/sys/net/ipv4/ip_forward"

func forwarding(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(forwardFile)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// checkForwarding says no if forwarding was off before and is on now, unless
// another daemon on this machine needs it.
func checkForwarding(t *testing.T, before string) {
	t.Helper()
	now := forwarding(t)
	if others, err := leftLinks("", "", ""); before == now || before == "1" || err != nil || len(others) > 0 {
		return
	}
	t.Errorf("net.ipv4.ip_forward was %s before, and is %s", before, now)
}

// count is how many things of each kind a daemon has on the machine.
type count struct{ processes, mounts, links, cgroups int }

func counted(t *testing.T, data, run string) count {
	t.Helper()
	n := func(look func(mark, data, run string) ([]string, error)) int {
		found, err := look(instance(data), data, run)
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	return count{n(leftProcesses), n(leftMounts), n(leftLinks), n(leftCgroups)}
}

func (c count) String() string {
	return fmt.Sprintf("%d processes, %d mounts, %d links, %d cgroups", c.processes, c.mounts, c.links, c.cgroups)
}
