package jail

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// maxAccountFile bounds what is read of a jail's passwd and group.
const maxAccountFile = 4 << 20

// account is who a process in a jail runs as.
type account struct {
	uid, gid uint32
	groups   []uint32 // supplementary, sorted
	home     string
	name     string
}

// lookupAccount resolves "", "name", "uid", "name:group" or "uid:gid" by /etc/passwd and /etc/group beneath root; links
// cannot lead out. Numbers need no entry.
func lookupAccount(root, user string) (account, error) {
	who, group, hasGroup := strings.Cut(user, ":")
	if who == "" {
		who = "0"
	}
	passwd, err := readAccounts(root, "/etc/passwd")
	if err != nil {
		return account{}, err
	}
	a, found := findUser(passwd, who)
	if !found {
		uid, err := strconv.ParseUint(who, 10, 32)
		if err != nil {
			return account{}, fmt.Errorf("%w: no user %q in the jail's /etc/passwd; create it in the image or give a number", ErrFinal, who)
		}
		a = account{uid: uint32(uid), home: "/"}
		if uid == 0 {
			a.home, a.name = "/root", "root"
		}
	}
	groups, err := readAccounts(root, "/etc/group")
	if err != nil {
		return account{}, err
	}
	if hasGroup {
		gid, ok := findGroup(groups, group)
		if !ok {
			return account{}, fmt.Errorf("%w: no group %q in the jail's /etc/group; create it in the image or give a number", ErrFinal, group)
		}
		a.gid = gid
		return a, nil // as docker: an explicit group stands alone
	}
	a.groups = memberOf(groups, a.name, a.gid)
	return a, nil
}

func readAccounts(root, name string) ([][]string, error) {
	raw, err := readIn(root, name, maxAccountFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the jail's %s: %w", name, err)
	}
	var out [][]string
	for sc := bufio.NewScanner(bytes.NewReader(raw)); sc.Scan(); {
		if l := sc.Text(); l != "" && l[0] != '#' {
			out = append(out, strings.Split(l, ":"))
		}
	}
	return out, nil
}

// findUser takes a name first: a user may be called "1000".
func findUser(lines [][]string, who string) (account, bool) {
	for _, key := range []int{0, 2} {
		for _, f := range lines {
			if len(f) < 7 || f[key] != who {
				continue
			}
			uid, err1 := strconv.ParseUint(f[2], 10, 32)
			gid, err2 := strconv.ParseUint(f[3], 10, 32)
			if err1 == nil && err2 == nil {
				return account{uid: uint32(uid), gid: uint32(gid), home: f[5], name: f[0]}, true
			}
		}
	}
	return account{}, false
}

func findGroup(lines [][]string, group string) (uint32, bool) {
	for _, f := range lines {
		if len(f) >= 3 && f[0] == group {
			if gid, err := strconv.ParseUint(f[2], 10, 32); err == nil {
				return uint32(gid), true
			}
		}
	}
	gid, err := strconv.ParseUint(group, 10, 32)
	return uint32(gid), err == nil
}

func memberOf(lines [][]string, name string, primary uint32) []uint32 {
	var out []uint32
	for _, f := range lines {
		if len(f) < 4 || name == "" || !slices.Contains(strings.Split(f[3], ","), name) {
			continue
		}
		if gid, err := strconv.ParseUint(f[2], 10, 32); err == nil && uint32(gid) != primary {
			out = append(out, uint32(gid))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
