package main

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/spec"
)

// static says whether a program needs no other file, so that it runs in a root
// of its own.
func static(program string) error {
	f, err := elf.Open(program)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s needs libraries of this host, which no jail and no router has: build it with CGO_ENABLED=0 (make build)", program)
		}
	}
	return nil
}

// base is a root with one program: this one.
func (s *scratch) base() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	if err := static(self); err != nil {
		return "", err
	}
	dir := filepath.Join(s.dir, "base")
	for _, d := range []string{"bin", "etc", "dev", "tmp", "proc", "sys"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return "", err
		}
	}
	from, err := os.Open(self)
	if err != nil {
		return "", err
	}
	defer from.Close()
	to, err := os.OpenFile(filepath.Join(dir, "bin/rexcarcer"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(to, from)
	if err = errors.Join(err, to.Close()); err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, "etc/passwd"), []byte("root:*:0:0:root:/:/bin/rexcarcer\n"), 0o644) //nolint:gosec // a passwd file
}

const selftestFiles = 64 // open files that a jail may have

// wish declares the network and the jails in the user's own language.
func (s *scratch) wish(base string) (*spec.Wish, error) {
	const text = `
cluster "selftest" {}
network "selftest" {
  subnet = %q
  nat    = true
  publish "hello" {
    port    = %d
    service = "hello"
  }
}
image "selftest" { rexfile = "selftest.rex" }
jail "one" {
  image   = "selftest"
  network = "selftest"
  limits { open_files = %d }
}
jail "two" {
  image   = "selftest"
  network = "selftest"
  service "hello" {
    port = 7000
    check {
      type     = "tcp"
      interval = "1s"
    }
  }
}
`
	w, found := spec.Parse("selftest.hcl", fmt.Appendf(nil, text, s.subnet, s.publish, selftestFiles), spec.Inputs{
		Domain: "selftest.internal",
		Files: func(string) ([]byte, error) {
			return []byte("BASE " + base + "\nCMD /bin/rexcarcer selftest-inside serve\n"), nil
		},
	})
	return w, found.Err()
}

func (s *scratch) build(ctx context.Context) (string, error) {
	base, err := s.base()
	if err != nil {
		return "", err
	}
	var busy error
	for third := range 8 { // the first subnet that this host does not use itself
		s.subnet = fmt.Sprintf("10.%d.77.0/24", 213+third)
		if s.publish, err = freePort(); err != nil {
			return "", err
		}
		w, err := s.wish(base)
		if err != nil {
			return "", err
		}
		if third == 0 {
			if _, err := s.client.Build(ctx, api.BuildRequest{Image: w.Images[0]}, false, func(api.BuildEvent) {}); err != nil {
				return "", err
			}
		}
		if _, busy = s.client.ApplyWish(ctx, w, 0); busy == nil {
			return "built from this binary alone; network " + s.subnet, nil
		}
	}
	return "", busy
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close() //nolint:forcetypeassert // a TCP listener's
}
