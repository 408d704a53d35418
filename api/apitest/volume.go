package apitest

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/fsm"
)

// volumes pretends: each declared volume is there, and those of jails that
// went stay. h.mu is held.
func (h *Host) lookForVolumes() {
	for i := range h.volumes {
		h.volumes[i].State = "orphan"
		h.volumes[i].Path = ""
	}
	st := h.log.State()
	dev, _ := st.Hosts.Get(string(HostID))
	kept := dev == nil || !strings.HasPrefix(dev.Features["quota"], "no")
	for name, j := range st.Jails.All {
		for _, v := range j.Spec.Volumes {
			id := j.Wish + "." + name + "." + v.Name
			i := slices.IndexFunc(h.volumes, func(s api.VolumeShow) bool { return s.Name == id })
			if i < 0 {
				h.volumes = append(h.volumes, api.VolumeShow{VolumeRow: api.VolumeRow{Name: id, Wish: j.Wish, Jail: name, Volume: v.Name, QuotaKept: kept, Bytes: 12 << 10, Host: "dev"}})
				i = len(h.volumes) - 1
			}
			s := &h.volumes[i]
			s.State, s.Path, s.QuotaBytes = "idle", v.Path, v.QuotaBytes
			if r, ok := st.Runs.Get(name); ok && !r.Phase.Over() {
				s.State = "used"
			}
		}
	}
	slices.SortFunc(h.volumes, func(a, b api.VolumeShow) int { return strings.Compare(a.Name, b.Name) })
}

// volume finds one; h.mu is held.
func (h *Host) volume(name string) (*api.VolumeShow, error) {
	h.lookForVolumes()
	for i := range h.volumes {
		if h.volumes[i].Name == name {
			return &h.volumes[i], nil
		}
	}
	return nil, &api.Error{Code: string(fsm.CodeNotFound), Object: "volume " + name, Message: "no such volume", Hint: "rexctl volume ls"}
}

// idle finds one that no jail has; h.mu is held.
func (h *Host) idle(name string) (*api.VolumeShow, error) {
	v, err := h.volume(name)
	if err == nil && v.State == "used" {
		return nil, &api.Error{Code: "failed", Object: "volume " + name, Message: "jail " + v.Jail + " has it", Hint: "rexctl jail stop " + v.Jail}
	}
	return v, err
}

// Volumes implements api.Host.
func (h *Host) Volumes(context.Context) ([]api.VolumeShow, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lookForVolumes()
	return slices.Clone(h.volumes), nil
}

// Volume implements api.Host.
func (h *Host) Volume(_ context.Context, name string) (api.VolumeShow, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	v, err := h.volume(name)
	if err != nil {
		return api.VolumeShow{}, err
	}
	return *v, nil
}

// SnapshotVolume implements api.Host: each is a minute younger than the last.
func (h *Host) SnapshotVolume(_ context.Context, name, snapshot string) (api.VolumeSnapshot, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	v, err := h.volume(name)
	if err != nil {
		return api.VolumeSnapshot{}, err
	}
	for _, s := range v.Snapshot {
		if s.Name == snapshot {
			return s, nil
		}
	}
	s := api.VolumeSnapshot{Name: snapshot, Bytes: v.Bytes, CreatedAt: Start.Add(time.Duration(v.Snapshots) * time.Minute)}
	v.Snapshot = append(v.Snapshot, s)
	v.Snapshots++
	s.Steady = v.State != "used"
	return s, nil
}

// find returns the index of a snapshot.
func find(v *api.VolumeShow, snapshot string) (int, error) {
	i := slices.IndexFunc(v.Snapshot, func(s api.VolumeSnapshot) bool { return s.Name == snapshot })
	if i < 0 {
		return 0, &api.Error{Code: string(fsm.CodeNotFound), Object: "volume " + v.Name, Message: "it has no snapshot " + snapshot, Hint: "rexctl volume show " + v.Name}
	}
	return i, nil
}

// DropVolumeSnapshot implements api.Host.
func (h *Host) DropVolumeSnapshot(_ context.Context, name, snapshot string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	v, err := h.volume(name)
	if err != nil {
		return err
	}
	i, err := find(v, snapshot)
	if err != nil {
		return err
	}
	v.Snapshot = slices.Delete(v.Snapshot, i, i+1)
	v.Snapshots--
	return nil
}

// RollbackVolume implements api.Host.
func (h *Host) RollbackVolume(_ context.Context, name string, r api.RollbackRequest) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	v, err := h.idle(name)
	if err != nil {
		return err
	}
	i, err := find(v, r.Snapshot)
	if err != nil {
		return err
	}
	if i+1 < len(v.Snapshot) && !r.DropLater {
		return &api.Error{Code: "failed", Object: "volume " + name, Message: "it has snapshots that are newer than " + r.Snapshot, Hint: "rexctl volume rollback --drop-later"}
	}
	v.Snapshot = v.Snapshot[:i+1]
	v.Snapshots = i + 1
	return nil
}

// RemoveVolume implements api.Host.
func (h *Host) RemoveVolume(_ context.Context, name string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, err := h.idle(name); err != nil {
		return err
	}
	h.volumes = slices.DeleteFunc(h.volumes, func(v api.VolumeShow) bool { return v.Name == name })
	return nil
}
