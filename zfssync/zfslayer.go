package zfssync

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
)

// layerSet finds the dataset of a layer. Two hosts that made the same layer have it with different GUIDs; a delta that was
// made above the other host's needs that one too, and it is kept beside ours as <digest>.<guid>.
func (s *ZFS) layerSet(key string) (ds string, set zset) {
	digest, err := digestOf(key)
	if err != nil {
		return "", nil
	}
	for _, ds := range s.variants(digest) {
		if set := s.own(ds); set.local(propLayer) == key && s.known(ds+"@"+LayerSnapshot) != nil {
			return ds, set
		}
	}
	return "", nil
}

// variants are the datasets that may hold a layer, the one made here first.
func (s *ZFS) variants(digest string) []string {
	out := []string{s.ds("layer", digest)}
	for _, name := range s.members("layer") {
		if strings.HasPrefix(name, digest+".") {
			out = append(out, s.ds("layer", name))
		}
	}
	return out
}

// HasLayer implements Store.
func (s *ZFS) HasLayer(key string) bool {
	_, set := s.layerSet(key)
	return set != nil
}

// chain returns the keys below layer key, nearest first.
func (s *ZFS) chain(key string) ([]string, error) {
	var out []string
	for range maxLayers {
		_, set := s.layerSet(key)
		if set == nil {
			return nil, fmt.Errorf("layer %s: %w", key, ErrNotFound)
		}
		if key = set.local(propParent); key == "" {
			return out, nil
		}
		out = append(out, key)
	}
	return nil, fmt.Errorf("layer %s: more than %d layers below each other", out[0], maxLayers)
}

// Layer implements Store.
func (s *ZFS) Layer(key string) (LayerInfo, error) {
	if _, err := digestOf(key); err != nil {
		return LayerInfo{}, err
	}
	below, err := s.chain(key)
	if err != nil {
		return LayerInfo{}, err
	}
	_, set := s.layerSet(key)
	return LayerInfo{Key: key, Parents: below, Base: set.local(propBase), Bytes: set.number("used"), CreatedAt: set.created()}, nil
}

// Hold implements Store.
func (s *ZFS) Hold() func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holds++
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.holds--
	})
}

// zstep is a layer in the making.
type zstep struct {
	s     *ZFS
	name  string // below staging
	key   string
	root  string
	props []assign

	mu   sync.Mutex // guards done
	done bool
}

// newStep reserves a name in staging.
func (s *ZFS) newStep(key string) *zstep {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails, see crypto/rand
	st := &zstep{s: s, name: "step-" + hex.EncodeToString(id[:]), key: key, props: []assign{{propLayer, key}}}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active[st.ds()] = true
	return st
}

func (t *zstep) ds() string { return t.s.ds("staging", t.name) }

func (t *zstep) at() string { return t.s.at("staging", t.name) }

// Root implements Build.
func (t *zstep) Root() string { return t.root }

// BeginStep implements Store.
func (s *ZFS) BeginStep(ctx context.Context, parent, key string, ids IDMap) (Build, error) {
	if _, err := digestOf(key); err != nil {
		return nil, err
	}
	if err := s.needIDMap(ids); err != nil {
		return nil, err
	}
	below, err := s.chain(parent)
	if err != nil {
		return nil, fmt.Errorf("begin layer %s: parent: %w", key, err)
	}
	if len(below)+2 > maxLayers {
		return nil, fmt.Errorf("begin layer %s: an image has at most %d layers: join RUN lines by &&", key, maxLayers)
	}
	t := s.newStep(key)
	if err := t.begin(ctx, parent, ids); err != nil {
		return nil, errors.Join(fmt.Errorf("begin layer %s: %w", key, err), t.Abort())
	}
	return t, nil
}

func (t *zstep) begin(ctx context.Context, parent string, ids IDMap) error {
	from, _ := t.s.layerSet(parent)
	t.props = append(t.props, assign{propParent, parent})
	if err := t.s.z.clone(ctx, from+"@"+LayerSnapshot, t.ds(), t.s.mine(t.props...)...); err != nil {
		return noSpace(err)
	}
	if err := t.s.mountAt(ctx, t.ds(), t.at()); err != nil {
		return err
	}
	var err error
	t.root, err = t.s.expose(t.at(), t.s.builds()+"/"+t.name, ids)
	return err
}

