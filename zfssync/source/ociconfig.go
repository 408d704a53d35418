package source

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/rexcarcer/rexcarcer/zfssync/bundle"
)

// Bounds of an image's configuration, in bytes: as it is stored, and of what is taken over.
const (
	maxOCIConfig = 1 << 20
	maxDefaults  = 64 << 10
)

// defaults reads how the image says that its processes start. nil: it says nothing. The manifest, which is pinned, holds
// the digest of the configuration.
func (p *ociPlace) defaults(want v1.Descriptor) (*Defaults, error) {
	if want.Size > maxOCIConfig {
		return nil, &bundle.Refusal{Reason: bundle.Bomb, Text: fmt.Sprintf("its configuration has %d bytes; want at most %d", want.Size, maxOCIConfig)}
	}
	raw, err := p.img.RawConfigFile()
	if err != nil {
		return nil, fmt.Errorf("its configuration: %w", err)
	}
	digest := sha256.Sum256(raw)
	if got := "sha256:" + hex.EncodeToString(digest[:]); got != want.Digest.String() {
		return nil, &bundle.Refusal{Reason: bundle.WrongHash, Text: "its configuration has the digest " + got}
	}
	var file v1.ConfigFile
	if err := json.Unmarshal(raw, &file); err != nil {
		return nil, &bundle.Refusal{Reason: bundle.Malformed, Text: fmt.Sprintf("its configuration cannot be read: %v", err)}
	}
	c := file.Config
	d := &Defaults{Env: c.Env, Command: slices.Concat(c.Entrypoint, c.Cmd), User: c.User}
	if c.WorkingDir != "" {
		d.WorkDir = path.Join("/", c.WorkingDir)
	}
	if why := d.unsound(); why != "" {
		return nil, &bundle.Refusal{Reason: bundle.Malformed, Text: "its configuration " + why}
	}
	if len(d.Env) == 0 && len(d.Command) == 0 && d.User == "" && d.WorkDir == "" {
		return nil, nil //nolint:nilnil // says nothing, as documented
	}
	return d, nil
}

// unsound says what in d no process could be started with, "" for nothing.
func (d *Defaults) unsound() string {
	total := 0
	for _, list := range [][]string{d.Env, d.Command, {d.User, d.WorkDir}} {
		for _, text := range list {
			total += len(text) + 1
			if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
				return "has a text that is not UTF-8, or a zero byte in one"
			}
		}
	}
	for _, kv := range d.Env {
		if strings.IndexByte(kv, '=') < 1 {
			return fmt.Sprintf("has the variable %.40q, which is not NAME=value", kv)
		}
	}
	if total > maxDefaults {
		return fmt.Sprintf("has %d bytes of variables and command; want at most %d", total, maxDefaults)
	}
	return ""
}
