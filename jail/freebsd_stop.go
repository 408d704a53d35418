package jail

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// Stop ends the jail by jail -r with its own file: SIGTERM to every process, the timeout, and the rest is killed.
func (f *FreeBSD) Stop(ctx context.Context, id string, timeout time.Duration) (Status, error) {
	t, err := f.get(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return Status{ID: id, Phase: Stopped, Exit: &Exit{Code: -1}}, nil
	}
	if err != nil {
		return Status{}, fmt.Errorf("stop jail %s: %w", id, err)
	}
	t.op.Lock()
	defer t.op.Unlock()
	t.mu.Lock()
	rec, done := t.rec, t.done
	t.mu.Unlock()
	if rec == nil {
		return Status{ID: id, Phase: Stopped, Exit: &Exit{Code: -1}}, nil
	}
	if err := f.end(ctx, rec, stopTime(rec.Spec, timeout)); err != nil {
		return Status{}, fmt.Errorf("stop jail %s: %w", id, err)
	}
	if done != nil {
		if err := f.awaitEnd(ctx, t, rec, done); err != nil {
			return Status{}, fmt.Errorf("stop jail %s: %w", id, err)
		}
	}
	st, ok := t.status()
	if !ok || st.Phase == Created {
		return Status{ID: id, Name: st.Name, UUID: st.UUID, Seq: st.Seq, Phase: Stopped, Exit: &Exit{Code: -1}}, nil
	}
	return st, nil
}

// awaitEnd waits until the watcher has noted the end of a jail that was removed.
func (f *FreeBSD) awaitEnd(ctx context.Context, t *bsdJail, rec *record, done chan struct{}) error {
	if rec.Booted { // no process of it was ours to wait for
		f.ended(t, Exit{Code: -1, At: time.Now()})
		return nil
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-f.ctx.Done():
		return errors.New("the driver was closed")
	}
}

// end removes the kernel's jail of r, and what it had mounted. What is not there any more is success.
func (f *FreeBSD) end(ctx context.Context, r *record, timeout time.Duration) error {
	j, err := f.ours(ctx, r)
	if err != nil {
		return err
	}
	if j != nil {
		if err := f.endKernelJail(ctx, r, timeout); err != nil {
			return err
		}
	}
	return f.unmountBelow(ctx, r.Spec.Root)
}

func (f *FreeBSD) endKernelJail(ctx context.Context, r *record, timeout time.Duration) error {
	feats, err := f.features(ctx)
	if err != nil {
		return err
	}
	num, _, err := rulesetOf(r.Spec)
	if err != nil {
		return err
	}
	if err := f.writeConf(ctx, r, num, timeout, feats); err != nil {
		return err
	}
	limit := timeout + toolLimit
	if r.Booted {
		limit += execTimeout * time.Second
	}
	argv := []string{jailPath, "-f", f.confFile(r.Jail), "-q", "-r", r.Jail}
	_, err = f.cfg.Runner.Run(ctx, run.Cmd{Argv: argv, Timeout: limit})
	if left, lerr := f.ours(ctx, r); lerr != nil {
		return errors.Join(err, lerr)
	} else if left == nil {
		return nil // also when somebody else was faster
	}
	f.cfg.Log.Warn("jail remained, removing it without its own commands", "jail", r.Spec.Name, "err", err)
	// jail -R gives the processes 10 s of its own before it kills.
	_, rerr := f.cfg.Runner.Run(ctx, run.Cmd{Argv: []string{jailPath, "-R", r.Jail}, Timeout: toolLimit})
	left, lerr := f.ours(ctx, r)
	if lerr != nil || left != nil {
		return errors.Join(err, rerr, lerr, fmt.Errorf("jail %s is still there", r.Jail))
	}
	return nil
}

// unmountBelow unmounts everything below root, deepest first: what jail -R and a killed daemon leave. Root itself is not
// ours.
func (f *FreeBSD) unmountBelow(ctx context.Context, root string) error {
	nodes, err := f.mountsBelow(ctx, root)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if _, err := f.cfg.Runner.Run(ctx, run.Cmd{Argv: []string{"/sbin/umount", n}, Timeout: toolLimit}); err == nil {
			continue
		}
		if _, err := f.cfg.Runner.Run(ctx, run.Cmd{Argv: []string{"/sbin/umount", "-f", n}, Timeout: toolLimit}); err != nil {
			return fmt.Errorf("unmount what the jail had: %w", err)
		}
	}
	return nil
}

