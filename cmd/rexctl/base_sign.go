package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/zfssync/bundle"
)

// baseSign exports an image and signs it here: the key never leaves this
// machine.
func baseSign(c *cli.Context) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	if c.String("cert") == "" || c.String("key") == "" {
		return usagef("base sign wants --cert FILE and --key FILE\n  try: rexctl base sign --help")
	}
	image := c.Args().First()
	key, err := readKey(c.String("cert"), c.String("key"))
	if err != nil {
		return err
	}
	name := c.String("name")
	if name == "" {
		name = strings.ReplaceAll(image, ":", "-")
	}
	if err := bundle.ValidName(name); err != nil {
		return usagef("%v\n  try: --name NAME", err)
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	made, err := client.Image(c.Context, image)
	if err != nil {
		return err
	}
	client, platform, err := holderOf(c, client, made)
	if err != nil {
		return err
	}
	now := time.Now().UTC().Truncate(time.Second)
	m := bundle.Meta{Name: name, Version: c.Uint64("version"), Created: now, Platform: platform, Parent: made.Base}
	if m.Version == 0 {
		m.Version = bundle.VersionOf(now)
	}
	files, err := writeBundle(c, client, image, m, key)
	if err != nil {
		return fmt.Errorf("sign %s: %w", safe(image), err)
	}
	return said(c, files, "%s", strings.Join(files, "\n"))
}

func readKey(cert, key string) (bundle.Key, error) {
	certText, err := os.ReadFile(cert)
	if err != nil {
		return bundle.Key{}, fileError(cert, err)
	}
	keyText, err := os.ReadFile(key)
	if err != nil {
		return bundle.Key{}, fileError(key, err)
	}
	k, err := bundle.ParseKey(certText, keyText)
	if err != nil {
		return bundle.Key{}, fmt.Errorf("%s, %s: %w", cert, key, err)
	}
	if time.Now().After(k.Signer.NotAfter) {
		return bundle.Key{}, fmt.Errorf("%s: the certificate ended on %s: nobody would take what it signs", cert, clock(k.Signer.NotAfter))
	}
	return k, nil
}

// holderOf finds the host that exports, and its system: the one that --host
// names, the one that answers if it has the image, or another that has it.
func holderOf(c *cli.Context, client *api.Client, img api.ImageShow) (on *api.Client, platform string, err error) {
	st, err := client.Status(c.Context)
	if err != nil {
		return nil, "", err
	}
	hosts, err := client.Hosts(c.Context)
	if err != nil {
		return nil, "", err
	}
	var best *api.HostRow
	for i := range hosts {
		h := &hosts[i]
		switch want := c.String("host"); {
		case want != "" && (h.Name == want || string(h.ID) == want), want == "" && (h.ID == st.Host || len(hosts) == 1) && (len(img.Hosts) == 0 || slices.Contains(img.Hosts, h.ID)):
			return client.On(c.String("host")), h.OS + "/" + h.Arch, nil
		case want == "" && h.State == "alive" && slices.Contains(img.Hosts, h.ID):
			best = h
		}
	}
	if best == nil {
		return nil, "", fmt.Errorf("no host that is alive has image %s\n  try: rexctl image show %s", safe(img.Name), safe(img.Name))
	}
	return client.On(best.Name), best.OS + "/" + best.Arch, nil
}

// writeBundle puts the payload beside its place first, and then each file
// into it: whoever looks meanwhile sees the old bundle, or one that does not
// verify.
func writeBundle(c *cli.Context, client *api.Client, image string, m bundle.Meta, key bundle.Key) (names []string, err error) {
	dir := c.String("out")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	body, format, err := client.ExportImage(c.Context, image, c.String("format"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }() // was read to its end, or there is an error already
	m.Payload = m.Name + "." + format + ".zst"
	t, err := renameio.NewPendingFile(filepath.Join(dir, m.Payload), renameio.WithPermissions(0o644))
	if err != nil {
		return nil, err
	}
	defer func() {
		if cerr := t.Cleanup(); err == nil && !errors.Is(cerr, fs.ErrNotExist) {
			err = cerr
		}
	}()
	h := sha256.New()
	if m.Size, err = io.Copy(io.MultiWriter(t, h), body); err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	m.Digest = "sha256:" + hex.EncodeToString(h.Sum(nil))
	files, err := bundle.Sign(m, key)
	if err != nil {
		return nil, err
	}
	if err := t.CloseAtomicallyReplace(); err != nil {
		return nil, err
	}
	names = append(names, filepath.Join(dir, m.Payload))
	for _, f := range files {
		at := filepath.Join(dir, f.Name)
		if err := renameio.WriteFile(at, f.Content, 0o644); err != nil {
			return nil, err
		}
		names = append(names, at)
	}
	return names, nil
}
