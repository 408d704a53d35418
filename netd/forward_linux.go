package netd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/renameio/v2"
)

// forwardRecord says what we turned on, and between which interfaces nothing was forwarded before.
type forwardRecord struct {
	Boot    string   `json:"boot"`              // a record of an earlier boot means nothing
	Before  string   `json:"before"`            // former value of net.ipv4.ip_forward, "" if it was on
	Links   []string `json:"links"`             // for IPv4
	Before6 string   `json:"before6,omitempty"` // former value of net.ipv6.conf.all.forwarding, "" if it was on or is not needed
	Links6  []string `json:"links6,omitempty"`
	Adverts []string `json:"adverts,omitempty"` // interfaces whose accept_ra was 1 and is 2 now
	Single  []string `json:"single,omitempty"`  // interfaces whose own forwarding was 1: all.forwarding sets them too
}

const (
	forward4 = "ipv4/ip_forward"
	forward6 = "ipv6/conf/all/forwarding"
)

func (d *linux) forwardFile() string { return filepath.Join(d.o.RunDir, "ip_forward.json") }

// forwarding turns forwarding on if a network needs it. The record is written first: it is what makes the change
// reversible.
func (d *linux) forwarding(plan []plannedNetwork, l links) error {
	leads := func(n plannedNetwork) bool { return n.NAT || len(n.Publish) > 0 || n.Mesh != nil }
	now, err := d.readSysctl(forward4)
	if err != nil {
		return err
	}
	rec, err := d.forwardRecord()
	if err != nil {
		return err
	}
	need := now != "1" && slices.ContainsFunc(plan, leads)
	if need {
		rec.Before, rec.Links = now, d.unmarked(l)
	}
	// Without IPv6 in the kernel there is nothing to turn on.
	now6, err := d.readSysctl(forward6)
	need6 := err == nil && now6 == "0" && slices.ContainsFunc(plan, func(n plannedNetwork) bool { return n.v6() && leads(n) })
	if need6 {
		rec.Before6, rec.Links6 = now6, d.unmarked(l)
		rec.Adverts = d.withValue(rec.Links6, "accept_ra", "1")
		rec.Single = d.withValue(rec.Links6, "forwarding", "1")
	}
	if !need && !need6 {
		return nil
	}
	rec.Boot = bootID()
	b, err := json.Marshal(rec)
	if err == nil {
		err = renameio.WriteFile(d.forwardFile(), b, 0o644)
	}
	if err != nil {
		return fmt.Errorf("record the former values of forwarding: %w", err)
	}
	d.step("forward-record")
	if need {
		d.o.Log.Info("net.ipv4.ip_forward is on now", "before", now, "not_forwarded_between", rec.Links)
		if err := d.writeSysctl(forward4, "1"); err != nil {
			return err
		}
	}
	if !need6 {
		return nil
	}
	return d.forward6On(rec)
}

// forward6On makes the host a router for IPv6. Such a one hears no router advertisements and forgets the way that it learnt
// from them, unless accept_ra is 2 (ip-sysctl, accept_ra): so that comes first, where it was 1.
func (d *linux) forward6On(rec forwardRecord) error {
	for _, name := range rec.Adverts {
		if err := d.writeSysctl("ipv6/conf/"+name+"/accept_ra", "2"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	d.o.Log.Info("net.ipv6.conf.all.forwarding is on now", "accept_ra_2", rec.Adverts, "not_forwarded_between", rec.Links6)
	return d.writeSysctl(forward6, "1")
}

// unmarked are the interfaces of the host that are nobody's of ours.
func (d *linux) unmarked(l links) (out []string) {
	for name, x := range l.byName {
		if _, marked := l.marks[x.Attrs().Index]; !marked && name != "lo" {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// withValue are those of links whose setting for IPv6 is that.
func (d *linux) withValue(links []string, setting, value string) (out []string) {
	for _, name := range links {
		if v, err := d.readSysctl("ipv6/conf/" + name + "/" + setting); err == nil && v == value {
			out = append(out, name)
		}
	}
	return out
}

func (d *linux) fenced() (fences, error) {
	rec, err := d.forwardRecord()
	return fences{rec.Links, rec.Links6}, err
}

func (d *linux) forwardRecord() (rec forwardRecord, err error) {
	b, err := os.ReadFile(d.forwardFile())
	if errors.Is(err, fs.ErrNotExist) {
		return rec, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &rec)
	}
	if err != nil {
		return rec, fmt.Errorf("read %s: %w", d.forwardFile(), err)
	}
	if rec.Boot != bootID() {
		return forwardRecord{}, nil
	}
	return rec, nil
}

// restoreForward puts the former value back, unless another instance has links here and so needs it.
func (d *linux) restoreForward(l links) error {
	rec, err := d.forwardRecord()
	if err != nil {
		return err
	}
	others := false
	for _, m := range l.marks {
		others = others || m.Instance != d.o.Instance
	}
	if rec.Before != "" && !others {
		if err := d.writeSysctl(forward4, rec.Before); err != nil {
			return err
		}
	}
	if rec.Before6 != "" && !others {
		if err := d.forward6Off(rec); err != nil {
			return err
		}
	}
	if err := os.Remove(d.forwardFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget the former values of forwarding: %w", err)
	}
	return nil
}

func (d *linux) forward6Off(rec forwardRecord) error {
	if err := d.writeSysctl(forward6, rec.Before6); err != nil {
		return err
	}
	var errs []error
	for _, name := range d.withValue(rec.Adverts, "accept_ra", "2") { // others are gone, or somebody else had a word in it
		errs = append(errs, d.writeSysctl("ipv6/conf/"+name+"/accept_ra", "1"))
	}
	for _, name := range rec.Single {
		errs = append(errs, d.writeSysctl("ipv6/conf/"+name+"/forwarding", "1"))
	}
	return errors.Join(errs...)
}

func (d *linux) readSysctl(name string) (string, error) {
	var b []byte
	err := inNS(d.hostFD, func() (err error) {
		b, err = os.ReadFile("/proc/sys/net/" + name)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("read net/%s: %w", name, err)
	}
	return strings.TrimSpace(string(b)), nil
}

func (d *linux) writeSysctl(name, v string) error {
	return inNS(d.hostFD, func() error { return setSysctl(name, v) })
}

func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
}
