package fsm

import (
	"encoding/base64"
	"strings"
)

// decide walks over all hosts: an end is published once, and at a change of key.
func (c ReportOverlay) decide(t *txn) *Refusal {
	old, ok := t.hosts.get(string(c.Host))
	if !ok {
		return noHost(c.Host)
	}
	object := "host " + old.Name
	switch {
	case !speaksFor(t.by, c.Host):
		return refuse(CodeFenced, object, "%s cannot speak for it", t.by)
	case !validOverlayKey(c.Key), c.Next != "" && !validOverlayKey(c.Next), c.Next == c.Key:
		return refuse(CodeInvalid, object, "its keys for the overlay must be two different ones of 32 bytes in base64")
	case !validPeer(c.Endpoint):
		return refuse(CodeInvalid, object, "its endpoint %q on the overlay is not HOST:PORT", c.Endpoint)
	case len(c.Device) > 64:
		return refuse(CodeInvalid, object, "what its device is has %d bytes, 64 are the most", len(c.Device))
	}
	now := Overlay{Key: c.Key, Next: c.Next, Endpoint: c.Endpoint, Device: c.Device, KeyAt: t.s.Now}
	taken := map[uint32]bool{}
	var twin *Host
	t.hosts.each("", func(_ string, h *Host) bool {
		if h.Overlay == nil || h.ID == c.Host {
			return true
		}
		taken[h.Overlay.N] = true
		for _, k := range []string{h.Overlay.Key, h.Overlay.Next} {
			if k != "" && (k == c.Key || k == c.Next) {
				twin = h
			}
		}
		return true
	})
	if twin != nil {
		return refuse(CodeConflict, object, "its key for the overlay is that of host %s: was its data directory copied? Remove overlay.json there and start it again", twin.Name)
	}
	rekeyed := false
	if o := old.Overlay; o != nil {
		now.N, now.Rekey, now.KeyAt = o.N, o.Rekey, o.KeyAt
		if rekeyed = o.Key != c.Key; rekeyed {
			now.Rekey, now.KeyAt = false, t.s.Now
		}
		if *o == now {
			return nil
		}
	}
	for now.N == 0 || taken[now.N] {
		now.N++
	}
	if now.N > MaxOverlay {
		return refuse(CodeConflict, object, "%d hosts have an address on the overlay, which are the most: remove hosts that are gone", MaxOverlay)
	}
	h := *old
	h.Overlay = &now
	if rekeyed {
		t.emit(HostRekeyed{&h})
	} else {
		t.emit(HostOverlaid{&h})
	}
	return nil
}

func (c RekeyHost) decide(t *txn) *Refusal {
	old, ok := t.hosts.get(string(c.Host))
	switch {
	case !ok:
		return noHost(c.Host)
	case isHost(t.by):
		return refuse(CodeFenced, "host "+old.Name, "%s cannot ask for that: only users may", t.by)
	case old.Overlay == nil:
		return refuse(CodeConflict, "host "+old.Name, "has no end of the overlay: it was started with -overlay-port 0, or is alone")
	case old.Overlay.Rekey:
		return nil
	}
	h, o := *old, *old.Overlay
	o.Rekey = true
	h.Overlay = &o
	t.emit(RekeyAsked{&h})
	return nil
}

func validOverlayKey(s string) bool {
	b, err := base64.StdEncoding.DecodeString(s)
	return err == nil && len(b) == 32 && strings.TrimRight(string(b), "\x00") != ""
}
