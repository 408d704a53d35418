package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/zfssync"
	"github.com/rexcarcer/rexcarcer/zfssync/bundle"
)

// uploaded sends what ref names on this machine, where the host that makes
// the base cannot read it, and returns what it is called there. A ref that is
// no path comes back as it is.
func uploaded(c *cli.Context, client *api.Client, ref string) (string, error) {
	if !filepath.IsAbs(ref) {
		return ref, nil
	}
	far, err := farAway(c, client)
	if err != nil || !far {
		return ref, err
	}
	name, files, total, err := toSend(c.Context, ref)
	if err != nil {
		return "", err
	}
	show := &buildProgress{e: envOf(c), name: name, quiet: c.Bool("quiet"), begin: time.Now()}
	show.say("base %s: sending %s", safe(name), sizeOr(total, "the directory "+safe(ref)))
	res, err := client.UploadBase(c.Context, name, files, func(n int64) {
		show.bytes(api.BuildEvent{Bytes: n, Total: max(total, 0)})
	})
	show.end()
	if err != nil {
		return "", err
	}
	return res.Ref, nil
}

// farAway reports whether the host that makes the base has other files than
// this machine.
func farAway(c *cli.Context, client *api.Client) (bool, error) {
	if c.Bool("upload") || !strings.HasPrefix(client.Addr(), "unix:") {
		return true, nil
	}
	want := c.String("host")
	if want == "" {
		return false, nil
	}
	st, err := client.Status(c.Context)
	if err != nil {
		return false, err
	}
	hosts, err := client.Hosts(c.Context)
	if err != nil {
		return false, err
	}
	for _, h := range hosts {
		if h.ID == st.Host {
			return want != h.Name && want != string(h.ID), nil
		}
	}
	return true, nil
}

// toSend lists the files of a signed bundle, an archive, or a directory that
// is packed on the way. total is in bytes, -1 when it is not known before.
func toSend(ctx context.Context, ref string) (name string, files []api.UploadFile, total int64, err error) {
	if stem := bundle.Stem(ref); stem != "" {
		if _, err := os.Stat(stem + bundle.MetaSuffix); err == nil {
			return bundleFiles(stem)
		}
	}
	info, err := os.Stat(ref)
	if err != nil {
		return "", nil, 0, fileError(ref, err)
	}
	if info.IsDir() {
		name = nameOf(ref)
		pack := func() (io.ReadCloser, error) {
			r, w := io.Pipe()
			go func() { _ = w.CloseWithError(zfssync.PackRoot(ctx, ref, w)) }() // a pipe's CloseWithError never fails
			return r, nil
		}
		return name, []api.UploadFile{{Name: name + bundle.Payloads[0], Open: pack}}, -1, nil
	}
	for _, end := range bundle.Payloads {
		if strings.HasSuffix(ref, end) && bundle.Format(end) == "tar" {
			name = nameOf(ref)
			return name, []api.UploadFile{{Name: name + end, Open: opener(ref)}}, info.Size(), nil
		}
	}
	return "", nil, 0, fmt.Errorf("%s: not a directory, and no archive: want its name to end in one of %s", ref, strings.Join(bundle.Payloads, ", "))
}

// bundleFiles are those of a signed bundle, the small ones first.
func bundleFiles(stem string) (name string, files []api.UploadFile, total int64, err error) {
	name = filepath.Base(stem)
	papers, err := readPapers(stem)
	if err != nil {
		return "", nil, 0, err
	}
	m, err := bundle.ParseMeta(papers.Meta)
	if err != nil {
		return "", nil, 0, fmt.Errorf("%s%s: %w", stem, bundle.MetaSuffix, err)
	}
	if bundle.Stem(m.Payload) != name {
		return "", nil, 0, fmt.Errorf("%s%s: its payload is called %s", stem, bundle.MetaSuffix, safe(m.Payload))
	}
	names := []string{name + bundle.MetaSuffix, name + bundle.HashSuffix}
	for mark := range papers.Signatures {
		names = append(names, name+bundle.SigSuffix+mark)
	}
	for _, n := range append(names, m.Payload) {
		at := filepath.Join(filepath.Dir(stem), n)
		info, err := os.Stat(at)
		if err != nil {
			return "", nil, 0, fileError(at, err)
		}
		if !info.Mode().IsRegular() {
			return "", nil, 0, fileError(at, errors.New("not a file"))
		}
		total += info.Size()
		files = append(files, api.UploadFile{Name: n, Open: opener(at)})
	}
	return name, files, total, nil
}

func opener(name string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return os.Open(name) }
}
