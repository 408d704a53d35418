package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/spec"
	"github.com/rexcarcer/rexcarcer/zfssync/bundle"
)

func baseCommand() *cli.Command {
	tag := &cli.StringFlag{Name: "tag", Aliases: []string{"t"}, Usage: "give it this `NAME[:TAG]`; default is the end of the reference"}
	older := &cli.BoolFlag{Name: "allow-downgrade", Usage: "also a version that is older than the one before"}
	upload := &cli.BoolFlag{Name: "upload", Usage: "send the files of this machine; so it is without being said where the daemon is on another one"}
	at := hostFlag("the `HOST` that makes it; default is the one that answers")
	return &cli.Command{Name: "base", Usage: "bases: create, import, update, sign, verify, trust, untrust, ls, rm", Subcommands: []*cli.Command{
		{Name: "create", Usage: "make a base and give it a name", ArgsUsage: "debian:SUITE|freebsd:RELEASE|oci:REF|http://HOST/NAME|DIRECTORY|TARBALL|host:/", Action: baseCreate, Flags: []cli.Flag{
			tag, older, &cli.StringFlag{Name: "manifest-digest", Usage: "of freebsd:RELEASE: the `SHA256` of its MANIFEST"}, at, upload,
		}},
		{Name: "import", Usage: "take over a signed bundle and give it a name", ArgsUsage: "DIRECTORY/NAME|http://HOST/NAME", Action: baseImport, Flags: []cli.Flag{tag, older, at, upload}},
		{Name: "update", Usage: "look again what references mean; the next plan shows what changes", ArgsUsage: "REFERENCE...", Action: baseUpdate, Flags: []cli.Flag{older}},
		{Name: "sign", Usage: "write an image as a signed bundle", ArgsUsage: "IMAGE", Action: baseSign, Flags: []cli.Flag{
			&cli.StringFlag{Name: "cert", Usage: "the signer's certificate, a PEM `FILE`"},
			&cli.StringFlag{Name: "key", Usage: "its private key, a PEM `FILE`"},
			&cli.StringFlag{Name: "out", Usage: "the `DIRECTORY` that gets the files", Value: "."},
			&cli.StringFlag{Name: "name", Usage: "of the bundle; default is the image's name"},
			&cli.StringFlag{Name: "format", Usage: "tar, which every host takes, or zfs; default is that of the host's storage"},
			hostFlag("the `HOST` that exports; default is one that has the image"),
			&cli.Uint64Flag{Name: "version", Usage: "a `NUMBER` that only grows; default is the time, as 20060102150405"},
		}},
		{Name: "verify", Usage: "check a bundle on this machine, and change nothing", ArgsUsage: "DIRECTORY/NAME", Action: baseVerify, Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "cert", Usage: "trust this certificate `FILE`, not those of the cluster; repeatable"},
		}},
		{Name: "trust", Usage: "let a signer's bundles in", ArgsUsage: "SIGNER.crt", Action: baseTrust},
		{Name: "untrust", Usage: "let a signer's bundles in no longer", ArgsUsage: "NAME|FINGERPRINT", Action: baseUntrust, Flags: []cli.Flag{yesFlag()}},
		{Name: "ls", Usage: "what references to bases mean", Action: baseLs, Flags: []cli.Flag{
			&cli.BoolFlag{Name: "signers", Usage: "list the signers that are trusted"},
		}},
		{Name: "rm", Usage: "remove names of bases, or forget what references mean", ArgsUsage: "NAME|REFERENCE...", Action: baseRm, Flags: []cli.Flag{yesFlag()}},
	}}
}

func baseCreate(c *cli.Context) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	ref, err := baseRef(c.Args().First())
	if err != nil {
		return err
	}
	if d := c.String("manifest-digest"); d != "" {
		if !strings.HasPrefix(ref, "freebsd:") {
			return usagef("--manifest-digest is for freebsd:RELEASE")
		}
		ref += "@sha256:" + strings.TrimPrefix(strings.ToLower(d), "sha256:")
	}
	return makeBase(c, ref)
}

func baseImport(c *cli.Context) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	ref, err := baseRef(c.Args().First())
	if err != nil {
		return err
	}
	if strings.HasPrefix(ref, "/") {
		ref = bundle.Stem(ref)
		if _, err := os.Stat(ref + bundle.MetaSuffix); err != nil {
			return fmt.Errorf("no bundle there: %w\n  try: rexctl base create, for a directory or tarball that nobody signed", err)
		}
	}
	return makeBase(c, ref)
}

// baseRef makes paths absolute: the daemon has another working directory.
func baseRef(arg string) (string, error) {
	if scheme, _, ok := strings.Cut(arg, ":"); !ok || strings.ContainsAny(scheme, "/.") {
		abs, err := filepath.Abs(arg)
		if err != nil {
			return "", err
		}
		arg = abs
	}
	if err := spec.ValidBase(arg); err != nil {
		return "", usagef("%v", err)
	}
	return arg, nil
}

