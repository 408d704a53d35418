package api

import (
	"io"
	"net/http"
	"slices"

	"github.com/rexcarcer/rexcarcer/fsm"
)

func (s *Server) listBases(r *request) error {
	st := s.state(r)
	users := map[string][]string{}
	for name, img := range st.Images.All {
		users[img.Base] = append(users[img.Base], name)
	}
	rows := []BaseRow{}
	for ref, b := range st.Bases.All {
		row := BaseRow{Origin: *originOf(st, b), Bytes: b.Bytes, PinnedAt: when(b.PinnedAt), Images: users[ref]}
		if row.Images == nil {
			row.Images = []string{}
		}
		rows = append(rows, row)
	}
	return r.reply(st.Index, rows)
}

// pinBase answers what a reference means. What is pinned is not looked at again unless that is asked for: all hosts
// build with the same content, and a new version is a change that somebody wanted.
func (s *Server) pinBase(r *request) error {
	var in PinRequest
	if err := r.decode(&in); err != nil {
		return err
	}
	if in.Ref == "" {
		return fail("invalid", "base", "rexctl base create http://HOST/NAME", "a base needs a reference")
	}
	st := s.cfg.Log.State()
	known, pinned := st.Bases.Get(in.Ref)
	if pinned && !in.Update {
		return r.reply(st.Index, PinResult{Ref: in.Ref, Digest: known.Digest, Origin: originOf(st, known)})
	}
	b, err := s.lookAt(r, in, known)
	if err != nil {
		return failedAs(err)
	}
	if b.Digest == "" {
		return r.reply(st.Index, PinResult{Ref: in.Ref})
	}
	res := PinResult{Ref: in.Ref, Digest: b.Digest, Changed: !pinned || known.Digest != b.Digest, Origin: originOf(st, &b)}
	if in.DryRun {
		return r.reply(st.Index, res)
	}
	done, err := s.cfg.Log.Propose(r.Context(), r.by, fsm.PinBase{Base: b, Downgrade: in.AllowDowngrade})
	if err != nil {
		return err
	}
	return r.reply(done.Index, res)
}

// failedAs keeps an error's own text: it says what was refused, and what to do.
func failedAs(err error) error {
	if e := asError(err); e.Code != "internal" {
		return e
	}
	return fail("failed", "", "", "%v", err)
}

// uploadBase takes a form whose parts are the files of a bundle, or one archive.
func (s *Server) uploadBase(r *request) error {
	name := r.PathValue("name")
	form, err := r.MultipartReader()
	if err != nil {
		return fail("bad_request", "", "send multipart/form-data with a part for each file", "%v", err)
	}
	// Who is still sending would not read the answer.
	defer func() { _, _ = io.Copy(io.Discard, io.LimitReader(r.Body, maxRest)) }()
	err = s.cfg.Host.UploadBase(r.Context(), name, func() (string, io.Reader, error) {
		part, err := form.NextPart()
		if err != nil {
			return "", nil, err
		}
		return part.FileName(), part, nil
	})
	if err != nil {
		return failedAs(err)
	}
	return r.reply(s.cfg.Log.State().Index, Uploaded{Ref: "upload:" + name})
}

func (s *Server) unpinBase(r *request) error {
	return s.propose(r, fsm.UnpinBase{Ref: r.URL.Query().Get("ref")})
}

func (s *Server) listSigners(r *request) error {
	st := s.state(r)
	rows := []SignerRow{}
	for _, x := range st.Signers.All {
		rows = append(rows, signerRow(x))
	}
	return r.reply(st.Index, rows)
}

func signerRow(x *fsm.Signer) SignerRow {
	return SignerRow{
		Name: x.Name, Fingerprint: x.Fingerprint, NotBefore: when(x.NotBefore), NotAfter: when(x.NotAfter),
		TrustedAt: when(x.TrustedAt), TrustedBy: x.TrustedBy, PEM: x.PEM,
	}
}

func (s *Server) trustSigner(r *request) error {
	var in SignerRequest
	if err := r.decode(&in); err != nil {
		return err
	}
	signer, err := s.cfg.Host.ReadSigner(in.PEM)
	if err != nil {
		return fail("invalid", "signer", "rexctl base trust SIGNER.crt", "%v", err)
	}
	done, err := s.cfg.Log.Propose(r.Context(), r.by, fsm.TrustSigner{Signer: signer})
	if err != nil {
		return err
	}
	return r.reply(done.Index, signerRow(&signer))
}

func (s *Server) untrustSigner(r *request) error {
	return s.propose(r, fsm.UntrustSigner{Fingerprint: r.PathValue("fingerprint")})
}

