package fsm

import (
	"slices"

	"github.com/rexcarcer/rexcarcer/spec"
)

// decide moves a name to another build. Jails that use the name follow it: in
// an image's name people read "the newest of it".
func (c TagImage) decide(t *txn) *Refusal {
	object := "image " + c.Image.Name
	if err := spec.ValidImageName(c.Image.Name); err != nil {
		return refuse(CodeInvalid, object, "%v", err)
	}
	if !validKey(c.Image.Key) {
		return refuse(CodeInvalid, object, "the key %.80q is not sha256: and 64 hex digits", c.Image.Key)
	}
	old, ok := t.images.get(c.Image.Name)
	now := &Image{Image: c.Image}
	switch {
	case ok && old.Key == c.Image.Key && old.Wish != "":
		return nil
	case ok && old.Wish != "":
		return refuse(CodeInvalid, object, "is declared by wish %s: apply that file again, or tag another name", old.Wish)
	case ok && sameJSON(old, now):
		return nil
	}
	t.emit(ImageTagged{now})
	t.retag(now)
	return nil
}

// retag moves the jails that use an image to what its name means now.
func (t *txn) retag(im *Image) {
	var jails []*Jail
	t.jails.each("", func(_ string, j *Jail) bool {
		if j.Spec.Image == im.Name && j.Want != WantGone {
			jails = append(jails, j)
		}
		return true
	})
	for _, j := range jails {
		now := *j
		now.Spec.ImageKey = im.Key
		now.Hash = jailHash(&now, im, t.s.Cluster.Domain)
		if now.Hash == j.Hash && now.Spec.ImageKey == j.Spec.ImageKey {
			continue
		}
		now.SpecIndex = t.s.Index
		t.emit(JailChanged{&now, changeReason(j, &now)})
	}
}

func (c UntagImage) decide(t *txn) *Refusal {
	im, ok := t.images.get(c.Name)
	object := "image " + c.Name
	switch {
	case !ok:
		return refuse(CodeNotFound, object, "is not known: list images with `rexctl image ls`")
	case im.Wish != "":
		return refuse(CodeInvalid, object, "is declared by wish %s: take it out of that file and apply it", im.Wish)
	}
	if j := t.imageUsers([]string{c.Name})[c.Name]; j != nil {
		return refuse(CodeInvalid, object, "is used by jail %s of wish %s: remove that jail first", j.Spec.Name, j.Wish)
	}
	t.emit(ImageUntagged(c))
	return nil
}

func (c ReportBuild) decide(t *txn) *Refusal {
	object := "build " + c.Key
	switch _, known := t.hosts.get(string(c.Host)); {
	case !validKey(c.Key):
		return refuse(CodeInvalid, "build", "the key %.80q is not sha256: and 64 hex digits", c.Key)
	case !known:
		return refuse(CodeNotFound, "host "+string(c.Host), "is not known: it must register first")
	case !speaksFor(t.by, c.Host):
		return refuse(CodeFenced, object, "%s cannot say what host %s holds", t.by, c.Host)
	case c.Base != nil && !c.Base.plain():
		return refuse(CodeInvalid, object, "its base has control characters in it or is too long")
	case c.Bytes < 0:
		return refuse(CodeInvalid, object, "its size %d is negative", c.Bytes)
	}
	now := Build{Key: c.Key, BuiltAt: t.s.Now}
	if old, ok := t.builds.get(c.Key); ok {
		now = *old
		now.Hosts = slices.Clone(old.Hosts)
	}
	i, holds := slices.BinarySearch(now.Hosts, c.Host)
	switch {
	case c.Gone && !holds, !c.Gone && holds && (c.Bytes == 0 || c.Bytes == now.Bytes) && (c.Base == nil || now.Base != nil):
		return nil
	case c.Gone:
		now.Hosts = slices.Delete(now.Hosts, i, i+1)
	case !holds:
		now.Hosts = slices.Insert(now.Hosts, i, c.Host)
	}
	if c.Bytes > 0 && !c.Gone {
		now.Bytes = c.Bytes
	}
	if c.Base != nil && !c.Gone && now.Base == nil {
		now.Base = c.Base
	}
	t.emit(BuildReported{&now})
	return nil
}

// validKey: "sha256:" and 64 hex digits.
func validKey(k string) bool {
	const prefix = "sha256:"
	if len(k) != len(prefix)+64 || k[:len(prefix)] != prefix {
		return false
	}
	for _, c := range k[len(prefix):] {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f') {
			return false
		}
	}
	return true
}
