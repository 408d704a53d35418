package transfer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rexcarcer/rexcarcer/zfssync"
)

// ObjectOptions say what to do with an object that comes.
type ObjectOptions struct {
	GUID       string               // of the snapshot that is wanted; "" is the newest that the first source has
	QuotaBytes int64                // of a volume that is new here
	Clone      zfssync.CloneOptions // of a jail: with what it will be mounted here
	Devices    bool                 // take device nodes of layers, too
}

// EnsureImage makes the image key complete here: nothing when it is, else its layers that are missing, lowest first, from
// any of sources. Two calls for one image do the work once.
func (c *Client) EnsureImage(ctx context.Context, key string, sources []Source) error {
	_, err := c.FetchImage(ctx, key, sources)
	return err
}

// FetchImage is EnsureImage, and says what has come, with an error too.
func (c *Client) FetchImage(ctx context.Context, key string, sources []Source) (Fetched, error) {
	begun, came := time.Now(), &tally{}
	err := c.ensureImage(ctx, key, sources, came)
	return came.since(begun), err
}

func (c *Client) ensureImage(ctx context.Context, key string, sources []Source, came *tally) error {
	release, err := c.busy.take(ctx, "image "+key)
	if err != nil {
		return err
	}
	defer release()
	if c.store.HasImage(key) {
		return nil
	}
	defer c.store.Hold()() // no sweep takes a layer before the image names it
	m, from, err := c.manifest(ctx, key, sources)
	if err != nil {
		return fmt.Errorf("fetch image %s: %w", key, err)
	}
	if err := c.layers(ctx, m, first(from, sources), came); err != nil {
		return fmt.Errorf("fetch image %s: %w", key, err)
	}
	if err := c.store.PutImage(ctx, m.Image); err != nil {
		return fmt.Errorf("fetch image %s: %w", key, err)
	}
	return nil
}

// manifest asks one source after another what the image is made of.
func (c *Client) manifest(ctx context.Context, key string, sources []Source) (Manifest, Source, error) {
	errs := []error{ErrNowhere}
	for _, src := range c.scores.order(sources, nil) {
		m, err := c.askManifest(ctx, src, key)
		if err == nil && !c.takes(m.Layers[0]) {
			err = fmt.Errorf("%s: its images are %s streams, and this host takes %s: build the image here: %w",
				src.Name, m.Layers[0].Format, c.store.Features().Format, zfssync.ErrFormat)
		}
		if err == nil {
			return m, src, nil
		}
		if ctx.Err() != nil {
			return m, src, ctx.Err()
		}
		errs = append(errs, err)
	}
	return Manifest{}, Source{}, errors.Join(errs...)
}

// takes reports whether the store here reads a stream: those of its own kind, and layers as tar.
func (c *Client) takes(s zfssync.Snapshot) bool {
	return s.Format == c.store.Features().Format || s.Format == zfssync.FormatTar && s.Object.Kind == zfssync.KindLayer
}

func (c *Client) askManifest(ctx context.Context, src Source, key string) (m Manifest, err error) {
	err = c.ask(ctx, src, func(ctx context.Context) (err error) {
		m, err = src.Manifest(ctx, key, c.store.Features().Format)
		return err
	})
	return m, err
}

// askTime bounds a question, which may have to wait for a connection and a busy pool.
const askTime = 20 * time.Second

// ask bounds a short question, and notes what went wrong.
func (c *Client) ask(ctx context.Context, src Source, question func(context.Context) error) error {
	qctx, cancel := context.WithTimeoutCause(ctx, askTime, errStall)
	defer cancel()
	err := question(qctx)
	if err != nil && ctx.Err() == nil && qctx.Err() != nil {
		err = fmt.Errorf("ask %s: %w (%v)", src.Name, errStall, askTime)
	}
	if fault := faultOf(ctx, err); fault != "" && !errors.Is(err, zfssync.ErrNotFound) { // not to have it is no fault
		c.blame(src, fault, err)
	}
	return err
}

// first puts src before the others: what it described it can give.
func first(src Source, sources []Source) []Source {
	out := []Source{src}
	for _, s := range sources {
		if s.Name != src.Name {
			out = append(out, s)
		}
	}
	return out
}

