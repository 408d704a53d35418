package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
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
	platform, err := platformOf(c.Context, client)
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

// platformOf is the system of the host that exports.
func platformOf(ctx context.Context, client *api.Client) (string, error) {
	st, err := client.Status(ctx)
	if err != nil {
		return "", err
	}
	hosts, err := client.Hosts(ctx)
	if err != nil {
		return "", err
	}
	for _, h := range hosts {
		if h.ID == st.Host || len(hosts) == 1 {
			return h.OS + "/" + h.Arch, nil
		}
	}
	return "", errors.New("the host that answers is not in its own list: try again")
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
