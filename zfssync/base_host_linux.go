package zfssync

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A "host:/" base is the host's root as it is, below a mask: nothing is copied, and what the host changes may show in
// jails, which is why this base is for development.

// hostView mounts a read-only overlay of the host's root below a mask that hides, for the ids of one jail, and returns it
// as a detached mount (attached by place on old kernels).
//
// It is an overlay of its own, because overlayfs refuses a layer that lies below another one, and our layers lie below /.
// The mask is a tmpfs, for the same reason. Overlays may be stacked two deep, so this is the deepest.
func (o *Overlay) hostView(p *places, ids IDMap, userns int) (int, error) {
	mask, err := newTmpfs()
	if err != nil {
		return -1, fmt.Errorf("mask of the host's root: %w", err)
	}
	defer unix.Close(mask)
	if err := p.attach(mask, "mask"); err != nil {
		return -1, err
	}
	m := hostMask{layer: fmt.Sprintf("/proc/self/fd/%d", mask), ids: ids}
	if err := m.fill(append([]string{o.dir}, o.c.Hide...)); err != nil {
		return -1, fmt.Errorf("mask of the host's root: %w", err)
	}
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil && userns >= 0 {
		_ = unix.Close(root)
		if root, err = mappedTree("/", userns); err == nil {
			err = p.attach(root, "root")
		}
	}
	if err != nil {
		return -1, fmt.Errorf("the host's root: %w", err)
	}
	defer unix.Close(root)
	if o.feat.LayerFDs {
		return overlayFD("rexcarcer-host", []int{mask, root}, -1, -1, false)
	}
	at, err := p.dir("view")
	if err != nil {
		return -1, err
	}
	if err := overlayAt("rexcarcer-host", at, []int{mask, root}, -1, -1, false); err != nil {
		return -1, err
	}
	return unix.Open(at, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// hostMask is the layer above the host's root: empty directories that hide, and a whiteout for each path of ours (the
// store would else show itself, and the daemon's keys).
type hostMask struct {
	layer string
	ids   IDMap // it is not id-mapped: owners are shifted as it is made
}

func (m hostMask) fill(hide []string) error {
	if err := m.like(m.layer, "/"); err != nil {
		return err
	}
	for _, p := range emptied {
		info, err := os.Lstat(p)
		if errors.Is(err, os.ErrNotExist) || err == nil && !info.IsDir() {
			continue
		}
		if err != nil {
			return err
		}
		if err := m.mirror(p); err != nil {
			return err
		}
		if err := unix.Setxattr(m.layer+p, "trusted.overlay.opaque", []byte("y"), 0); err != nil {
			return fmt.Errorf("hide %s: %w", p, err)
		}
	}
	for _, p := range hide {
		if err := m.whiteout(filepath.Clean(p)); err != nil {
			return fmt.Errorf("hide %s: %w", p, err)
		}
	}
	return nil
}

// like gives dir mode and owner of the host's directory, as the jail is to see them.
func (m hostMask) like(dir, host string) error {
	if err := sameRoot(dir, host); err != nil || m.ids.IsZero() {
		return err
	}
	st, err := os.Stat(dir)
	if err != nil {
		return err
	}
	sys := st.Sys().(*syscall.Stat_t)
	return os.Chown(dir, int(m.ids.HostBase+sys.Uid%m.ids.Size), int(m.ids.HostBase+sys.Gid%m.ids.Size))
}

// whiteout hides p, unless a directory above it is emptied already.
func (m hostMask) whiteout(p string) error {
	for _, e := range emptied {
		if p == e || strings.HasPrefix(p, e+"/") {
			return nil
		}
	}
	if p == "/" {
		return errors.New("the whole root cannot be hidden")
	}
	if err := m.mirror(filepath.Dir(p)); err != nil {
		return err
	}
	err := unix.Mknod(m.layer+p, unix.S_IFCHR, 0)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

// mirror makes the directory p of the host in the mask, and those above it, with the host's owners and modes.
func (m hostMask) mirror(p string) error {
	cur := ""
	for _, part := range split(p) {
		cur += "/" + part
		err := os.Mkdir(m.layer+cur, 0o755)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := m.like(m.layer+cur, cur); errors.Is(err, os.ErrNotExist) {
			continue // not on the host yet: then it is hidden before it is there
		} else if err != nil {
			return err
		}
	}
	return nil
}
