package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rexcarcer/rexcarcer/jail"
	"github.com/rexcarcer/rexcarcer/spec"
)

// policyRC tells Debian's invoke-rc.d to start nothing (policy-rc.d, /usr/share/doc/init-system-helpers).
const policyRC = "#!/bin/sh\nexit 101\n"

// buildCaps are what package managers need beyond a jail's own: chroot, devices in packages, file capabilities.
var buildCaps = []string{"SYS_CHROOT", "MKNOD", "SETFCAP"}

// cleanupTime bounds what is done after a step, also when ctx has ended.
const cleanupTime = 30 * time.Second

// overlaid is a file that is there only while a step runs.
type overlaid struct {
	target  string // in the jail, absolute
	content string
	mode    fs.FileMode
}

// runStep runs a command line in a jail on root.
func (j *job) runStep(ctx context.Context, i int, s spec.Step, root string) (err error) {
	id := "rex-build-" + strings.TrimPrefix(s.Key, "sha256:")[:16]
	// A predecessor that was killed may have left a jail of this name, on a root that is gone.
	if err := j.c.Jails.Remove(ctx, id); err != nil {
		return fmt.Errorf("remove the jail of an earlier try: %w", err)
	}
	dir, err := j.scratch(id)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	net, err := j.attach(ctx, id)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, net.close()) }()
	mounts, undo, err := placeFiles(root, dir, onlyThere(net))
	if err != nil {
		return err
	}
	x := j.jailOn(root, id, net, mounts)
	x.Argv, x.Env, x.LogPath = []string{"/bin/sh", "-c", s.Run}, j.runEnv(), filepath.Join(dir, "log")
	err = j.runJail(ctx, i, x)
	// Also after a failure: what it has left may be kept.
	return errors.Join(err, undo())
}

// scratch makes an empty directory beside the root.
func (b *Builder) scratch(id string) (string, error) {
	dir := filepath.Join(b.c.Dir, id)
	return dir, errors.Join(os.RemoveAll(dir), os.MkdirAll(b.c.Dir, 0o711), os.Mkdir(dir, 0o711))
}

// attach makes the network of one jail; none is none.
func (b *Builder) attach(ctx context.Context, id string) (Network, error) {
	if b.c.Attach == nil {
		return Network{}, nil
	}
	net, err := b.c.Attach(ctx, id)
	if err != nil {
		return Network{}, fmt.Errorf("network for the step: %w", err)
	}
	return net, nil
}

func (n Network) close() error {
	if n.Close == nil {
		return nil
	}
	return n.Close()
}

// onlyThere are the files that are there only for building.
func onlyThere(net Network) []overlaid {
	return []overlaid{{"/etc/resolv.conf", net.ResolvConf, 0o644}, {"/usr/sbin/policy-rc.d", policyRC, 0o755}}
}

// jailOn is a jail for building, as far as all of them are alike.
func (b *Builder) jailOn(root, id string, net Network, mounts []jail.Mount) jail.Spec {
	return jail.Spec{
		ID: id, Name: "build", UUID: id, Hostname: "build", Root: root, NetNS: net.NetNS, Mounts: mounts, WorkDir: "/",
		AddCaps: buildCaps, Limits: b.c.Limits, IDMap: jail.IDMap{HostBase: b.c.IDMap.HostBase, Size: b.c.IDMap.Size},
	}
}

// runEnv is what RUN sees: ours first, so that ENV of the image wins.
func (j *job) runEnv() []string {
	return slices.Concat(j.ownEnv(), j.inherit.Env, j.env)
}

func (b *Builder) ownEnv() []string {
	return append([]string{"DEBIAN_FRONTEND=noninteractive", "HOME=/root"}, b.c.Env...)
}

// runJail starts the jail, hands its output on, and removes it whatever happens.
func (j *job) runJail(ctx context.Context, i int, s jail.Spec) (err error) {
	log, err := os.OpenFile(s.LogPath, os.O_CREATE|os.O_RDONLY, 0o640)
	if err != nil {
		return err
	}
	defer log.Close()
	defer func() {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
		defer cancel()
		err = errors.Join(err, j.c.Jails.Remove(late, s.ID))
	}()
	if _, err := j.c.Jails.Start(ctx, s); err != nil {
		return fmt.Errorf("start the step's jail: %w", err)
	}
	lines := &lineReader{emit: func(l string) { j.emit(Output, i+1, l) }}
	ended := make(chan struct{})
	followed := make(chan error, 1)
	go func() { followed <- lines.follow(log, ended) }()
	st, waitErr := j.c.Jails.Wait(ctx, s.ID)
	close(ended)
	if err := <-followed; err != nil {
		return err
	}
	switch {
	case waitErr != nil:
		return &StepError{Code: -1, Tail: lines.tail, Err: waitErr}
	case st.Exit == nil || !st.Exit.Known:
		return &StepError{Code: -1, Tail: lines.tail, Err: errors.New("it ended, and how is not known")}
	case st.Exit.OOM:
		return &StepError{Code: st.Exit.Code, Tail: lines.tail, Err: errors.New("the kernel killed it for want of memory")}
	case st.Exit.Code != 0:
		return &StepError{Code: st.Exit.Code, Tail: lines.tail}
	}
	return nil
}

// placeFiles writes files beside the root for the jail to mount over it. undo removes what mounting them left in the
// root: an empty file where none was, and the directories on the way to it.
func placeFiles(root, dir string, files []overlaid) (mounts []jail.Mount, undo func() error, err error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	var placeholders []string
	for _, f := range files {
		src := filepath.Join(dir, filepath.Base(f.target))
		if err := os.WriteFile(src, []byte(f.content), f.mode); err != nil {
			return nil, nil, err
		}
		if err := os.Chmod(src, f.mode); err != nil { // whatever our umask is
			return nil, nil, err
		}
		mounts = append(mounts, jail.Mount{Source: src, Target: f.target, ReadOnly: true})
		for p := f.target[1:]; p != "."; p = filepath.Dir(p) {
			if _, err := r.Lstat(p); errors.Is(err, fs.ErrNotExist) {
				placeholders = append(placeholders, p) // deepest first
			} else {
				break
			}
		}
	}
	return mounts, func() error { return removePlaceholders(root, placeholders) }, nil
}

func removePlaceholders(root string, names []string) error {
	r, err := os.OpenRoot(root)
	if err != nil {
		return err
	}
	defer r.Close()
	for _, p := range names {
		info, err := r.Lstat(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if info.Mode().IsRegular() && info.Size() > 0 {
			continue // the step's own
		}
		// A directory that the step has filled stays: removing fails, and should.
		if err := r.Remove(p); err != nil && !info.IsDir() {
			return fmt.Errorf("remove placeholder: %w", err)
		}
	}
	return nil
}
