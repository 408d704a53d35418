package build

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rexcarcer/rexcarcer/jail"
	"github.com/rexcarcer/rexcarcer/spec"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

// KeptTag is the tag of the image that a failed step of NAME leaves with Request.Keep: NAME:failed.
const KeptTag = "failed"

// keepStep makes an image of what step i has left, so that somebody can look into it. Its keys are random: the digest of
// the step's inputs would stand for the step done.
func (j *job) keepStep(i int, s spec.Step, l zfssync.Build) error {
	ctx, cancel := context.WithTimeout(context.Background(), cleanupTime)
	defer cancel()
	top, key := randomKey(), randomKey()
	if err := l.CommitAs(ctx, top); err != nil {
		return fmt.Errorf("keep what the step has left: %w", err)
	}
	name, _, _ := strings.Cut(j.img.Name, ":")
	kept := &spec.Image{
		Name: name + ":" + KeptTag, Key: key, Base: j.img.Base, Steps: j.img.Steps[:i+1], Rexfile: j.img.Rexfile, Command: []string{"/bin/sh"},
	}
	for _, done := range j.img.Steps[:i] {
		kept.Env = append(kept.Env, done.Env...)
	}
	out := zfssync.Image{Key: key, Top: top, Name: kept.Name, Base: kept.Base, Env: slices.Concat(j.inherit.Env, j.env), Command: kept.Command}
	for _, done := range kept.Steps {
		out.Steps = append(out.Steps, done.Text)
	}
	if err := j.c.Store.PutImage(ctx, out); err != nil {
		return fmt.Errorf("keep what the step has left: %w", err)
	}
	j.res.Kept = kept
	j.log.Info("kept what a failed step left", "image", kept.Name, "key", key, "step", s.Text)
	return nil
}

func randomKey() string {
	sum := sha256.Sum256([]byte(rand.Text()))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// holder keeps a jail going for whoever enters it.
var holder = []string{"/bin/sh", "-c", "while :; do sleep 3600; done"}

// Shell runs a command, with a terminal if it says so, in a jail of its own on an image: with the network, the limits
// and the rights of RUN. Nothing of it is left. Exec.Env is added to the image's.
func (b *Builder) Shell(ctx context.Context, imageKey string, x jail.Exec) (code int, err error) {
	return b.shell(ctx, imageKey, x, b.attach, buildCaps)
}

// ShellIn is Shell in a network that somebody else made, without the rights of RUN.
func (b *Builder) ShellIn(ctx context.Context, imageKey string, net Network, x jail.Exec) (code int, err error) {
	return b.shell(ctx, imageKey, x, func(context.Context, string) (Network, error) { return net, nil }, nil)
}

func (b *Builder) shell(ctx context.Context, imageKey string, x jail.Exec, attach func(context.Context, string) (Network, error), caps []string) (code int, err error) {
	defer b.c.Store.Hold()()
	img, err := b.c.Store.Image(imageKey)
	if err != nil {
		return 0, err
	}
	uuid := randomUUID()
	id := "rex-build-" + uuid[:8]
	late := func(do func(ctx context.Context) error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
		defer cancel()
		err = errors.Join(err, do(ctx))
	}
	root, err := b.c.Store.Clone(ctx, imageKey, uuid, zfssync.CloneOptions{IDMap: b.c.IDMap})
	defer late(func(ctx context.Context) error { return b.c.Store.Destroy(ctx, uuid) })
	if err != nil {
		return 0, err
	}
	dir, err := b.scratch(id)
	if err != nil {
		return 0, err
	}
	defer late(func(context.Context) error { return os.RemoveAll(dir) })
	net, err := attach(ctx, id)
	if err != nil {
		return 0, err
	}
	defer late(func(context.Context) error { return net.close() })
	mounts, _, err := placeFiles(root, dir, onlyThere(net))
	if err != nil {
		return 0, err
	}
	spec := b.jailOn(root, id, net, mounts)
	spec.AddCaps = caps
	spec.Argv, spec.LogPath = holder, filepath.Join(dir, "log")
	spec.Env = append(b.ownEnv(), img.Env...)
	defer late(func(ctx context.Context) error { return b.c.Jails.Remove(ctx, id) })
	if _, err := b.c.Jails.Start(ctx, spec); err != nil {
		return 0, fmt.Errorf("start a jail on the image: %w", err)
	}
	x.Env = append(spec.Env, x.Env...)
	if x.WorkDir == "" {
		x.WorkDir = "/"
	}
	return b.c.Jails.Exec(ctx, id, x)
}

// randomUUID is of version 4 (RFC 9562 section 5.4).
func randomUUID() string {
	var u [16]byte
	_, _ = rand.Read(u[:]) // never fails (Go 1.24)
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
