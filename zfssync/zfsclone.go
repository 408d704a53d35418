package zfssync

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Clone implements Store.
func (s *ZFS) Clone(ctx context.Context, imageKey, uuid string, opt CloneOptions) (string, error) {
	if err := checkUUID(uuid); err != nil {
		return "", err
	}
	if err := s.needIDMap(opt.IDMap); err != nil {
		return "", fmt.Errorf("clone for jail %s: %w", uuid, err)
	}
	opt.Volatile = false // see Features
	unlock, err := s.keys.lock(ctx, uuid)
	if err != nil {
		return "", err
	}
	defer unlock()
	root, err := s.clone(ctx, imageKey, uuid, opt)
	if err != nil {
		return "", fmt.Errorf("clone image %s for jail %s: %w", imageKey, uuid, noSpace(err))
	}
	return root, nil
}

func (s *ZFS) clone(ctx context.Context, imageKey, uuid string, opt CloneOptions) (string, error) {
	ds, at := s.ds("jail", uuid), s.at("jail", uuid)
	was := s.own(ds)
	if was == nil {
		if err := s.newClone(ctx, imageKey, ds, opt); err != nil {
			return "", err
		}
	} else if err := s.sameClone(ctx, ds, was, imageKey, opt); err != nil {
		return "", err
	}
	if err := s.mountAt(ctx, ds, at); err != nil {
		return "", err
	}
	if err := os.Mkdir(s.jail(uuid), 0o711); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	return s.expose(at, s.layout.root(uuid), opt.IDMap)
}

func (s *ZFS) newClone(ctx context.Context, imageKey, ds string, opt CloneOptions) error {
	img, err := s.Image(imageKey)
	if err != nil {
		return err
	}
	from, _ := s.layerSet(img.Top)
	props, err := jailProps(imageKey, img.Top, opt)
	if err != nil {
		return err
	}
	err = s.z.clone(ctx, from+"@"+LayerSnapshot, ds, s.mine(props...)...)
	if errors.Is(err, errExists) { // made by a call of ours that was cut off; or by somebody else
		if err := s.refresh(ctx, ds); err != nil {
			return err
		}
		if was := s.own(ds); was != nil {
			return s.sameClone(ctx, ds, was, imageKey, opt)
		}
		return fmt.Errorf("dataset %s was not made by this host: remove or rename it", ds)
	}
	if err != nil {
		return err
	}
	// What a look at the pool would tell is known, and a start waits for this.
	set := zset{"origin": {from + "@" + LayerSnapshot, "-"}}
	for _, p := range s.mine(props...) {
		set[p.name] = zprop{p.value, "local"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.index[ds] = set
	return nil
}

func jailProps(imageKey, top string, opt CloneOptions) ([]assign, error) {
	b, err := json.Marshal(opt)
	if err != nil {
		return nil, err
	}
	return []assign{{propImage, imageKey}, {propLayer, top}, {propOptions, string(b)}}, nil
}

func jailOptions(set zset) (opt CloneOptions, err error) {
	err = json.Unmarshal([]byte(set.local(propOptions)), &opt)
	return opt, err
}

// sameClone checks that a clone that is there is the wanted one. The ids of one that is not mounted may change: on disk
// there are those of the jail.
func (s *ZFS) sameClone(ctx context.Context, ds string, was zset, imageKey string, opt CloneOptions) error {
	has, err := jailOptions(was)
	if err != nil {
		return fmt.Errorf("dataset %s: its %s is broken: %w; destroy the jail's root", ds, propOptions, err)
	}
	if was.local(propImage) != imageKey {
		return fmt.Errorf("it is a clone of %s with %+v already: destroy it first", was.local(propImage), has)
	}
	if has == opt {
		return nil
	}
	if mounted, err := isMounted(s.at("jail", filepath.Base(ds))); err != nil || mounted {
		return errors.Join(err, fmt.Errorf("it is mounted with %+v already: unmount it first", has))
	}
	props, err := jailProps(imageKey, was.local(propLayer), opt)
	if err != nil {
		return err
	}
	if err := s.z.set(ctx, ds, props[2]); err != nil {
		return err
	}
	return s.refresh(ctx, ds)
}

// Bind implements Store.
func (s *ZFS) Bind(ctx context.Context, uuid, name, source string, opt BindOptions) (string, error) {
	if err := errors.Join(checkUUID(uuid), checkName("volume name", name)); err != nil {
		return "", err
	}
	if err := s.needIDMap(opt.IDMap); err != nil {
		return "", fmt.Errorf("bind %s for jail %s: %w", source, uuid, err)
	}
	unlock, err := s.keys.lock(ctx, uuid)
	if err != nil {
		return "", err
	}
	defer unlock()
	at := filepath.Join(s.jail(uuid), "vol", name)
	if err := s.bind(ctx, at, source, opt); err != nil {
		return "", fmt.Errorf("bind %s for jail %s: %w", source, uuid, err)
	}
	return at, nil
}

func (s *ZFS) bind(ctx context.Context, at, source string, opt BindOptions) error {
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
		if same, err := s.mnt.same(at, source, src, opt); err != nil || same {
			return err
		}
		if err := unmountAll(at); err != nil {
			return err
		}
	}
	return s.mnt.bind(ctx, source, at, opt)
}

// Unmount implements Store.
func (s *ZFS) Unmount(ctx context.Context, uuid string) error {
	if err := checkUUID(uuid); err != nil {
		return err
	}
	unlock, err := s.keys.lock(ctx, uuid)
	if err != nil {
		return err
	}
	defer unlock()
	return s.unmountJail(uuid)
}

func (s *ZFS) unmountJail(uuid string) error {
	if err := errors.Join(s.mnt.unmount(s.jail(uuid)), s.mnt.unmount(s.at("jail", uuid))); err != nil {
		return fmt.Errorf("unmount jail %s: %w", uuid, err)
	}
	return nil
}

// Destroy implements Store.
func (s *ZFS) Destroy(ctx context.Context, uuid string) error {
	if err := checkUUID(uuid); err != nil {
		return err
	}
	unlock, err := s.keys.lock(ctx, uuid)
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.unmountJail(uuid); err != nil {
		return err
	}
	if err := s.remove(ctx, s.ds("jail", uuid)); err != nil {
		return fmt.Errorf("destroy clone of jail %s: %w", uuid, err)
	}
	if err := removeEmpty(s.jail(uuid)); err != nil {
		return fmt.Errorf("destroy clone of jail %s: %w", uuid, err)
	}
	return nil
}

// removeEmpty removes mount points, and only what is empty: whatever is mounted there still keeps its content.
func removeEmpty(dir string) error {
	vols, err := os.ReadDir(filepath.Join(dir, "vol"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var all []string
	for _, v := range vols {
		all = append(all, filepath.Join(dir, "vol", v.Name()))
	}
	for _, p := range append(all, filepath.Join(dir, "vol"), filepath.Join(dir, "root"), dir) {
		if err := os.Remove(p); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}
