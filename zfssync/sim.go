package zfssync

import (
	"context"
	"path/filepath"
	"slices"
	"sync"
)

// Sim is a Store that holds nothing: every image exists, every root is a
// name. It serves the simulated runtime on any system.
type Sim struct {
	mu     sync.Mutex
	clones map[string]Clone // guarded by mu; by uuid
}

// NewSim returns an empty Sim.
func NewSim() *Sim { return &Sim{clones: map[string]Clone{}} }

// Features implements Store.
func (s *Sim) Features() Features {
	const why = "simulated: nothing is stored"
	return Features{Driver: "simulated", IDMapReason: why, VolatileReason: why, QuotaReason: why}
}

// HasImage implements Store.
func (s *Sim) HasImage(string) bool { return true }

// Image implements Store.
func (s *Sim) Image(key string) (Image, error) { return Image{Key: key, Top: key}, nil }

// PutImage implements Store.
func (s *Sim) PutImage(context.Context, Image) error { return nil }

// RemoveImage implements Store.
func (s *Sim) RemoveImage(context.Context, string) error { return nil }

// HasLayer implements Store.
func (s *Sim) HasLayer(string) bool { return true }

// Hold implements Store.
func (s *Sim) Hold() func() { return func() {} }

// Base implements Store.
func (s *Sim) Base(context.Context, string, string, Progress) error { return nil }

// BeginStep implements Store.
func (s *Sim) BeginStep(context.Context, string, string, IDMap) (Build, error) {
	return simBuild{}, nil
}

// Clone implements Store.
func (s *Sim) Clone(_ context.Context, imageKey, uuid string, o CloneOptions) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := Clone{UUID: uuid, ImageKey: imageKey, Options: o, Mounted: true, Root: filepath.Join("/simulated", uuid)}
	s.clones[uuid] = c
	return c.Root, nil
}

// Bind implements Store.
func (s *Sim) Bind(_ context.Context, uuid, name, _ string, _ BindOptions) (string, error) {
	return filepath.Join("/simulated", uuid, name), nil
}

// Unmount implements Store.
func (s *Sim) Unmount(context.Context, string) error { return nil }

// Destroy implements Store.
func (s *Sim) Destroy(_ context.Context, uuid string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clones, uuid)
	return nil
}

// Volume implements Store.
func (s *Sim) Volume(_ context.Context, id VolumeID, _ int64) (string, error) {
	return filepath.Join("/simulated/volumes", string(id)), nil
}

// DestroyVolume implements Store.
func (s *Sim) DestroyVolume(context.Context, VolumeID) error { return nil }

// List implements Store.
func (s *Sim) List(context.Context) (Listing, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var l Listing
	for _, c := range s.clones {
		l.Clones = append(l.Clones, c)
	}
	slices.SortFunc(l.Clones, func(a, b Clone) int {
		if a.UUID < b.UUID {
			return -1
		}
		return 1
	})
	return l, nil
}

// Sweep implements Store.
func (s *Sim) Sweep(context.Context, Keep) ([]string, error) { return nil, nil }

// Teardown implements Store.
func (s *Sim) Teardown(context.Context) error { return nil }

// Close implements Store.
func (s *Sim) Close() error { return nil }

type simBuild struct{}

func (simBuild) Root() string                 { return "/simulated/build" }
func (simBuild) Commit(context.Context) error { return nil }
func (simBuild) Abort() error                 { return nil }

func (simBuild) CommitAs(context.Context, string) error { return nil }
