package source

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/rexcarcer/rexcarcer/zfssync/bundle"
)

// pinRE is the end of a reference that says its digest itself.
var pinRE = regexp.MustCompile(`^(.+)@(sha256:[0-9a-f]{64})$`)

// parse finds the place that ref names, and the digest that it pins.
func (s *Sources) parse(ref string) (p place, pin string, ok bool) {
	plain := ref
	if m := pinRE.FindStringSubmatch(ref); m != nil {
		plain, pin = m[1], m[2]
	}
	switch {
	case strings.HasPrefix(plain, "http://"), strings.HasPrefix(plain, "https://"):
		return s.webBundle(plain), pin, true
	case strings.HasPrefix(plain, "oci:"):
		// The reference keeps its digest: a registry is asked for it.
		return &ociPlace{s: s, ref: strings.TrimPrefix(ref, "oci:")}, "", true
	case strings.HasPrefix(plain, "freebsd:"):
		return &freebsdPlace{s: s, release: strings.TrimPrefix(plain, "freebsd:"), pin: pin}, "", true
	case strings.HasPrefix(plain, uploadScheme):
		return s.upload(strings.TrimPrefix(plain, uploadScheme)), pin, true
	case filepath.IsAbs(plain):
		stem := bundle.Stem(plain)
		if info, err := os.Stat(stem + bundle.MetaSuffix); err == nil && info.Mode().IsRegular() {
			return &bundlePlace{s: s, name: filepath.Base(stem), files: dirFiles{filepath.Dir(stem)}}, pin, true
		}
	}
	return nil, "", false
}

func (s *Sources) webBundle(ref string) place {
	u, err := url.Parse(bundle.Stem(ref))
	if err == nil && (u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "") {
		err = errors.New("want http://HOST/PATH/NAME, without user, query and fragment")
	}
	if err != nil {
		return failed{fmt.Errorf("base %s: %w", ref, err)}
	}
	name := u.Path[strings.LastIndexByte(u.Path, '/')+1:]
	dir := *u
	dir.Path, dir.RawPath = u.Path[:len(u.Path)-len(name)], ""
	return &bundlePlace{s: s, name: name, files: webFiles{s: s, dir: &dir}}
}
