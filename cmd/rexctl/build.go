package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/spec"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

// buildMissing builds the images of a plan that no host has. It runs before
// anything is committed: a step that fails leaves the cluster as it was.
func buildMissing(c *cli.Context, client *api.Client, p *planned) error {
	if err := warnQuotas(c, client, p.wish); err != nil {
		return err
	}
	if len(p.wish.Images) == 0 {
		return nil
	}
	if err := pinBases(c.Context, client, p.wish, true); err != nil {
		return err
	}
	builds, err := client.Builds(c.Context)
	if err != nil {
		return err
	}
	have := map[string]bool{}
	for _, b := range builds {
		have[b.Key] = len(b.Hosts) > 0
	}
	own := map[string]string{}
	for _, img := range basesFirst(p.wish.Images) {
		own[img.Name] = img.Key
		if have[img.Key] {
			continue
		}
		if key := own[img.Base]; key != "" {
			img.BaseDigest = key // in the cluster its name means nothing yet, or what it meant before
		}
		if _, err := buildOne(c, client, img, filepath.Join(p.dir, filepath.FromSlash(path.Dir(img.Rexfile))), buildOptions{}); err != nil {
			return fmt.Errorf("%w\n  nothing was applied", err)
		}
		have[img.Key] = true
	}
	return nil
}

// basesFirst orders images so that each comes after the one it is based on.
func basesFirst(images []spec.Image) []spec.Image {
	byName := map[string]spec.Image{}
	for _, img := range images {
		byName[img.Name] = img
	}
	var out []spec.Image
	done := map[string]bool{}
	var visit func(img spec.Image)
	visit = func(img spec.Image) {
		if done[img.Name] {
			return
		}
		done[img.Name] = true // before its base: a circle, which spec refuses, would end here too
		if base, ok := byName[img.Base]; ok {
			visit(base)
		}
		out = append(out, img)
	}
	for _, img := range images {
		visit(img)
	}
	return out
}

// copied lists what an image's COPY steps take, as spec digested it.
func copied(img spec.Image) []string {
	var all []string
	seen := map[string]bool{}
	for _, s := range img.Steps {
		if s.Kind != spec.StepCopy {
			continue
		}
		for _, src := range s.Src {
			if !seen[src] {
				seen[src] = true
				all = append(all, src)
			}
		}
	}
	return all
}

// buildOptions are what image build can say, and apply does not.
type buildOptions struct {
	tag, keep bool
	timeout   time.Duration
}

// buildOne builds img from the build context dir.
func buildOne(c *cli.Context, client *api.Client, img spec.Image, dir string, o buildOptions) (api.BuildResult, error) {
	show := &buildProgress{e: envOf(c), name: img.Name, quiet: c.Bool("quiet"), begin: time.Now()}
	var content io.Reader
	var packed *packing
	if src := copied(img); len(src) > 0 {
		var err error
		if packed, err = pack(dir, src); err != nil {
			return api.BuildResult{}, fmt.Errorf("build image %s: %w", img.Name, err)
		}
		defer packed.close()
		content = packed
	}
	res, err := client.Build(c.Context, api.BuildRequest{Image: img, Content: content, Keep: o.keep, Timeout: o.timeout}, o.tag, show.event)
	show.end()
	if packed != nil {
		if changed := packed.differs(img.Context); changed != nil {
			return res, fmt.Errorf("build image %s: %w", img.Name, changed)
		}
	}
	if err != nil {
		return res, show.failed(err)
	}
	show.say("image %s: built in %s, %s, %s, %d cached", img.Name, time.Since(show.begin).Round(100*time.Millisecond), size(res.Bytes), plural(res.Built, "step"), res.Cached)
	return res, nil
}

// packing is a build context that is packed while it is sent.
type packing struct {
	*io.PipeReader
	done   chan struct{}
	digest string // valid after done
	err    error  // valid after done
}

func pack(dir string, src []string) (*packing, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the build context: %w", err)
	}
	r, w := io.Pipe()
	p := &packing{PipeReader: r, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.digest, p.err = zfssync.PackContext(root, src, w)
		_ = w.CloseWithError(p.err) // a pipe's CloseWithError never fails
		_ = root.Close()            // was only read
	}()
	return p, nil
}

