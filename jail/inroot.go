package jail

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// maxLinks is how many symbolic links one name may lead through, as in the kernels.
const maxLinks = 40

// resolveIn follows the links of name as a process would whose root is root: an absolute link begins at root again, and ..
// stays in it. The result has no links; its last part need not exist.
func resolveIn(root *os.Root, name string) (string, error) {
	rest := strings.Split(path.Clean("/"+name), "/")
	at, links := "", 0
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			at = strings.TrimPrefix(path.Dir("/"+at), "/")
			continue
		}
		next := path.Join(at, part)
		info, err := root.Lstat(next)
		if err != nil && (!errors.Is(err, fs.ErrNotExist) || len(rest) > 0) {
			return "", err
		}
		if err != nil || info.Mode()&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return "", &fs.PathError{Op: "resolve", Path: name, Err: errors.New("too many levels of symbolic links")}
		}
		target, err := root.Readlink(next)
		if err != nil {
			return "", err
		}
		if path.IsAbs(target) {
			at = ""
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	if at == "" {
		at = "."
	}
	return at, nil
}

// readBelow reads a file beneath root, following links as a jail would.
func readBelow(root, name string, limit int64) ([]byte, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	at, err := resolveIn(r, name)
	if err != nil {
		return nil, err
	}
	f, err := r.Open(at)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}

// statBelow describes a file beneath root, following links as a jail would.
func statBelow(root, name string) (os.FileInfo, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	at, err := resolveIn(r, name)
	if err != nil {
		return nil, err
	}
	return r.Stat(at)
}