// layers brings the layers of a manifest that are missing.
func (c *Client) layers(ctx context.Context, m Manifest, sources []Source, came *tally) error {
	remote, local := Inventory{}, Inventory{}
	for _, l := range m.Layers {
		remote[l.Object] = []zfssync.Snapshot{l}
		list, err := c.store.Snapshots(ctx, l.Object)
		if err != nil {
			return err
		}
		if len(list) > 0 {
			local[l.Object] = list
		}
	}
	top := m.Layers[len(m.Layers)-1]
	steps, err := Diff(local, remote, top.Object, top.GUID)
	if err != nil {
		return err
	}
	early := c.lookAhead(ctx, steps, sources, came)
	defer early.stop()
	for i, s := range steps {
		if f := early.stream(ctx, i); f != nil {
			err = errors.Join(c.store.Receive(ctx, s.Snapshot.Object, c.options(s, ObjectOptions{}), f), early.read(f))
		} else {
			err = c.step(ctx, s, ObjectOptions{}, sources, came)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// EnsureObject makes a snapshot of a volume or a jail be here, and with a jail its image: nothing when it is, else the
// difference over the newest that both have, or all of it. It returns the snapshot.
func (c *Client) EnsureObject(ctx context.Context, o zfssync.Object, opt ObjectOptions, sources []Source) (zfssync.Snapshot, error) {
	snap, _, err := c.FetchObject(ctx, o, opt, sources)
	return snap, err
}

// FetchObject is EnsureObject, and says what has come, with an error too.
func (c *Client) FetchObject(ctx context.Context, o zfssync.Object, opt ObjectOptions, sources []Source) (zfssync.Snapshot, Fetched, error) {
	begun, came := time.Now(), &tally{}
	release, err := c.busy.take(ctx, o.String())
	if err != nil {
		return zfssync.Snapshot{}, Fetched{}, err
	}
	defer release()
	snap, err := c.ensureObject(ctx, o, opt, sources, came)
	if err != nil {
		err = fmt.Errorf("fetch %s: %w", o, err)
	}
	return snap, came.since(begun), err
}

func (c *Client) ensureObject(ctx context.Context, o zfssync.Object, opt ObjectOptions, sources []Source, came *tally) (zfssync.Snapshot, error) {
	there, at, from, err := c.offers(ctx, o, opt.GUID, sources)
	if err != nil {
		return zfssync.Snapshot{}, err
	}
	want := there[at]
	if want.Image != "" && !c.store.HasImage(want.Image) {
		if err := c.ensureImage(ctx, want.Image, first(from, sources), came); err != nil {
			return want, err
		}
	}
	here, err := c.store.Snapshots(ctx, o)
	if err != nil {
		return want, err
	}
	local := Inventory{o: here}
	if want.Layer != "" {
		l := zfssync.Object{Kind: zfssync.KindLayer, Name: want.Layer}
		if local[l], err = c.store.Snapshots(ctx, l); err != nil {
			return want, err
		}
	}
	steps, err := Diff(local, Inventory{o: there}, o, want.GUID)
	if err != nil {
		return want, err
	}
	for _, s := range steps {
		if err := c.step(ctx, s, opt, first(from, sources), came); err != nil {
			return want, err
		}
	}
	return want, nil
}

// offers asks for the snapshots of an object until a source has the one that is wanted.
func (c *Client) offers(ctx context.Context, o zfssync.Object, guid string, sources []Source) (list []zfssync.Snapshot, at int, src Source, err error) {
	errs := []error{ErrNowhere}
	for _, src := range c.scores.order(sources, nil) {
		err := c.ask(ctx, src, func(ctx context.Context) (err error) {
			list, err = src.Snapshots(ctx, o)
			return err
		})
		at = len(list) - 1
		if guid != "" {
			for at >= 0 && list[at].GUID != guid {
				at--
			}
		}
		switch {
		case ctx.Err() != nil:
			return nil, 0, src, ctx.Err()
		case err != nil:
			errs = append(errs, err)
		case at < 0:
			errs = append(errs, fmt.Errorf("%s: it has no such snapshot: %w", src.Name, zfssync.ErrNotFound))
		case !c.takes(list[at]):
			errs = append(errs, fmt.Errorf("%s: its stream is %s, and this host takes %s: %w", src.Name, list[at].Format, c.store.Features().Format, zfssync.ErrFormat))
		default:
			return list, at, src, nil
		}
	}
	return nil, 0, Source{}, errors.Join(errs...)
}