// makeBase is an image without steps on ref.
func makeBase(c *cli.Context, ref string) error {
	name := c.String("tag")
	if name == "" {
		name = nameOf(ref)
	}
	if err := spec.ValidImageName(name); err != nil {
		return usagef("%v\n  try: -t NAME", err)
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	client = client.On(c.String("host"))
	if ref, err = uploaded(c, client, ref); err != nil {
		return err
	}
	if !madeHere(ref) {
		if _, err := client.PinBase(c.Context, api.PinRequest{Ref: ref, Update: true, AllowDowngrade: c.Bool("allow-downgrade")}); err != nil {
			return err
		}
	}
	img := spec.Image{Name: name, Base: ref}
	if err := pinImage(c.Context, client, &img); err != nil {
		return err
	}
	w := spec.Wish{Images: []spec.Image{img}}
	if err := w.Seal(); err != nil {
		return err
	}
	res, err := buildOne(c, client, w.Images[0], ".", buildOptions{tag: true})
	if err != nil {
		return err
	}
	return said(c, res, "%s", name)
}

// nameOf makes a name out of the end of a reference: debian:bookworm is debian-bookworm.
func nameOf(ref string) string {
	ref, _, _ = strings.Cut(ref, "@")
	if strings.Contains(ref, "/") {
		ref = ref[strings.LastIndexByte(ref, '/')+1:]
	}
	for _, end := range bundle.Payloads {
		ref = strings.TrimSuffix(ref, end)
	}
	return strings.Trim(strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, ref), "-")
}

func baseUpdate(c *cli.Context) error {
	if err := wantArgs(c, 1, -1); err != nil {
		return err
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	return each(c.Args().Slice(), func(arg string) error {
		ref, err := baseRef(arg)
		if err != nil {
			return err
		}
		res, err := client.PinBase(c.Context, api.PinRequest{Ref: ref, Update: true, AllowDowngrade: c.Bool("allow-downgrade")})
		switch {
		case err != nil:
			return err
		case res.Digest == "":
			return fmt.Errorf("base %s: it has no digest to look for: it is made on each host anew", safe(ref))
		case !res.Changed:
			return said(c, res, "base %s: unchanged, %s", safe(ref), res.Digest)
		}
		return said(c, res, "base %s: now %s\n  rexctl plan shows what that changes", safe(ref), originText(res.Origin))
	})
}

// originText is an Origin in one line.
func originText(o *api.Origin) string {
	if o == nil {
		return ""
	}
	text := o.Digest
	if o.Version > 0 {
		text = fmt.Sprintf("version %d of %s, %s", o.Version, clock(o.Created), text)
	}
	switch {
	case o.SignedBy != "" && o.Trusted:
		text += ", signed by " + safe(o.SignedBy)
	case o.SignedBy != "":
		text += ", signed by " + safe(o.SignedBy) + " (trusted no longer)"
	}
	return text
}

func baseLs(c *cli.Context) error {
	if err := wantArgs(c, 0, 0); err != nil {
		return err
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	if c.Bool("signers") {
		return signersLs(c, client)
	}
	rows, err := client.Bases(c.Context)
	if err != nil {
		return err
	}
	return list(c, rows, func(r api.BaseRow) string { return r.Ref }, []column[api.BaseRow]{
		{title: "REFERENCE", get: func(r api.BaseRow) string { return r.Ref }},
		{title: "KIND", get: func(r api.BaseRow) string { return r.Kind }},
		{title: "VERSION", get: func(r api.BaseRow) string {
			if r.Version == 0 {
				return ""
			}
			return fmt.Sprint(r.Version)
		}},
		{title: "SIGNED BY", get: func(r api.BaseRow) string {
			if r.SignedBy != "" && !r.Trusted {
				return r.SignedBy + " (trusted no longer)"
			}
			return r.SignedBy
		}},
		{title: "PINNED", get: func(r api.BaseRow) string { return clock(r.PinnedAt) }},
		{title: "IMAGES", get: func(r api.BaseRow) string { return strings.Join(r.Images, ",") }},
		{title: "DIGEST", wide: true, get: func(r api.BaseRow) string { return r.Digest }},
		{title: "PLATFORM", wide: true, get: func(r api.BaseRow) string { return r.Platform }},
		{title: "CREATED", wide: true, get: func(r api.BaseRow) string { return clock(r.Created) }},
	})
}

func signersLs(c *cli.Context, client *api.Client) error {
	rows, err := client.Signers(c.Context)
	if err != nil {
		return err
	}
	return list(c, rows, func(r api.SignerRow) string { return r.Fingerprint }, []column[api.SignerRow]{
		{title: "NAME", get: func(r api.SignerRow) string { return r.Name }},
		{title: "FINGERPRINT", get: func(r api.SignerRow) string { return r.Fingerprint }},
		{title: "ENDS", get: func(r api.SignerRow) string {
			if time.Now().After(r.NotAfter) {
				return clock(r.NotAfter) + " (over)"
			}
			return clock(r.NotAfter)
		}},
		{title: "TRUSTED BY", wide: true, get: func(r api.SignerRow) string { return r.TrustedBy }},
		{title: "SINCE", wide: true, get: func(r api.SignerRow) string { return clock(r.TrustedAt) }},
	})
}

func baseRm(c *cli.Context) error {
	if err := wantArgs(c, 1, -1); err != nil {
		return err
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	pins, err := client.Bases(c.Context)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, p := range pins {
		known[p.Ref] = true
	}
	if err := confirm(c, fmt.Sprintf("Remove %s %s?", noun(c.NArg(), "base"), strings.Join(quoted(c.Args().Slice()), ", "))); err != nil {
		return err
	}
	return each(c.Args().Slice(), func(name string) error {
		if known[name] {
			if err := client.UnpinBase(c.Context, name); err != nil {
				return err
			}
			return said(c, nil, "base %s: forgotten", safe(name))
		}
		if _, err := client.RemoveImage(c.Context, name); err != nil {
			if e := (*api.Error)(nil); errors.As(err, &e) && e.Code == "not_found" {
				return fmt.Errorf("base %s: neither a name nor a reference that is pinned\n  try: rexctl base ls, rexctl image ls", safe(name))
			}
			return err
		}
		return said(c, nil, "base %s: removed", safe(name))
	})
}
