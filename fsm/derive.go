package fsm

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/rexcarcer/rexcarcer/spec"
)

// What follows from names and indexes alone, so that every host derives the
// same without asking anybody.

// digest hashes parts with their lengths, so that ("ab","c") is not ("a","bc").
func digest(parts ...string) [32]byte {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s,", len(p), p)
	}
	return [32]byte(h.Sum(nil))
}

// jailUUID is an RFC 9562 version 8 uuid: custom, deterministic.
func jailUUID(cluster, name string, index uint64) string {
	d := digest("jail", cluster, name, fmt.Sprint(index))
	b := d[:16]
	b[6] = b[6]&0x0f | 0x80
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// nicMAC is a locally administered unicast address (IEEE 802c): 02:xx. A jail
// is in a network at most once, so the network names the NIC.
func nicMAC(uuid, network string) string {
	d := digest("mac", uuid, network)
	return fmt.Sprintf("02:%02x:%02x:%02x:%02x:%02x", d[0], d[1], d[2], d[3], d[4])
}

func networkID(cluster, name string) string {
	d := digest("network", cluster, name)
	return hex.EncodeToString(d[:4])
}

// spiffeID is the jail's identity (SPIFFE-ID section 2): the cluster's id
// is the trust domain.
func spiffeID(cluster, jail string) string { return "spiffe://" + cluster + "/jail/" + jail }

// hashed is what a running jail cannot take over in place. A new field must
// be omitted when empty, or every jail of every cluster would be replaced.
type hashed struct {
	Key       string        `json:"key"`
	Hostname  string        `json:"hostname,omitempty"`
	Command   []string      `json:"command,omitempty"`
	Env       []spec.EnvVar `json:"env,omitempty"`
	User      string        `json:"user,omitempty"`
	WorkDir   string        `json:"workdir,omitempty"`
	Ephemeral bool          `json:"ephemeral,omitempty"`
	Socket    bool          `json:"socket,omitempty"`
	Addrs     []Addr        `json:"addrs,omitempty"`
	Volumes   []spec.Volume `json:"volumes,omitempty"`
	OpenFiles int64         `json:"open_files,omitempty"`
	Runtime   string        `json:"runtime,omitempty"`
	OS        string        `json:"os,omitempty"`
	Arch      string        `json:"arch,omitempty"`
	Domain    string        `json:"domain,omitempty"`

	ImageCommand []string      `json:"image_command,omitempty"` // where the jail names none
	ImageEnv     []spec.EnvVar `json:"image_env,omitempty"`
	ImageVolumes []string      `json:"image_volumes,omitempty"`
	ImageSSH     bool          `json:"image_ssh,omitempty"`
}

// jailHash is Jail.Hash: 32 hex digits.
func jailHash(j *Jail, im *Image, domain string) string {
	s := &j.Spec
	h := hashed{
		Key: s.ImageKey, Hostname: s.Hostname, Command: s.Command, Env: s.Env, User: s.User, WorkDir: s.WorkDir, Ephemeral: s.Ephemeral, Socket: s.Socket,
		Addrs: j.Addrs, Volumes: s.Volumes, OpenFiles: s.Limits.OpenFiles,
		Runtime: s.Runtime, OS: s.OS, Arch: s.Arch, Domain: domain,
	}
	// A snapshot is taken of the volume, not with it: nothing to restart for.
	if slices.ContainsFunc(h.Volumes, func(v spec.Volume) bool { return v.Snapshot }) {
		h.Volumes = slices.Clone(h.Volumes)
		for i := range h.Volumes {
			h.Volumes[i].Snapshot = false
		}
	}
	if im != nil {
		h.ImageEnv, h.ImageVolumes, h.ImageSSH = im.Env, im.Volumes, im.SSH
		if len(s.Command) == 0 {
			h.ImageCommand = im.Command
		}
	}
	b, err := json.Marshal(h)
	if err != nil { // no such value gets past Validate
		return err.Error()
	}
	d := sha256.Sum256(b)
	return hex.EncodeToString(d[:16])
}
