package zfssync

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

const (
	debianMirror  = "http://deb.debian.org/debian"
	debianKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
)

// aptConf keeps packages, their index and its translations out of the layers that RUN apt-get makes; see apt.conf(5).
const aptConf = `APT::Keep-Downloaded-Packages "false";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Acquire::Languages "none";
`

var suiteRE = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// debootstrapTime is far above what a slow mirror needs; the caller's ctx ends it sooner.
const debootstrapTime = time.Hour

// debootstrap makes a minimal Debian.
type debootstrap struct {
	run      run.Runner
	mirror   string // from configuration
	aptDir   string // of the host
	progress Progress
}

// choose returns the source to install from and the sources that the new root gets.
func (d debootstrap) choose(suite string) (from aptSource, list []aptSource) {
	host := readAptSources(d.aptDir)
	from = aptSource{URI: debianMirror, Suite: suite, Components: []string{"main"}, Keyring: debianKeyring}
	for _, s := range host {
		if s.Suite == suite && slices.Contains(s.Components, "main") && !strings.HasPrefix(s.URI, "cdrom:") {
			from.URI = s.URI
			if s.Keyring != "" {
				from.Keyring = s.Keyring
			}
			break
		}
	}
	if d.mirror != "" {
		from.URI = d.mirror
	}
	list = []aptSource{from}
	for _, s := range host {
		if s.Suite == suite+"-security" || s.Suite == suite+"-updates" || s.Suite == suite+"/updates" {
			s.Components = []string{"main"}
			list = append(list, s)
		}
	}
	return from, list
}

func (d debootstrap) make(ctx context.Context, suite, dst string) error {
	if !suiteRE.MatchString(suite) {
		return fmt.Errorf("suite %q: want a name such as bookworm", suite)
	}
	from, list := d.choose(suite)
	if u, err := url.Parse(from.URI); err != nil || !slices.Contains([]string{"http", "https", "file"}, u.Scheme) {
		return fmt.Errorf("mirror %q: want an http, https or file URL", from.URI) // and debootstrap takes no "--" before it
	}
	if _, err := os.Stat(from.Keyring); err != nil {
		return fmt.Errorf("keyring %s is missing: apt-get install debian-archive-keyring", from.Keyring)
	}
	d.progress(fmt.Sprintf("debootstrap %s from %s", suite, from.URI))
	// Two pipes write from two goroutines; progress is called by one at a time. debootstrap explains itself on standard
	// output, so its last line belongs to the error.
	var mu sync.Mutex
	last := ""
	emit := func(l string) {
		mu.Lock()
		defer mu.Unlock()
		last = l
		d.progress(l)
	}
	out, errOut := &lineWriter{emit: emit}, &lineWriter{emit: emit}
	_, err := d.run.Run(ctx, run.Cmd{
		Argv:    []string{"debootstrap", "--variant=minbase", "--force-check-gpg", "--keyring=" + from.Keyring, suite, dst, from.URI},
		Env:     []string{"DEBIAN_FRONTEND=noninteractive"},
		Timeout: debootstrapTime, Grace: 5 * time.Second,
		Stdout: out, Stderr: errOut,
	})
	out.flush()
	errOut.flush()
	if err != nil && run.RC(err) < 0 && ctx.Err() == nil && last == "" {
		return fmt.Errorf("%w: apt-get install debootstrap, or use a tarball as BASE", err)
	}
	if err != nil {
		return fmt.Errorf("%w (last: %s); check that %s is reachable, or set another mirror", err, last, from.URI)
	}
	return d.finish(dst, list)
}

// finish removes what belongs to the making and not to the image.
func (d debootstrap) finish(dst string, list []aptSource) error {
	root, err := os.OpenRoot(dst)
	if err != nil {
		return err
	}
	defer root.Close()
	// Device nodes: a jail's /dev is made at its start. Lists, packages and logs: downloaded again when wanted.
	for _, dir := range []string{"dev", "var/cache/apt", "var/lib/apt/lists", "var/log", "tmp", "run"} {
		if err := emptyDir(root, dir); err != nil {
			return fmt.Errorf("clean %s: %w", dir, err)
		}
	}
	for _, f := range []string{"etc/hostname", "etc/machine-id"} {
		if err := root.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	var text strings.Builder
	for _, s := range list {
		text.WriteString(s.line() + "\n")
	}
	for name, content := range map[string]string{
		"etc/apt/sources.list":            text.String(),
		"etc/apt/apt.conf.d/90-rexcarcer": aptConf,
		"etc/resolv.conf":                 "", // debootstrap copies the host's
	} {
		if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := root.WriteFile(name, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// emptyDir removes what is in dir; a directory that is not there is empty.
func emptyDir(root *os.Root, dir string) error {
	f, err := root.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	names, err := f.Readdirnames(-1)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	for _, n := range names {
		if err := root.RemoveAll(path.Join(filepath.ToSlash(dir), n)); err != nil {
			return err
		}
	}
	return nil
}
