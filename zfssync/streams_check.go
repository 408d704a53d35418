package zfssync

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
)

// check refuses names that are not safe as a file or dataset name.
func (o Object) check() error {
	switch o.Kind {
	case KindLayer:
		_, err := digestOf(o.Name)
		return err
	case KindVolume:
		return checkName("volume", o.Name)
	case KindJail:
		return checkUUID(o.Name)
	}
	return fmt.Errorf("object kind %q: want layer, volume or jail", o.Kind)
}

// lockName is what keyLocks knows the object as: Clone, Volume and the rest lock the same name.
func (o Object) lockName() string {
	if o.Kind == KindVolume {
		return "volume " + o.Name
	}
	return o.Name
}

// checkReceive refuses what can be refused before a byte is read.
func checkReceive(o Object, opt ReceiveOptions, reads Format) error {
	if err := errors.Join(o.check(), checkName("snapshot", opt.Snapshot)); err != nil {
		return err
	}
	if opt.Format != reads && opt.Format != FormatTar {
		return fmt.Errorf("a %s stream: %w: this host stores in %s; move it to a host of its kind", opt.Format, ErrFormat, reads)
	}
	if opt.GUID == "" {
		return errors.New("the snapshot's GUID is missing")
	}
	for _, key := range []string{opt.Layer, opt.Image} {
		if key == "" {
			continue
		}
		if _, err := digestOf(key); err != nil {
			return err
		}
	}
	if o.Kind == KindJail && (opt.Layer == "" || opt.Image == "") {
		return errors.New("a jail's stream needs the keys of its image and of that image's top layer")
	}
	return nil
}

// noSpace marks errors that mean a full disk, pool or quota.
func noSpace(err error) error {
	if err == nil || errors.Is(err, ErrNoSpace) {
		return err
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

// snapshotOf returns the snapshot called name, "" for the newest; ErrNotFound.
func snapshotOf(list []Snapshot, obj Object, name string) (Snapshot, error) {
	for _, s := range slices.Backward(list) {
		if name == "" || s.Name == name {
			return s, nil
		}
	}
	if name == "" {
		return Snapshot{}, fmt.Errorf("%s has no snapshot: %w", obj, ErrNotFound)
	}
	return Snapshot{}, fmt.Errorf("%s has no snapshot %s: %w", obj, name, ErrNotFound)
}
