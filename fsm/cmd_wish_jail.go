package fsm

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/rexcarcer/rexcarcer/spec"
)

// unwishJails lets go the jails that old declared and w does not.
func (t *txn) unwishJails(old, w *spec.Wish) *Refusal {
	still := make(map[string]bool, len(w.Jails))
	for i := range w.Jails {
		still[w.Jails[i].Name] = true
	}
	for i := range old.Jails {
		name := old.Jails[i].Name
		if j, ok := t.jails.get(name); ok && !still[name] && j.Wish == w.Name {
			t.removeJail(j, "no longer in wish "+w.Name)
		}
	}
	return nil
}

// jailChange is one jail on its way from old (nil: new) to now.
type jailChange struct {
	old   *Jail
	now   *Jail
	image *Image
	addrs *addrPlan
}

// wishJails creates and changes jails, each with its addresses, names and
// certificate, in this one entry.
func (t *txn) wishJails(_, w *spec.Wish) *Refusal {
	var changes []*jailChange
	for i := range w.Jails {
		c, r := t.planJail(w, &w.Jails[i])
		if r != nil {
			return r
		}
		if c != nil {
			changes = append(changes, c)
		}
	}
	for when := turnFixed; when <= turnLowest; when++ {
		for _, c := range changes {
			if r := t.meet(c.addrs, when); r != nil {
				return r
			}
		}
	}
	for _, c := range changes {
		if r := t.changeJail(c); r != nil {
			return r
		}
	}
	return nil
}

// planJail says what is to be done for one jail; nil if nothing is.
func (t *txn) planJail(w *spec.Wish, s *spec.Jail) (*jailChange, *Refusal) {
	c := &jailChange{now: &Jail{Spec: *s, Wish: w.Name, Want: WantRunning, CreatedAt: t.s.Now, SpecIndex: t.s.Index}}
	var refusal *Refusal
	if c.image, refusal = t.resolveImage(&c.now.Spec); refusal != nil {
		return nil, refusal
	}
	if old, ok := t.jails.get(s.Name); ok {
		c.old = old
		keep := *old
		keep.Spec, keep.SpecIndex = c.now.Spec, t.s.Index
		if keep.Want == WantGone {
			keep.Want = WantRunning
		}
		c.now = &keep
		if old.Want != WantGone && sameJSON(&old.Spec, &keep.Spec) && old.Hash == jailHash(old, c.image, t.s.Cluster.Domain) &&
			t.hasAddrs(old) {
			return nil, nil
		}
	} else {
		c.now.UUID = jailUUID(t.s.Cluster.ID, s.Name, t.s.Index)
		c.now.SeqBase = t.s.lostSeq
	}
	c.addrs, refusal = t.planAddrs(c.now, c.old)
	return c, refusal
}

// hasAddrs reports whether each NIC of j has an address of each family that
// its network offers: a network may gain subnet6 later.
func (t *txn) hasAddrs(j *Jail) bool {
	for _, a := range j.Addrs {
		n, ok := t.networks.get(a.Network)
		if !ok || n.Gone || !a.Addr.IsValid() || n.Subnet6.IsValid() != a.Addr6.IsValid() {
			return false
		}
	}
	return len(j.Addrs) == len(j.Spec.NICs)
}

// resolveImage fills in ImageKey by what the image's name means now.
func (t *txn) resolveImage(s *spec.Jail) (*Image, *Refusal) {
	im, ok := t.images.get(s.Image)
	if !ok {
		if s.ImageKey != "" {
			return nil, nil
		}
		return nil, refuse(CodeNotFound, "image "+s.Image,
			"jail %s wants it, but there is no such image: declare it, build it with `rexctl image build -t %s`, or correct the name", s.Name, s.Image)
	}
	if s.ImageKey == "" {
		s.ImageKey = im.Key
	}
	return im, nil
}

// changeJail emits c, whose addresses are settled.
func (t *txn) changeJail(c *jailChange) *Refusal {
	now, domain := c.now, t.s.Cluster.Domain
	now.Addrs = c.addrs.addrs
	now.Names = jailNames(now, domain)
	now.Hash = jailHash(now, c.image, domain)
	if r := t.checkHostNames(now); r != nil {
		return r
	}
	run, live := t.liveRun(JailName(now.Spec.Name))
	now.OldAddrs = nil
	if live {
		now.OldAddrs = c.addrs.drop
	}
	if c.old == nil {
		t.emit(JailCreated{now})
	} else {
		t.emit(JailChanged{now, changeReason(c.old, now)})
	}
	if !live {
		for _, a := range c.addrs.drop {
			t.releaseAddr(c.addrs.name, a)
		}
	}
	var before []*Record
	if c.old != nil {
		before = recordsOf(c.old, run, domain)
	}
	t.syncRecords(before, recordsOf(now, run, domain))
	t.nameCert(now)
	return nil
}

