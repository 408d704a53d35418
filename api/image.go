package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

func (s *Server) listImages(r *request) error {
	st := s.state(r)
	used := map[string]int{}
	for _, j := range st.Jails.All {
		used[j.Spec.Image]++
	}
	rows := []ImageRow{}
	for name, img := range st.Images.All {
		rows = append(rows, imageRow(st, name, img, used[name]))
	}
	return r.reply(st.Index, rows)
}

func (s *Server) listBuilds(r *request) error {
	st := s.state(r)
	rows := []BuildRow{}
	for _, b := range st.Builds.All {
		rows = append(rows, BuildRow{b.Key, b.Hosts, b.Bytes, when(b.BuiltAt)})
	}
	return r.reply(st.Index, rows)
}

func (s *Server) removeImage(r *request) error {
	name := r.PathValue("name")
	if _, ok := s.cfg.Log.State().Images.Get(name); !ok {
		return notFound("image", name)
	}
	return s.propose(r, fsm.UntagImage{Name: name})
}

// maxRest bounds how much of a context is read in vain after a build failed,
// in bytes.
const maxRest = 64 << 20

// buildImage takes a form of two parts: image, then context. Nothing is in
// the log before the build has succeeded; then the log learns who holds the
// key and, with ?tag=1, what the name means.
func (s *Server) buildImage(r *request) error {
	b, tag, err := buildParams(r)
	if err != nil {
		return err
	}
	form, err := r.MultipartReader()
	if err != nil {
		return fail("bad_request", "", "send multipart/form-data with the parts image and context", "%v", err)
	}
	img := &b.Image
	part, err := form.NextPart()
	if err != nil || part.FormName() != "image" {
		return fail("bad_request", "", "send the part image first", "the form does not begin with the part image")
	}
	if err := json.NewDecoder(io.LimitReader(part, maxWish)).Decode(img); err != nil {
		return fail("bad_request", "", "", "the part image is no image: %v", err)
	}
	if img.Name == "" || img.Key == "" {
		return fail("invalid", "image "+img.Name, "", "an image needs name and key")
	}
	b.Content = strings.NewReader("")
	switch part, err = form.NextPart(); {
	case errors.Is(err, io.EOF):
	case err != nil || part.FormName() != "context":
		return fail("bad_request", "", "send the part context second", "the form goes on without the part context")
	default:
		b.Content = part
	}
	// Progress is written while the context may still be read. A connection
	// on which that was so is not used again: net/http (Go 1.26) reads the
	// rest of such a body behind the next request's back.
	if err := r.rc.EnableFullDuplex(); err != nil {
		s.log.Debug("no full duplex", "err", err)
	}
	r.w.Header().Set("Connection", "close")
	defer func() {
		// A peer that still sends would not read the answer.
		_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, maxRest))
	}()
	out := newLines(r, ndjson)
	defer out.close()
	res, err := s.cfg.Host.BuildImage(r.Context(), b, func(e BuildEvent) {
		_ = out.send(BuildLine{Progress: &e}) // a peer that is gone cancels the context
	})
	if err == nil {
		err = s.recordBuild(r, *img, res, tag)
	}
	if err != nil {
		e := asError(err)
		if e.Code == "internal" {
			e = fail("failed", "image "+img.Name, "rexctl image build --keep, then rexctl image debug", "%v", err)
		}
		line := BuildLine{Error: e}
		if r.Header.Get(HeaderCarried) != "" {
			line.Kept = s.reportKept(r, res.Kept) // who asks names it: this host may not speak for a user
		} else {
			s.recordKept(r, res.Kept, e)
		}
		_ = out.send(line)
		return err
	}
	return out.send(BuildLine{Result: &res})
}

// tagImage gives a name to an image that some host has built.
func (s *Server) tagImage(r *request) error {
	var img spec.Image
	if err := r.decode(&img); err != nil {
		return err
	}
	name := r.PathValue("name")
	if img.Name != name {
		return fail("invalid", "image "+name, "", "the body is about image %.80q", img.Name)
	}
	if b, ok := s.cfg.Log.State().Builds.Get(img.Key); !ok || len(b.Hosts) == 0 {
		return fail("not_found", "image "+name, "rexctl image build", "no host has built the key %.80q", img.Key)
	}
	return s.propose(r, fsm.TagImage{Image: img})
}

// buildParams reads what the query says of a build.
func buildParams(r *request) (b BuildRequest, tag bool, err error) {
	if tag, err = flagParam(r.Request, "tag"); err != nil {
		return b, false, err
	}
	if tag && r.Header.Get(HeaderCarried) != "" {
		return b, false, fail("bad_request", "", "build without tag, then PUT /v1/images/NAME", "a host that was named by ?host gives no names")
	}
	if b.Keep, err = flagParam(r.Request, "keep"); err != nil {
		return b, false, err
	}
	if text := r.URL.Query().Get("timeout"); text != "" {
		if b.Timeout, err = time.ParseDuration(text); err != nil || b.Timeout <= 0 {
			return b, false, fail("bad_request", "", "timeout=10m", "timeout %.40q is no time above 0", text)
		}
	}
	return b, tag, nil
}

// recordKept gives what a failed step has left its name, and says in e how to
// look into it.
func (s *Server) recordKept(r *request, kept *spec.Image, e *Error) {
	if kept == nil {
		return
	}
	// Also when the user has gone: else nobody would know what it is.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), requestTime)
	defer cancel()
	err := s.proposeKept(ctx, kept)
	if err == nil {
		_, err = s.cfg.Log.Propose(ctx, r.by, fsm.TagImage{Image: *kept})
	}
	if err != nil {
		e.Message += fmt.Sprintf("\n  what the step left could not be named %s: %v", kept.Name, err)
		return
	}
	e.Hint = keptHint(kept.Name)
}

func (s *Server) proposeKept(ctx context.Context, kept *spec.Image) error {
	id := s.cfg.Host.ID()
	_, err := s.cfg.Log.Propose(ctx, "host/"+string(id), fsm.ReportBuild{Key: kept.Key, Host: id})
	return err
}

// reportKept tells the cluster where it is; nil where it could not.
func (s *Server) reportKept(r *request, kept *spec.Image) *spec.Image {
	if kept == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), requestTime)
	defer cancel()
	if err := s.proposeKept(ctx, kept); err != nil {
		s.log.Warn("what a step left has no name", "key", kept.Key, "err", err)
		return nil
	}
	return kept
}

func keptHint(name string) string {
	return "rexctl image debug " + name + ", which is what the step left; then rexctl image rm " + name
}

func (s *Server) recordBuild(r *request, img spec.Image, res BuildResult, tag bool) error {
	id := s.cfg.Host.ID()
	report := fsm.ReportBuild{Key: img.Key, Host: id, Bytes: res.Bytes, Base: pinnedBase(s.cfg.Log.State(), img.Base, img.BaseDigest)}
	if _, err := s.cfg.Log.Propose(r.Context(), "host/"+string(id), report); err != nil {
		return err
	}
	if !tag {
		return nil
	}
	_, err := s.cfg.Log.Propose(r.Context(), r.by, fsm.TagImage{Image: img})
	return err
}