func (p *packing) close() {
	_ = p.Close() // ends PackContext if it still runs
	<-p.done
}

// differs is an error if all was packed and is not what was planned.
func (p *packing) differs(want string) error {
	select {
	case <-p.done:
	default:
		return nil // the server stopped reading: it says why
	}
	switch {
	case errors.Is(p.err, io.ErrClosedPipe):
		return nil
	case p.err != nil:
		return p.err
	case p.digest != want:
		return errors.New("the files that COPY takes have changed since the plan was made\n  try: rexctl plan again")
	}
	return nil
}

// buildProgress shows a build: a line for each step and, on a terminal, the
// newest line of output below it.
type buildProgress struct {
	e      *env
	name   string
	quiet  bool
	begin  time.Time
	live   bool     // an unfinished line is on the terminal
	step   string   // the step that runs
	last   []string // newest output, for a failure
	rate   time.Time
	seen   int64
	perSec float64
}

// keptLines of output are shown when a step fails.
const keptLines = 20

func (b *buildProgress) event(e api.BuildEvent) {
	switch e.State {
	case "output":
		for line := range strings.Lines(e.Text) {
			b.output(clean(strings.TrimRight(line, "\r\n")))
		}
	case "start", "cached", "done":
		b.begun(e)
	}
	if e.Total > 0 || e.Bytes > 0 {
		b.bytes(e)
	}
}

func (b *buildProgress) begun(e api.BuildEvent) {
	what := fmt.Sprintf("step %d/%d %s", e.Step, e.Steps, e.Text)
	if e.Step == 0 {
		what = "base " + e.Text
	}
	what = clean(what)
	switch e.State {
	case "cached":
		b.say("image %s: %s (cached)", b.name, what)
	case "start":
		b.step, b.last = what, nil
		b.say("image %s: %s", b.name, what)
	}
}

func (b *buildProgress) output(line string) {
	if b.last = append(b.last, line); len(b.last) > keptLines {
		b.last = b.last[1:]
	}
	b.liveLine("  " + line)
}

// bytes shows rate and time left, at most a few times per second.
func (b *buildProgress) bytes(e api.BuildEvent) {
	now := time.Now()
	if gap := now.Sub(b.rate); gap < 200*time.Millisecond {
		return
	} else if !b.rate.IsZero() && e.Bytes >= b.seen {
		b.perSec = float64(e.Bytes-b.seen) / gap.Seconds()
	}
	b.rate, b.seen = now, e.Bytes
	text := fmt.Sprintf("  %s, %s/s", size(e.Bytes), size(int64(b.perSec)))
	if e.Total > 0 {
		text = fmt.Sprintf("  %s of %s, %s/s", size(e.Bytes), size(e.Total), size(int64(b.perSec)))
		if b.perSec > 0 {
			left := time.Duration(float64(e.Total-e.Bytes) / b.perSec * float64(time.Second))
			text += ", " + left.Round(time.Second).String() + " left"
		}
	}
	b.liveLine(text)
}

func (b *buildProgress) liveLine(text string) {
	if !b.e.errTTY || b.quiet {
		return
	}
	const width = 100
	if r := []rune(text); len(r) > width {
		text = string(r[:width])
	}
	_, _ = fmt.Fprintf(b.e.stderr, "\r\x1b[K%s", text)
	b.live = true
}

func (b *buildProgress) end() {
	if b.live {
		_, _ = fmt.Fprint(b.e.stderr, "\r\x1b[K")
		b.live = false
	}
}

func (b *buildProgress) say(format string, args ...any) {
	b.end()
	if !b.quiet {
		b.e.note(format, args...)
	}
}

// failed adds the step and its last output to a build's error.
func (b *buildProgress) failed(err error) error {
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("build image %s: given up", b.name)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "build image %s", b.name)
	if b.step != "" {
		fmt.Fprintf(&text, ": %s", b.step)
	}
	if strings.Contains(err.Error(), "\n    | ") {
		b.last = nil // the daemon shows the end of the output itself
	}
	for _, line := range b.last {
		fmt.Fprintf(&text, "\n  | %s", line)
	}
	return fmt.Errorf("%s\n%w", text.String(), err)
}
