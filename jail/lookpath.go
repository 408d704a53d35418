package jail

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

var (
	errNoCommand      = errors.New("command not found")
	errNotExecutable  = errors.New("not executable")
	errGone           = errors.New("process is gone")
	errMountDecidesIt = errors.New("below a mount") // not an error: only the jail itself can tell
)

// lookCommand finds argv[0] beneath root as execvp(3) would with the jail's PATH and working directory, and returns its path in
// the jail. skip lists mount targets, of which root does not show the content: what may be there counts as found.
func lookCommand(root, argv0, workDir string, env []string, skip []Mount) (string, error) {
	candidates := []string{}
	if strings.Contains(argv0, "/") {
		candidates = append(candidates, path.Join("/", workDir, argv0))
		if path.IsAbs(argv0) {
			candidates[0] = path.Clean(argv0)
		}
	} else {
		search := defaultPath
		for _, e := range env {
			if v, ok := strings.CutPrefix(e, "PATH="); ok {
				search = v
			}
		}
		for dir := range strings.SplitSeq(search, ":") {
			candidates = append(candidates, path.Join("/", dir, argv0))
		}
	}
	var worst error
	for _, c := range candidates {
		err := executable(root, c, skip)
		if err == nil || errors.Is(err, errMountDecidesIt) {
			return c, nil
		}
		if !errors.Is(err, fs.ErrNotExist) && worst == nil {
			worst = fmt.Errorf("%s: %w", c, err)
		}
	}
	if worst != nil {
		return "", worst
	}
	return "", fmt.Errorf("%s: %w", argv0, errNoCommand)
}

func executable(root, name string, skip []Mount) error {
	for _, m := range skip {
		if t := path.Clean(m.Target); name == t || strings.HasPrefix(name, t+"/") {
			return errMountDecidesIt
		}
	}
	fi, err := statIn(root, name)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || strings.HasSuffix(err.Error(), "not a directory") {
			return fs.ErrNotExist
		}
		return err
	}
	if !fi.Mode().IsRegular() || fi.Mode().Perm()&0o111 == 0 {
		return errNotExecutable
	}
	return nil
}
