package zfssync

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
)

// maxLinks on the way to one file, as Linux has it (path_resolution(7)).
const maxLinks = 40

// resolve returns the path below root that p means to a process whose root directory root is: links are followed, an
// absolute one begins at root, and ".." stops there. What does not exist yet stays as written.
//
// os.Root alone refuses absolute links, which every distribution has (/var/run). The answer is only a name: whoever
// swaps a link in afterwards makes the operation on the os.Root fail, never leave it.
func resolve(root *os.Root, p string) (string, error) {
	done, links := "", 0
	todo := split(p)
	for len(todo) > 0 {
		part := todo[0]
		todo = todo[1:]
		switch part {
		case ".":
			continue
		case "..":
			done = path.Dir("/" + done)[1:]
			continue
		}
		next := path.Join(done, part)
		info, err := root.Lstat(next)
		if errors.Is(err, fs.ErrNotExist) {
			done = next
			continue
		}
		if err != nil {
			return "", fmt.Errorf("resolve %s: %w", p, err)
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			done = next
			continue
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("resolve %s: more than %d links", p, maxLinks)
		}
		target, err := root.Readlink(next)
		if err != nil {
			return "", fmt.Errorf("resolve %s: %w", p, err)
		}
		if strings.HasPrefix(target, "/") {
			done = ""
		}
		todo = append(split(target), todo...)
	}
	if done == "" {
		return ".", nil
	}
	return done, nil
}

// resolveParent resolves all but the last part of p, which may be a link itself.
func resolveParent(root *os.Root, p string) (string, error) {
	dir, err := resolve(root, path.Dir(p))
	if err != nil {
		return "", err
	}
	return path.Join(dir, path.Base(p)), nil
}

func split(p string) []string {
	return strings.FieldsFunc(p, func(r rune) bool { return r == '/' })
}

// sameRoot gives dir the owner and mode of the directory that it will be merged over: the upper layer's are what shows.
func sameRoot(dir, lower string) error {
	st, err := os.Stat(lower)
	if err != nil {
		return err
	}
	sys := st.Sys().(*syscall.Stat_t)
	if err := os.Chown(dir, int(sys.Uid), int(sys.Gid)); err != nil {
		return err
	}
	return os.Chmod(dir, st.Mode())
}