func (f *FreeBSD) mountsBelow(ctx context.Context, root string) ([]string, error) {
	if root == "" {
		return nil, nil
	}
	res, err := f.cfg.Runner.Run(ctx, run.Cmd{Argv: []string{"/sbin/mount", "--libxo", "json"}, Timeout: toolLimit})
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	all, err := parseMounts(res.Stdout)
	if err != nil {
		return nil, err
	}
	roots := []string{filepath.Clean(root)}
	if straight, err := filepath.EvalSymlinks(root); err == nil { // mounts are listed without links
		roots = append(roots, straight)
	}
	var out []string
	for _, n := range all {
		if slices.ContainsFunc(roots, func(r string) bool { return strings.HasPrefix(n, r+"/") }) {
			out = append(out, n)
		}
	}
	// Of equally deep ones the last that was mounted goes first: it may lie above the other.
	slices.Reverse(out)
	slices.SortStableFunc(out, func(a, b string) int { return cmp.Compare(strings.Count(b, "/"), strings.Count(a, "/")) })
	return out, nil
}

// parseMounts returns the mount points that mount --libxo json prints, in order.
func parseMounts(raw []byte) ([]string, error) {
	var doc struct {
		Mount struct {
			Mounted []struct {
				Node string `json:"node"`
			} `json:"mounted"`
		} `json:"mount"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("read mount: %w", err)
	}
	var out []string
	for _, m := range doc.Mount.Mounted {
		out = append(out, m.Node)
	}
	return out, nil
}

// Remove kills what runs and deletes the jail, its mounts, limits, configuration and record.
func (f *FreeBSD) Remove(ctx context.Context, id string) error {
	if !idPattern.MatchString(id) {
		return nil
	}
	t, err := f.slot(ctx, id)
	if err != nil {
		return fmt.Errorf("remove jail %s: %w", id, err)
	}
	t.op.Lock()
	defer t.op.Unlock()
	t.mu.Lock()
	rec, done := t.rec, t.done
	t.mu.Unlock()
	if rec != nil && done != nil { // its end is written down before the record goes
		if err := f.end(ctx, rec, killTime); err != nil {
			return fmt.Errorf("remove jail %s: %w", id, err)
		}
		if err := f.awaitEnd(ctx, t, rec, done); err != nil {
			return fmt.Errorf("remove jail %s: %w", id, err)
		}
	}
	if err := f.scrub(ctx, id); err != nil {
		return fmt.Errorf("remove jail %s: %w", id, err)
	}
	t.mu.Lock()
	t.rec, t.done = nil, nil
	t.mu.Unlock()
	f.forget(id, t)
	return nil
}

// killTime is what Remove leaves the processes between SIGTERM and SIGKILL: jail(8) knows no shorter time than a second but
// none at all.
const killTime = time.Second

// scrub deletes everything that Start makes, whoever made it and however far it came.
func (f *FreeBSD) scrub(ctx context.Context, id string) error {
	rec, err := loadRecord(f.dir(id))
	if err == nil {
		if err := f.scrubJail(ctx, rec); err != nil {
			return err
		}
	} else if !errors.Is(err, ErrNotFound) {
		f.cfg.Log.Warn("jail record not readable, its directory is removed", "id", id, "err", err)
	}
	if err := os.RemoveAll(f.dir(id)); err != nil {
		return fmt.Errorf("remove state: %w", err)
	}
	return nil
}

func (f *FreeBSD) scrubJail(ctx context.Context, r *record) error {
	if err := f.end(ctx, r, killTime); err != nil {
		return err
	}
	if raw, err := os.ReadFile(f.confFile(r.Jail)); err == nil && ownerOf(string(raw)) != r.Spec.ID {
		return nil // the name is another jail's by now
	}
	if err := f.dropLimits(ctx, r.Jail); err != nil {
		return err
	}
	if err := os.Remove(f.confFile(r.Jail)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove configuration: %w", err)
	}
	return nil
}
