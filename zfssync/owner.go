package zfssync

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// maxID is the highest user or group id that a jail of the usual range can have.
const maxID = 1<<16 - 1

// ResolveOwner turns USER or USER:GROUP into ids as the image in rootFS has them: a number is itself, a name is looked up
// in its /etc/passwd and /etc/group. A user without a group has the group of its passwd line, or its own number. "" is root.
func ResolveOwner(rootFS, owner string) (uid, gid int, err error) {
	if owner == "" {
		return 0, 0, nil
	}
	root, err := os.OpenRoot(rootFS)
	if err != nil {
		return 0, 0, fmt.Errorf("owner %s: %w", owner, err)
	}
	defer root.Close()
	user, group, both := strings.Cut(owner, ":")
	fields, err := account(root, "etc/passwd", user)
	if err != nil {
		return 0, 0, fmt.Errorf("owner %s: %w", owner, err)
	}
	if uid, err = idOf(fields, 2); err != nil {
		return 0, 0, fmt.Errorf("owner %s: user %s: %w", owner, user, err)
	}
	if !both {
		if gid = uid; len(fields) > 3 {
			gid, err = idOf(fields, 3)
		}
		if err != nil {
			return 0, 0, fmt.Errorf("owner %s: group of %s: %w", owner, user, err)
		}
		return uid, gid, nil
	}
	if fields, err = account(root, "etc/group", group); err == nil {
		gid, err = idOf(fields, 2)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("owner %s: group %s: %w", owner, group, err)
	}
	return uid, gid, nil
}

func idOf(fields []string, i int) (int, error) {
	if i >= len(fields) {
		return 0, errors.New("its line has too few fields")
	}
	n, err := strconv.Atoi(fields[i])
	if err != nil || n < 0 || n > maxID {
		return 0, fmt.Errorf("id %.20q: want 0 to %d", fields[i], maxID)
	}
	return n, nil
}

// account returns the fields of a name's line in a file such as /etc/passwd. A number that has no line stands for itself.
func account(root *os.Root, file, name string) ([]string, error) {
	_, notNumber := strconv.Atoi(name)
	at, err := resolve(root, file)
	if err != nil {
		return nil, err
	}
	f, err := root.Open(at)
	if errors.Is(err, fs.ErrNotExist) && notNumber == nil {
		return []string{name, "x", name}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the image has no /%s: %w", file, err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), ":")
		if len(fields) > 2 && (fields[0] == name || notNumber == nil && fields[2] == name) {
			return fields, nil
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read /%s of the image: %w", file, err)
	}
	if notNumber == nil {
		return []string{name, "x", name}, nil
	}
	return nil, fmt.Errorf("the image has no %s in /%s: make it with RUN before, or write its number", name, file)
}
