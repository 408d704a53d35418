package apitest

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// ReadSigner implements api.Host.
func (h *Host) ReadSigner(text string) (fsm.Signer, error) {
	b, _ := pem.Decode([]byte(text))
	if b == nil {
		return fsm.Signer{}, errors.New("it holds no certificate in PEM")
	}
	c, err := x509.ParseCertificate(b.Bytes)
	if err != nil {
		return fsm.Signer{}, err
	}
	digest := sha256.Sum256(c.Raw)
	return fsm.Signer{
		Fingerprint: hex.EncodeToString(digest[:]), Name: c.Subject.CommonName, PEM: text,
		NotBefore: fsm.TimeOf(c.NotBefore), NotAfter: fsm.TimeOf(c.NotAfter),
	}, nil
}

// LookBase implements api.Host: what is on the web is a bundle whose version grows with each look, and whatever is called
// evil is refused.
func (h *Host) LookBase(_ context.Context, ref string, known *fsm.Base, _ bool) (fsm.Base, error) {
	if strings.Contains(ref, "evil") {
		return fsm.Base{}, errors.New("base " + ref + ": refused: nobody trusts its signer")
	}
	if !strings.HasPrefix(ref, "http://") {
		return fsm.Base{Ref: ref}, nil
	}
	b := fsm.Base{Ref: ref, Kind: "bundle", Version: 1, Created: 1, Platform: "linux/amd64", Signer: strings.Repeat("a", 64), SignedBy: "alice", Bytes: 3 << 20}
	if known != nil {
		b.Version = known.Version + 1
	}
	digest := sha256.Sum256([]byte(ref + string(rune('0'+b.Version))))
	b.Digest = "sha256:" + hex.EncodeToString(digest[:])
	return b, nil
}

// UploadBase implements api.Host: what is sent is counted.
func (h *Host) UploadBase(_ context.Context, name string, next func() (file string, content io.Reader, err error)) error {
	var all []string
	for {
		file, content, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		n, err := io.Copy(io.Discard, content)
		if err != nil {
			return err
		}
		all = append(all, fmt.Sprintf("%s %d", file, n))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.uploads = append(h.uploads, name+": "+strings.Join(all, ", "))
	return nil
}

// Uploads are what was sent.
func (h *Host) Uploads() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.uploads)
}

// ExportImage implements api.Host: one file, which says whose it is.
func (h *Host) ExportImage(_ context.Context, name, format string, open func(format string) io.Writer) error {
	if format == "zfs" {
		return errors.New("this host's storage is not ZFS: take --format tar")
	}
	z, err := zstd.NewWriter(open("tar"))
	if err != nil {
		return err
	}
	t := tar.NewWriter(z)
	text := "image " + name
	if err := t.WriteHeader(&tar.Header{Name: "etc/motd", Mode: 0o644, Size: int64(len(text))}); err != nil {
		return err
	}
	if _, err := io.WriteString(t, text); err != nil {
		return err
	}
	return errors.Join(t.Close(), z.Close())
}