// expose shows a mounted dataset with the ids of a jail: as it is where there are none.
func (s *ZFS) expose(mounted, at string, ids IDMap) (root string, err error) {
	if ids.IsZero() {
		return mounted, nil
	}
	if err := os.Mkdir(at, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	already, err := isMounted(at)
	if err != nil || already {
		return at, err
	}
	return at, s.mnt.bind(context.Background(), mounted, at, BindOptions{IDMap: ids})
}

// needIDMap says why ids cannot be mapped.
func (s *ZFS) needIDMap(ids IDMap) error {
	if err := ids.check(); err != nil {
		return err
	}
	if !ids.IsZero() && !s.feat.IDMap {
		return fmt.Errorf("id range %d+%d: %s; give the jail no range", ids.HostBase, ids.Size, s.feat.IDMapReason)
	}
	return nil
}

// Commit implements Build.
func (t *zstep) Commit(ctx context.Context) error { return t.CommitAs(ctx, t.key) }

// CommitAs implements Build.
func (t *zstep) CommitAs(ctx context.Context, key string) (err error) {
	if _, err := digestOf(key); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done {
		return fmt.Errorf("commit layer %s: it is committed or aborted already", t.key)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("commit layer %s: %w", key, noSpace(err))
		}
		err = errors.Join(err, t.drop())
	}()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := t.unmount(); err != nil {
		return err
	}
	if key != t.key {
		if err := t.s.z.set(ctx, t.ds(), assign{propLayer, key}); err != nil {
			return err
		}
	}
	if err := t.s.z.snapshot(ctx, t.ds()+"@"+LayerSnapshot); err != nil {
		return err
	}
	return t.s.commitLayer(ctx, t.ds(), key, false)
}

// commitLayer renames a dataset that has its snapshot into its place. variant: a layer of that key with another GUID may
// be there.
func (s *ZFS) commitLayer(ctx context.Context, staged, key string, variant bool) error {
	digest, err := digestOf(key)
	if err != nil {
		return err
	}
	to := s.ds("layer", digest)
	if variant && s.HasLayer(key) {
		if err := s.refresh(ctx, staged); err != nil {
			return err
		}
		to += "." + s.known(staged+"@"+LayerSnapshot).value("guid")
	}
	err = s.z.rename(ctx, staged, to)
	if errors.Is(err, errExists) {
		if rerr := s.refresh(ctx, to); rerr == nil && s.HasLayer(key) {
			return nil // another one was faster; ours goes with staging
		}
	}
	if err != nil {
		return err
	}
	return s.refresh(ctx, to)
}

// Abort implements Build.
func (t *zstep) Abort() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done {
		return nil
	}
	if err := t.drop(); err != nil {
		return fmt.Errorf("abort layer %s: %w", t.key, err)
	}
	return nil
}

// unmount takes down the step's root with whatever was mounted below it. What was written is on its way to the pool
// before: an unmount that has to be lazy does not wait for that.
func (t *zstep) unmount() error {
	if mounted, err := isMounted(t.at()); err != nil {
		return err
	} else if mounted {
		if err := syncFS(t.at()); err != nil {
			return err
		}
	}
	at := t.s.builds() + "/" + t.name
	if err := errors.Join(t.s.mnt.unmount(at), t.s.mnt.unmount(t.at())); err != nil {
		return err
	}
	if err := os.Remove(at); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// drop removes what is left in staging. It must work when the caller's time is over, too. What it cannot remove now, a
// Sweep will.
func (t *zstep) drop() error {
	t.done = true
	ctx, cancel := context.WithTimeout(context.Background(), zfsTime)
	defer cancel()
	err := t.unmount()
	if err == nil {
		err = t.s.remove(ctx, t.ds())
	}
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	delete(t.s.active, t.ds())
	return err
}

// dropLayers removes the layers that are not needed, the highest first, unless a build holds them.
func (s *ZFS) dropLayers(ctx context.Context, keys []string, need map[string]bool, keepBases bool) (removed []string, err error) {
	s.mu.Lock()
	held := s.holds > 0
	s.mu.Unlock()
	if held {
		return nil, nil
	}
	type found struct {
		key   string
		depth int
	}
	var all []found
	for _, k := range keys {
		below, err := s.chain(k)
		_, set := s.layerSet(k)
		if err != nil || need[k] || keepBases && len(below) == 0 && set.local(propBase) != "" {
			continue
		}
		all = append(all, found{k, len(below)})
	}
	slices.SortFunc(all, func(a, b found) int { return b.depth - a.depth })
	for _, l := range all {
		digest := strings.TrimPrefix(l.key, keyPrefix)
		for _, ds := range s.variants(digest) {
			err := s.remove(ctx, ds)
			if errors.Is(err, ErrInUse) {
				continue // cloned from by something that its caller does not see as needing it, such as a build
			}
			if err != nil {
				return removed, fmt.Errorf("remove layer %s: %w", l.key, err)
			}
		}
		if !s.HasLayer(l.key) {
			removed = append(removed, "layer "+l.key)
		}
	}
	return removed, nil
}