// exportImage streams a root file system. Once bytes have gone out, an error can only cut the connection, which the
// client sees as a body without its end.
func (s *Server) exportImage(r *request) error {
	name := r.PathValue("name")
	if _, ok := s.cfg.Log.State().Images.Get(name); !ok {
		return notFound("image", name)
	}
	format := r.URL.Query().Get("format")
	if format != "" && format != "tar" && format != "zfs" {
		return fail("bad_request", "", "format=tar", "format %.40q is neither tar nor zfs", format)
	}
	begun := false
	err := s.cfg.Host.ExportImage(r.Context(), name, format, func(format string) io.Writer {
		begun = true
		r.w.Header().Set("Content-Type", zstdMedia)
		r.w.Header().Set(formatHeader, format)
		return r.w
	})
	if err != nil {
		if !begun {
			return failedAs(err)
		}
		s.log.Warn("export cut off", "image", name, "err", err)
		panic(http.ErrAbortHandler)
	}
	return nil
}

// formatHeader says whether an exported image is a tar or a stream of zfs send.
const formatHeader = "Rex-Format"

// zstdMedia is RFC 8878's media type.
const zstdMedia = "application/zstd"

func originOf(st *fsm.State, b *fsm.Base) *Origin {
	_, trusted := st.Signers.Get(b.Signer)
	return &Origin{
		Ref: b.Ref, Kind: b.Kind, Digest: b.Digest, Version: b.Version, Created: when(b.Created), Platform: b.Platform,
		Signer: b.Signer, SignedBy: b.SignedBy, Trusted: trusted,
	}
}

// pinnedBase is what an image stands on, where that is pinned.
func pinnedBase(st *fsm.State, base, digest string) *fsm.Base {
	if b, ok := st.Bases.Get(base); ok && digest != "" && b.Digest == digest {
		return b
	}
	return nil
}

// maxParents bounds a chain of images: names can be moved so that they form a circle.
const maxParents = 32

// provenanceOf follows an image's bases.
func provenanceOf(st *fsm.State, img *fsm.Image, depth int) Provenance {
	p := Provenance{Image: img.Name, Key: img.Key, Base: img.Base, BaseDigest: img.BaseDigest, Steps: []string{}}
	for _, step := range img.Steps {
		p.Steps = append(p.Steps, step.Text)
	}
	if b, ok := st.Builds.Get(img.Key); ok && b.Base != nil {
		p.Origin = originOf(st, b.Base)
	} else if b := pinnedBase(st, img.Base, img.BaseDigest); b != nil {
		p.Origin = originOf(st, b)
	}
	if parent, ok := st.Images.Get(img.Base); ok && depth < maxParents && parent.Name != img.Name {
		above := provenanceOf(st, parent, depth+1)
		p.Parent = &above
	}
	return p
}

func (s *Server) showImage(r *request) error {
	st := s.cfg.Log.State()
	name := r.PathValue("name")
	img, ok := st.Images.Get(name)
	if !ok {
		return notFound("image", name)
	}
	jails := 0
	for _, j := range st.Jails.All {
		if j.Spec.Image == name {
			jails++
		}
	}
	return r.reply(st.Index, ImageShow{imageRow(st, name, img, jails), provenanceOf(st, img, 0)})
}

// jailProvenance is of the image that the jail's Run has, which its name may mean no longer.
func jailProvenance(st *fsm.State, j *fsm.Jail) *Provenance {
	key := j.Spec.ImageKey
	if run, ok := st.Runs.Get(j.Spec.Name); ok && !run.Phase.Over() && run.Image != "" {
		key = run.Image
	}
	if img, ok := st.Images.Get(j.Spec.Image); ok && img.Key == key {
		p := provenanceOf(st, img, 0)
		return &p
	}
	p := Provenance{Image: j.Spec.Image, Key: key, Steps: []string{}}
	b, ok := st.Builds.Get(key)
	if ok && b.Base != nil {
		p.Base, p.BaseDigest, p.Origin = b.Base.Ref, b.Base.Digest, originOf(st, b.Base)
	}
	return &p
}

func imageRow(st *fsm.State, name string, img *fsm.Image, jails int) ImageRow {
	row := ImageRow{
		Name: name, Key: img.Key, Base: img.Base, Steps: len(img.Steps), Wish: img.Wish, Hosts: []fsm.HostID{}, Jails: jails, BaseDigest: img.BaseDigest,
	}
	if b, ok := st.Builds.Get(img.Key); ok {
		row.Hosts, row.Bytes, row.BuiltAt = slices.Clone(b.Hosts), b.Bytes, when(b.BuiltAt)
	}
	for p := provenanceOf(st, img, 0); ; p = *p.Parent {
		if p.Origin != nil {
			row.SignedBy = p.Origin.SignedBy
		}
		if p.Origin != nil || p.Parent == nil {
			return row
		}
	}
}
