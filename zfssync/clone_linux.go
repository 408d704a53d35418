package zfssync

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// cloneRecord is jails/<uuid>/clone.json.
type cloneRecord struct {
	ImageKey string       `json:"image_key"`
	Top      string       `json:"top"`
	Options  CloneOptions `json:"options"`
	Head     string       `json:"head,omitempty"` // snapshot from which it has to be made before it is used
}

// Clone implements Store.
func (o *Overlay) Clone(ctx context.Context, imageKey, uuid string, opt CloneOptions) (string, error) {
	if err := checkUUID(uuid); err != nil {
		return "", err
	}
	if err := o.needIDMap(opt.IDMap); err != nil {
		return "", fmt.Errorf("clone for jail %s: %w", uuid, err)
	}
	opt.Volatile = opt.Volatile && o.feat.Volatile
	unlock, err := o.keys.lock(ctx, uuid)
	if err != nil {
		return "", err
	}
	defer unlock()
	if err := o.clone(ctx, imageKey, uuid, opt); err != nil {
		return "", fmt.Errorf("clone image %s for jail %s: %w", imageKey, uuid, err)
	}
	return o.root(uuid), nil
}

// begin makes the clone from its newest received, or rolled back to, snapshot. The ids with which it is mounted are this
// host's own matter: on disk there are those of the jail.
func (o *Overlay) begin(ctx context.Context, uuid string, was cloneRecord, opt CloneOptions) error {
	if mounted, err := isMounted(o.root(uuid)); err != nil || mounted {
		return err
	}
	was.Options = opt
	if err := writeJSON(filepath.Join(o.jail(uuid), "clone.json"), was, true); err != nil {
		return err
	}
	return o.materialize(ctx, Object{KindJail, uuid})
}

func (o *Overlay) clone(ctx context.Context, imageKey, uuid string, opt CloneOptions) error {
	var was cloneRecord
	record := filepath.Join(o.jail(uuid), "clone.json")
	known := readJSON(record, &was) == nil // absent, or cut off by a power loss: it is written anew
	if known && was.Head != "" && was.ImageKey == imageKey {
		if err := o.begin(ctx, uuid, was, opt); err != nil {
			return err
		}
		was.Options = opt
	}
	if known && (was.ImageKey != imageKey || was.Options != opt) {
		return fmt.Errorf("it is a clone of %s with %+v already: destroy it first", was.ImageKey, was.Options)
	}
	mounted, err := isMounted(o.root(uuid))
	if err != nil {
		return err
	}
	if known && mounted {
		return nil
	}
	if mounted { // by a predecessor that died before it could write the record
		if err := unmountAll(o.root(uuid)); err != nil {
			return err
		}
	}
	// What is mounted is what was recorded: an image rebuilt under the same key keeps its old clones as they are.
	now := cloneRecord{ImageKey: imageKey, Top: was.Top, Options: opt}
	if !known {
		img, err := o.readImage(imageKey)
		if err != nil {
			return err
		}
		now.Top = img.Top
	}
	below, err := o.stackOf(now.Top)
	if err != nil {
		return err
	}
	if err := o.prepare(uuid, below.lowers[0]); err != nil {
		return err
	}
	if !known {
		if err := writeJSON(record, now, false); err != nil {
			return err
		}
	}
	return o.mount(overlayMount{
		name: "rexcarcer-jail", target: o.root(uuid), lowers: below.lowers, host: below.host,
		upper: o.upper(uuid), work: o.work(uuid), volatile: opt.Volatile,
	}, opt.IDMap)
}

