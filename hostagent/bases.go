package hostagent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"strings"
	"time"
	"unicode"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/hostagent/build"
	"github.com/rexcarcer/rexcarcer/zfssync"
	"github.com/rexcarcer/rexcarcer/zfssync/bundle"
	"github.com/rexcarcer/rexcarcer/zfssync/source"
)

func (a *Agent) newSources() *source.Sources {
	return source.New(source.Config{
		Dir: filepath.Join(a.c.Dir, "bases"), Trusted: a.trusted, Now: a.c.Clock, Platform: runtime.GOOS + "/" + runtime.GOARCH, Log: a.c.Log,
	})
}

// trusted are the signers that the cluster trusts now. One that cannot be read counts for nothing.
func (a *Agent) trusted() []bundle.Signer {
	var out []bundle.Signer
	for _, s := range a.c.Cluster.State().Signers.All {
		signer, err := bundle.ParseSigner([]byte(s.PEM))
		if err != nil || signer.Fingerprint != s.Fingerprint {
			a.c.Log.Error("a signer's certificate cannot be read: take it away and trust it again", "signer", s.Name, "err", err)
			continue
		}
		out = append(out, signer)
	}
	return out
}

// LookBase says what a reference to a base means now. An empty Digest: it has none, because the host makes such a base
// itself. known is what it meant before, nil for nothing; something older is refused unless downgrade. What is refused is
// told to the cluster.
func (a *Agent) LookBase(ctx context.Context, ref string, known *fsm.Base, downgrade bool) (fsm.Base, error) {
	if !a.sources.Handles(ref) {
		return fsm.Base{Ref: ref}, nil
	}
	if a.features.Simulated {
		digest := sha256.Sum256([]byte(ref))
		return fsm.Base{Ref: ref, Kind: "simulated", Digest: "sha256:" + hex.EncodeToString(digest[:])}, nil
	}
	o, err := a.sources.Look(ctx, ref)
	if err == nil && known != nil {
		next := bundle.Verified{Meta: bundle.Meta{Name: "base " + ref, Version: o.Version, Created: o.Created, Digest: o.Digest}}
		err = next.After(bundle.Known{Version: known.Version, Created: known.Created.Time(), Digest: known.Digest}, downgrade)
	}
	if err != nil {
		a.tellRefusal(ctx, ref, err)
		return fsm.Base{}, err
	}
	b := fsm.Base{Ref: ref, Kind: o.Kind, Digest: o.Digest, Version: o.Version, Platform: o.Platform, Signer: o.Signer, SignedBy: o.SignedBy, Bytes: o.Bytes}
	if !o.Created.IsZero() {
		b.Created = fsm.TimeOf(o.Created)
	}
	if d := o.Defaults; d != nil {
		b.Defaults = &fsm.Defaults{Env: d.Env, Command: d.Command, User: d.User, WorkDir: d.WorkDir}
	}
	return b, nil
}

// UploadBase keeps what a user sends as upload:NAME, see source.Sources.Upload.
func (a *Agent) UploadBase(ctx context.Context, name string, next func() (file string, content io.Reader, err error)) error {
	if a.features.Simulated {
		return errors.New("images are simulated here: nothing can be uploaded")
	}
	if err := a.afterSweep(ctx); err != nil {
		return err
	}
	return a.builder.Guarded(ctx, func(ctx context.Context) error { return a.sources.Upload(ctx, name, next) })
}

// buildSources are the sources as a build uses them.
type buildSources struct{ a *Agent }

func (s buildSources) Handles(ref string) bool { return s.a.sources.Handles(ref) }

func (s buildSources) Fetch(ctx context.Context, ref, digest string, progress source.Progress) (source.Fetched, error) {
	f, err := s.a.sources.Fetch(ctx, ref, digest, progress)
	if err != nil {
		s.a.tellRefusal(ctx, ref, err)
	}
	return f, err
}

// defaultsOf tells how a pinned base says that processes start.
func (a *Agent) defaultsOf(ref, digest string) (build.Defaults, error) {
	if !strings.HasPrefix(ref, "oci:") {
		return build.Defaults{}, nil // nothing else says any
	}
	b, ok := a.c.Cluster.State().Bases.Get(ref)
	switch {
	case !ok || b.Digest != digest:
		return build.Defaults{}, fmt.Errorf("base %s: the cluster no longer knows %.19s, with which the image was planned: plan again", ref, digest)
	case b.Defaults == nil:
		return build.Defaults{}, nil
	}
	return build.Defaults{Env: b.Defaults.Env, Command: b.Defaults.Command, User: b.Defaults.User, WorkDir: b.Defaults.WorkDir}, nil
}

// tellRefusal makes an event of a refusal. The caller has the error as well, so a cluster without a leader is not waited for.
func (a *Agent) tellRefusal(ctx context.Context, ref string, err error) {
	r, ok := bundle.IsRefusal(err)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	cmd := fsm.RefuseBase{Ref: ref, Host: a.c.Host, Reason: string(r.Reason), Text: printable(r.Text, 1000)}
	if err := a.propose(ctx, cmd); err != nil {
		a.c.Log.Warn("a refused base could not be told to the cluster", "base", ref, "reason", string(r.Reason), "err", err)
	}
}

// printable keeps at most so many characters of s, and none that a log or terminal would obey.
func printable(s string, most int) string {
	out := make([]rune, 0, min(len(s), most))
	for _, r := range s {
		if len(out) == most {
			break
		}
		if !unicode.IsPrint(r) {
			r = ' '
		}
		out = append(out, r)
	}
	return string(out)
}

// ExportImage writes the root file system of what a name of the cluster means; see build.Builder.Export.
func (a *Agent) ExportImage(ctx context.Context, name, format string, open func(format zfssync.Format) io.Writer) error {
	if a.features.Simulated {
		return errors.New("images are simulated here: there is nothing to export")
	}
	key, ok := a.imageKey(name)
	if !ok {
		return fmt.Errorf("image %s: %w", name, zfssync.ErrNotFound)
	}
	if err := errors.Join(a.afterSweep(ctx), a.fetch(ctx, name, key)); err != nil {
		return err
	}
	return a.builder.Export(ctx, key, format, open)
}
