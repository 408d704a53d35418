package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/rexcarcer/rexcarcer/zfssync/bundle"
)

// keepRefused is how many refused bases stay in quarantine: the oldest go first.
const keepRefused = 8

var unsafeName = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// refused puts what a Refusal is about into quarantine, file included when it is there. Other errors pass through.
func (s *Sources) refused(ref, file string, err error) error {
	r, ok := bundle.IsRefusal(err)
	if !ok {
		return err
	}
	r.Name = "base " + ref
	if qerr := s.quarantine(r, ref, file); qerr != nil {
		return errors.Join(err, fmt.Errorf("quarantine: %w", qerr))
	}
	s.log.Warn("base refused", "ref", ref, "reason", string(r.Reason), "why", r.Text)
	return err
}

func (s *Sources) quarantine(r *bundle.Refusal, ref, file string) error {
	if err := s.dirs(); err != nil {
		return err
	}
	name := unsafeName.ReplaceAllString(ref, "_")
	if len(name) > 80 {
		name = name[len(name)-80:]
	}
	now := s.c.Now().UTC()
	dir := filepath.Join(s.dir("quarantine"), now.Format("20060102T150405.000000000")+"-"+strings.Trim(name, "._-")+"-"+string(r.Reason))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	text := fmt.Sprintf("%s\nreason: %s\nat: %s\n", r.Error(), r.Reason, now.Format("2006-01-02 15:04:05 UTC"))
	if err := os.WriteFile(filepath.Join(dir, "REASON"), []byte(text), 0o600); err != nil {
		return err
	}
	if file != "" {
		if err := os.Rename(file, filepath.Join(dir, "payload")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return s.forgetRefused()
}

func (s *Sources) forgetRefused() error {
	entries, err := os.ReadDir(s.dir("quarantine"))
	if err != nil {
		return err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	var errs []error
	for len(names) > keepRefused {
		errs = append(errs, os.RemoveAll(filepath.Join(s.dir("quarantine"), names[0])))
		names = names[1:]
	}
	return errors.Join(errs...)
}