// nameCert says which names and addresses the jail's certificate must have. A
// CSR that waits was made for the older ones, so it is dropped.
func (t *txn) nameCert(j *Jail) {
	var addrs []netip.Addr
	for _, a := range j.Addrs {
		for _, ip := range [2]netip.Addr{a.Addr, a.Addr6} {
			if ip.IsValid() {
				addrs = append(addrs, ip)
			}
		}
	}
	now := Cert{Jail: JailName(j.Spec.Name), Names: j.Names, Addrs: addrs, URI: spiffeID(t.s.Cluster.ID, j.Spec.Name)}
	if old, ok := t.certs.get(j.Spec.Name); ok {
		if slices.Equal(old.Names, now.Names) && slices.Equal(old.Addrs, now.Addrs) && old.URI == now.URI {
			return
		}
		now.PEM, now.Serial, now.NotAfter, now.Stale = old.PEM, old.Serial, old.NotAfter, old.PEM != ""
	}
	t.emit(CertNamed{&now})
}

// checkHostNames refuses a host name that another jail answers to.
func (t *txn) checkHostNames(j *Jail) *Refusal {
	for _, a := range j.Addrs {
		for _, name := range hostNames(j, a.Network, t.s.Cluster.Domain) {
			for _, kind := range [2]string{"/A/", "/AAAA/"} {
				var owner JailName
				t.records.each(name+kind, func(_ string, r *Record) bool {
					if r.Service == "" && string(r.Jail) != j.Spec.Name {
						owner = r.Jail
					}
					return owner == ""
				})
				if owner != "" {
					return refuse(CodeInvalid, "jail "+j.Spec.Name, "the host name %s belongs to jail %s already: give one of them another hostname", name, owner)
				}
			}
		}
	}
	return nil
}

// changeReason lists what differs, and whether a running jail takes it over.
func changeReason(old, now *Jail) string {
	fields := changedFields(&old.Spec, &now.Spec)
	if !sameJSON(old.Addrs, now.Addrs) {
		fields = append(fields, "addresses")
	}
	if old.Want != now.Want {
		fields = append(fields, "wanted "+string(now.Want)+" again")
	}
	if len(fields) == 0 {
		fields = append(fields, "image defaults")
	}
	how := "; in place"
	if old.Hash != now.Hash {
		how = "; needs a restart"
	}
	return strings.Join(fields, ", ") + how
}

// changedFields names the parts of a jail's spec that differ, in a fixed order.
func changedFields(a, b *spec.Jail) []string {
	var all []string
	for _, f := range []struct {
		name string
		same bool
	}{
		{"group", a.Group == b.Group && a.Index == b.Index},
		{"count", a.Replicas == b.Replicas},
		{"hostname", a.Hostname == b.Hostname},
		{"image", a.Image == b.Image && a.ImageKey == b.ImageKey},
		{"network", sameJSON(a.NICs, b.NICs)},
		{"command", slices.Equal(a.Command, b.Command)},
		{"env", slices.Equal(a.Env, b.Env)},
		{"user", a.User == b.User},
		{"workdir", a.WorkDir == b.WorkDir},
		{"ephemeral", a.Ephemeral == b.Ephemeral},
		{"socket", a.Socket == b.Socket},
		{"fence", a.NoFence == b.NoFence},
		{"services", sameJSON(a.Services, b.Services)},
		{"volumes", slices.Equal(a.Volumes, b.Volumes)},
		{"limits", a.Limits == b.Limits},
		{"depends_on", slices.Equal(a.Depends, b.Depends)},
		{"restart", a.Restart == b.Restart},
		{"update", a.Update == b.Update},
		{"placement", sameJSON(a.Place, b.Place)},
		{"stop_timeout", a.Stop == b.Stop},
		{"runtime", a.Runtime == b.Runtime && a.OS == b.OS && a.Arch == b.Arch},
	} {
		if !f.same {
			all = append(all, f.name)
		}
	}
	return all
}