// prepare makes the directories of a clone. An upper layer that was volatile and was not destroyed may lack anything:
// the kernel refuses to mount it again, and it begins anew.
func (o *Overlay) prepare(uuid, lower string) error {
	if _, err := os.Lstat(filepath.Join(o.work(uuid), "work", "incompat", "volatile")); err == nil {
		if err := o.discard(filepath.Join(o.jail(uuid), "rw")); err != nil {
			return err
		}
	}
	for _, d := range []struct {
		path string
		mode os.FileMode
	}{
		{o.jail(uuid), 0o711},
		{filepath.Join(o.jail(uuid), "rw"), 0o700},
		{o.work(uuid), 0o700},
		{o.root(uuid), 0o755},
	} {
		if err := os.Mkdir(d.path, d.mode); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	err := os.Mkdir(o.upper(uuid), 0o755)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return sameRoot(o.upper(uuid), lower)
}

// Bind implements Store.
func (o *Overlay) Bind(ctx context.Context, uuid, name, source string, opt BindOptions) (string, error) {
	if err := errors.Join(checkUUID(uuid), checkName("volume name", name)); err != nil {
		return "", err
	}
	if err := o.needIDMap(opt.IDMap); err != nil {
		return "", fmt.Errorf("bind %s for jail %s: %w", source, uuid, err)
	}
	unlock, err := o.keys.lock(ctx, uuid)
	if err != nil {
		return "", err
	}
	defer unlock()
	at := filepath.Join(o.jail(uuid), "vol", name)
	if err := o.bind(at, source, opt); err != nil {
		return "", fmt.Errorf("bind %s for jail %s: %w", source, uuid, err)
	}
	return at, nil
}

func (o *Overlay) bind(at, source string, opt BindOptions) error {
	src, err := os.Stat(source)
	if err != nil {
		return err
	}
	if !src.IsDir() {
		return errors.New("not a directory")
	}
	if err := os.MkdirAll(at, 0o711); err != nil {
		return err
	}
	mounted, err := isMounted(at)
	if err != nil {
		return err
	}
	if mounted {
		if same, err := sameMount(at, src, opt); err != nil || same {
			return err
		}
		if err := unmountAll(at); err != nil {
			return err
		}
	}
	err = o.ns.use(opt.IDMap, func(userns int) error { return bindMapped(source, at, userns, opt.ReadOnly) })
	if errors.Is(err, syscall.EINVAL) && !opt.IDMap.IsZero() {
		return fmt.Errorf("%w: its file system has no id-mapped mounts; keep it on ext4, xfs, btrfs or tmpfs, or give the jail no id range", err)
	}
	return err
}

// sameMount reports whether at shows the directory src with the wanted owner and mode of writing.
func sameMount(at string, src os.FileInfo, opt BindOptions) (bool, error) {
	got, err := os.Stat(at)
	if err != nil {
		return false, err
	}
	a, b := got.Sys().(*syscall.Stat_t), src.Sys().(*syscall.Stat_t)
	want := b.Uid
	if !opt.IDMap.IsZero() && b.Uid < opt.IDMap.Size {
		want = opt.IDMap.HostBase + b.Uid
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(at, &st); err != nil {
		return false, err
	}
	readOnly := st.Flags&syscall.MS_RDONLY != 0
	return a.Dev == b.Dev && a.Ino == b.Ino && a.Uid == want && readOnly == opt.ReadOnly, nil
}

// Unmount implements Store.
func (o *Overlay) Unmount(ctx context.Context, uuid string) error {
	if err := checkUUID(uuid); err != nil {
		return err
	}
	unlock, err := o.keys.lock(ctx, uuid)
	if err != nil {
		return err
	}
	defer unlock()
	return o.unmountJail(uuid)
}

func (o *Overlay) unmountJail(uuid string) error {
	vols, err := os.ReadDir(filepath.Join(o.jail(uuid), "vol"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("unmount jail %s: %w", uuid, err)
	}
	for _, v := range vols {
		if err := unmountAll(filepath.Join(o.jail(uuid), "vol", v.Name())); err != nil {
			return fmt.Errorf("unmount jail %s: %w", uuid, err)
		}
	}
	if err := unmountAll(o.root(uuid)); err != nil {
		return fmt.Errorf("unmount jail %s: %w", uuid, err)
	}
	return nil
}

// Destroy implements Store.
func (o *Overlay) Destroy(ctx context.Context, uuid string) error {
	if err := checkUUID(uuid); err != nil {
		return err
	}
	unlock, err := o.keys.lock(ctx, uuid)
	if err != nil {
		return err
	}
	defer unlock()
	if err := o.unmountJail(uuid); err != nil {
		return err
	}
	if err := o.discard(o.jail(uuid)); err != nil {
		return fmt.Errorf("destroy clone of jail %s: %w", uuid, err)
	}
	return nil
}
