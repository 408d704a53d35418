package zfssync

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/moby/sys/mountinfo"
)

// Volume implements Store. The quota is the dataset's refquota: of what the volume holds, without its snapshots.
func (s *ZFS) Volume(ctx context.Context, id VolumeID, quotaBytes int64) (string, error) {
	if err := checkName("volume", string(id)); err != nil {
		return "", err
	}
	unlock, err := s.keys.lock(ctx, Object{KindVolume, string(id)}.lockName())
	if err != nil {
		return "", err
	}
	defer unlock()
	at, err := s.makeVolume(ctx, id, quotaBytes)
	if err != nil {
		return "", fmt.Errorf("volume %s: %w", id, noSpace(err))
	}
	return at, nil
}

func (s *ZFS) makeVolume(ctx context.Context, id VolumeID, quotaBytes int64) (string, error) {
	ds, at := s.ds("volume", string(id)), s.at("volume", string(id))
	was := s.own(ds)
	if was == nil {
		err := s.z.create(ctx, ds, s.mine(quota(quotaBytes))...)
		if err != nil && !errors.Is(err, errExists) {
			return "", err
		}
		if err := s.refresh(ctx, ds); err != nil {
			return "", err
		}
		if was = s.own(ds); was == nil {
			return "", fmt.Errorf("dataset %s was not made by this host: remove or rename it", ds)
		}
	}
	if was.number("refquota") != quotaBytes {
		if err := s.z.set(ctx, ds, quota(quotaBytes)); err != nil {
			return "", err
		}
		if err := s.refresh(ctx, ds); err != nil {
			return "", err
		}
	}
	return at, s.mountAt(ctx, ds, at)
}

func quota(bytes int64) assign {
	if bytes <= 0 {
		return assign{"refquota", "none"}
	}
	return assign{"refquota", strconv.FormatInt(bytes, 10)}
}

// VolumeInfo implements Store.
func (s *ZFS) VolumeInfo(ctx context.Context, id VolumeID) (VolumeInfo, error) {
	info := VolumeInfo{ID: id, Bytes: -1}
	if err := checkName("volume", string(id)); err != nil {
		return info, err
	}
	ds := s.ds("volume", string(id))
	if s.own(ds) == nil {
		return info, fmt.Errorf("volume %s: %w", id, ErrNotFound)
	}
	if err := s.refresh(ctx, ds); err != nil {
		return info, fmt.Errorf("volume %s: %w", id, err)
	}
	set := s.known(ds)
	info.QuotaKept = true
	info.QuotaBytes, info.Bytes = set.number("refquota"), set.number("referenced")
	at, err := s.boundAt(id)
	if err != nil {
		return info, fmt.Errorf("volume %s: %w", id, err)
	}
	info.InUse = at != ""
	return info, nil
}

// boundAt returns one place where a volume is mounted for a jail, "" for none.
func (s *ZFS) boundAt(id VolumeID) (string, error) {
	at := s.at("volume", string(id))
	if mounted, err := isMounted(at); err != nil || !mounted {
		return "", err
	}
	return boundBelow(s.jails(), at)
}

// boundBelow returns one place below dir where the directory is mounted, "" for none.
func boundBelow(dir, what string) (string, error) {
	data, err := os.Stat(what)
	if os.IsNotExist(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		return "", fmt.Errorf("read mounts: %w", err)
	}
	for _, m := range mounts {
		if m.Source == what { // nullfs says so, and gives files a device of its own
			return m.Mountpoint, nil
		}
		if st, err := os.Stat(m.Mountpoint); err == nil && os.SameFile(st, data) {
			return m.Mountpoint, nil
		}
	}
	return "", nil
}

// DestroyVolume implements Store.
func (s *ZFS) DestroyVolume(ctx context.Context, id VolumeID) error {
	if err := checkName("volume", string(id)); err != nil {
		return err
	}
	unlock, err := s.keys.lock(ctx, Object{KindVolume, string(id)}.lockName())
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.unused(Object{KindVolume, string(id)}); err != nil {
		return fmt.Errorf("destroy volume %s: %w", id, err)
	}
	at, ds := s.at("volume", string(id)), s.ds("volume", string(id))
	for _, snap := range s.snapsOf(ds) {
		if s.heldSnaps.has(snap.full) {
			return fmt.Errorf("destroy volume %s: its snapshot %s is being sent or held: %w", id, snap.name, ErrInUse)
		}
	}
	if err := s.mnt.unmount(at); err != nil {
		return fmt.Errorf("destroy volume %s: %w", id, err)
	}
	if err := s.remove(ctx, ds); err != nil {
		return fmt.Errorf("destroy volume %s: %w", id, err)
	}
	return nil
}

// unused returns ErrInUse while a jail sees obj.
func (s *ZFS) unused(obj Object) error {
	at := ""
	var err error
	switch obj.Kind {
	case KindVolume:
		at, err = s.boundAt(VolumeID(obj.Name))
	case KindJail:
		var mounted bool
		if mounted, err = isMounted(s.at("jail", obj.Name)); mounted {
			at = s.at("jail", obj.Name)
		}
	}
	if err == nil && at != "" {
		err = fmt.Errorf("it is mounted at %s, stop the jail first: %w", at, ErrInUse)
	}
	return err
}
