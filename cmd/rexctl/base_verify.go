package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/zfssync"
	"github.com/rexcarcer/rexcarcer/zfssync/bundle"
)

// verified is the answer of base verify.
type verified struct {
	Name     string    `json:"name"`
	Version  uint64    `json:"version"`
	Created  time.Time `json:"created"`
	Platform string    `json:"platform"`
	Digest   string    `json:"digest"`
	Size     int64     `json:"size"`
	Parent   string    `json:"parent,omitempty"`
	Signer   string    `json:"signer"`
	SignedBy string    `json:"signed_by"`
	Entries  int64     `json:"entries,omitempty"` // files in it
}

func baseVerify(c *cli.Context) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	trusted, err := trustedBy(c)
	if err != nil {
		return err
	}
	stem := bundle.Stem(c.Args().First())
	papers, err := readPapers(stem)
	if err != nil {
		return err
	}
	v, err := papers.Verify(trusted, time.Now())
	if err != nil {
		return err
	}
	entries, err := checkPayload(c, filepath.Join(filepath.Dir(stem), v.Meta.Payload), v.Meta)
	if err != nil {
		return err
	}
	m := v.Meta
	out := verified{m.Name, m.Version, m.Created, m.Platform, m.Digest, m.Size, m.Parent, v.Signer.Fingerprint, v.Signer.Subject, entries}
	return said(c, out, "%s: good, version %d for %s, signed by %s", m.Name, m.Version, m.Platform, safe(v.Signer.Subject))
}

// trustedBy are the certificates that were named, else the cluster's.
func trustedBy(c *cli.Context) ([]bundle.Signer, error) {
	var out []bundle.Signer
	for _, name := range c.StringSlice("cert") {
		s, err := readSigner(name)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	if len(out) > 0 {
		return out, nil
	}
	client, err := connect(c)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	rows, err := client.Signers(c.Context)
	if err != nil {
		return nil, fmt.Errorf("%w\n  try: --cert SIGNER.crt, to verify without a cluster", err)
	}
	for _, r := range rows {
		s, err := bundle.ParseSigner([]byte(r.PEM))
		if err != nil {
			return nil, fmt.Errorf("signer %s: %w", safe(r.Name), err)
		}
		out = append(out, s)
	}
	return out, nil
}

func readPapers(stem string) (bundle.Papers, error) {
	p := bundle.Papers{Name: filepath.Base(stem), Signatures: map[string][]byte{}}
	var err error
	if p.Hashes, err = readSmall(stem+bundle.HashSuffix, bundle.MaxHash); err != nil {
		return p, err
	}
	if p.Meta, err = readSmall(stem+bundle.MetaSuffix, bundle.MaxMeta); err != nil {
		return p, err
	}
	entries, err := os.ReadDir(filepath.Dir(stem))
	if err != nil {
		return p, fileError(filepath.Dir(stem), err)
	}
	for _, e := range entries {
		mark, ok := strings.CutPrefix(e.Name(), p.Name+bundle.SigSuffix)
		if !ok {
			continue
		}
		if p.Signatures[mark], err = readSmall(filepath.Join(filepath.Dir(stem), e.Name()), bundle.MaxSig); err != nil {
			return p, err
		}
	}
	return p, nil
}

func readSmall(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fileError(name, err)
	}
	defer func() { _ = f.Close() }() // was only read
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fileError(name, err)
	}
	return b, nil // one byte too much: the parser says so
}

// checkPayload compares size and digest, and walks through a tar.
func checkPayload(c *cli.Context, name string, m bundle.Meta) (int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, fileError(name, err)
	}
	defer func() { _ = f.Close() }() // was only read
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return 0, fileError(name, err)
	}
	if digest := "sha256:" + hex.EncodeToString(h.Sum(nil)); n != m.Size || digest != m.Digest {
		return 0, fmt.Errorf("%s: refused: it has %d bytes with the digest %s, and %d bytes with %s were signed", name, n, digest, m.Size, m.Digest)
	}
	if bundle.Format(m.Payload) != "tar" {
		return 0, nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, fileError(name, err)
	}
	found, err := bundle.Inspect(c.Context, m.Name, f, zfssync.Limits{})
	if r, ok := bundle.IsRefusal(err); ok {
		return 0, errors.New(r.Error())
	}
	return found.Entries, err
}
