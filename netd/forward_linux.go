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

// forwardRecord says that we turned IPv4 forwarding on, and between which interfaces nothing was forwarded before.
type forwardRecord struct {
	Boot   string   `json:"boot"`   // a record of an earlier boot means nothing
	Before string   `json:"before"` // former value of net.ipv4.ip_forward
	Links  []string `json:"links"`
}

func (d *linux) forwardFile() string { return filepath.Join(d.o.RunDir, "ip_forward.json") }

// forwarding turns net.ipv4.ip_forward on if a network needs it. The record is written first: it is what makes the
// change reversible.
func (d *linux) forwarding(plan []plannedNetwork, l links) error {
	need := slices.ContainsFunc(plan, func(n plannedNetwork) bool { return n.NAT || len(n.Publish) > 0 || n.Mesh != nil })
	now, err := d.readForward()
	if err != nil || !need || now == "1" {
		return err
	}
	rec := forwardRecord{Boot: bootID(), Before: now}
	for name, x := range l.byName {
		if _, marked := l.marks[x.Attrs().Index]; !marked && name != "lo" {
			rec.Links = append(rec.Links, name)
		}
	}
	slices.Sort(rec.Links)
	b, err := json.Marshal(rec)
	if err == nil {
		err = renameio.WriteFile(d.forwardFile(), b, 0o644)
	}
	if err != nil {
		return fmt.Errorf("record the former value of net.ipv4.ip_forward: %w", err)
	}
	d.step("forward-record")
	d.o.Log.Info("net.ipv4.ip_forward is on now", "before", now, "not_forwarded_between", rec.Links)
	return d.writeForward("1")
}

// fenced returns the interfaces between which our rules forbid forwarding, because we alone made it possible.
func (d *linux) fenced() ([]string, error) {
	rec, err := d.forwardRecord()
	return rec.Links, err
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
		if err := d.writeForward(rec.Before); err != nil {
			return err
		}
	}
	if err := os.Remove(d.forwardFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget the former value of net.ipv4.ip_forward: %w", err)
	}
	return nil
}

func (d *linux) readForward() (string, error) {
	var b []byte
	err := inNS(d.hostFD, func() (err error) {
		b, err = os.ReadFile("/proc/sys/net/ipv4/ip_forward")
		return err
	})
	if err != nil {
		return "", fmt.Errorf("read net.ipv4.ip_forward: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

func (d *linux) writeForward(v string) error {
	return inNS(d.hostFD, func() error { return setSysctl("ipv4/ip_forward", v) })
}

func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
}
