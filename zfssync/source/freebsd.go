package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"regexp"
	"strings"

	"github.com/rexcarcer/rexcarcer/zfssync/bundle"
)

// freebsdMirror is where releases lie when the reference names no other place.
const freebsdMirror = "https://download.freebsd.org/releases/"

// The files of a release that are used.
const (
	manifestFile = "MANIFEST"
	baseFile     = "base.txz"
	maxManifest  = 64 << 10
)

var (
	releaseRE  = regexp.MustCompile(`^[0-9]{1,2}\.[0-9]{1,2}$`)
	manifestRE = regexp.MustCompile(`(?m)^base\.txz\t([0-9a-f]{64})\t`)
)

// freebsdPlace is a release: its MANIFEST has the digest of base.txz, and the MANIFEST itself is pinned by the user, or
// signed like a bundle's hash file.
type freebsdPlace struct {
	s       *Sources
	release string // 14.3, or the URL of a directory
	pin     string // digest of MANIFEST, "" when the user named none
	base    string // digest of base.txz; set by look
}

// files is the directory of the release.
func (p *freebsdPlace) files() (webFiles, error) {
	place := p.release
	if releaseRE.MatchString(place) {
		arch := p.s.c.Platform[strings.IndexByte(p.s.c.Platform, '/')+1:]
		if arch == "arm64" {
			arch = "arm64/aarch64"
		}
		place = freebsdMirror + arch + "/" + p.release + "-RELEASE"
	}
	u, err := url.Parse(strings.TrimSuffix(place, "/") + "/")
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" {
		return webFiles{}, fmt.Errorf("base freebsd:%s: want a release such as freebsd:14.3, or the URL of its directory, as freebsd:https://HOST/DIR", p.release)
	}
	return webFiles{p.s, u}, nil
}

func (p *freebsdPlace) look(ctx context.Context) (Origin, error) {
	at, err := p.files()
	if err != nil {
		return Origin{}, err
	}
	text, err := at.small(ctx, manifestFile, maxManifest)
	if err != nil {
		return Origin{}, fmt.Errorf("release of FreeBSD: %w", err)
	}
	digest := sha256.Sum256(text)
	o := Origin{Kind: "freebsd", Digest: "sha256:" + hex.EncodeToString(digest[:]), Platform: "freebsd/" + p.s.c.Platform[strings.IndexByte(p.s.c.Platform, '/')+1:]}
	switch {
	case p.pin != "" && p.pin != o.Digest:
		return Origin{}, &bundle.Refusal{Reason: bundle.OtherContent, Text: fmt.Sprintf("its MANIFEST has the digest %s, and %s was pinned", o.Digest, p.pin)}
	case p.pin == "":
		signer, err := p.signer(ctx, at, text)
		if err != nil {
			return Origin{}, err
		}
		if signer.Fingerprint == "" {
			return Origin{}, &bundle.Refusal{Reason: bundle.Unsigned, Text: fmt.Sprintf("nothing says that this MANIFEST is FreeBSD's. Its digest is %s: compare it with what FreeBSD publishes, then name it: freebsd:%s@%s", o.Digest, p.release, o.Digest)}
		}
		o.Signer, o.SignedBy = signer.Fingerprint, signer.Subject
	}
	m := manifestRE.FindSubmatch(text)
	if m == nil {
		return Origin{}, &bundle.Refusal{Reason: bundle.Malformed, Text: "its MANIFEST does not name " + baseFile}
	}
	p.base = "sha256:" + string(m[1])
	return o, nil
}

// signer is who signed the MANIFEST; nobody is no error.
func (p *freebsdPlace) signer(ctx context.Context, at webFiles, text []byte) (bundle.Signer, error) {
	trusted := p.s.c.Trusted()
	papers := bundle.Papers{Name: manifestFile, Hashes: text, Signatures: map[string][]byte{}}
	for _, t := range trusted {
		sig, err := at.small(ctx, manifestFile+bundle.SigSuffix+t.Fingerprint, bundle.MaxSig)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return bundle.Signer{}, err
		}
		papers.Signatures[t.Fingerprint] = sig
	}
	if len(papers.Signatures) == 0 {
		return bundle.Signer{}, nil
	}
	return papers.Signer(trusted, p.s.c.Now())
}

func (p *freebsdPlace) fetch(ctx context.Context, o Origin, progress Progress) (Fetched, error) {
	at, err := p.files()
	if err != nil {
		return Fetched{}, err
	}
	part := p.s.partial(o.Digest)
	progress("fetching "+at.where(baseFile), 0, 0)
	if err := p.s.whole(ctx, at, baseFile, -1, p.base, part, progress); err != nil {
		return Fetched{}, err
	}
	return p.s.accept(ctx, baseFile, part, o.Digest, "base.tar.xz", progress)
}
