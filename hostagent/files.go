package hostagent

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/pki"
	"github.com/rexcarcer/rexcarcer/zfssync"
)

// writeFiles puts what every jail has beneath its root: names, resolver,
// netconf, envvars and the certificate. Files that are right stay untouched.
func (a *Agent) writeFiles(root string, want Want, cert pki.JailFiles) error {
	if a.features.Simulated {
		return nil
	}
	s := a.c.Cluster.State()
	ids := zfssync.IDMap{HostBase: uint32(cert.UID)}
	err := a.withRoot(root, ids, func(r *os.Root) error {
		if err := checkSSH(r, want); err != nil {
			return err
		}
		files := append(jailFiles(s, want), sshFiles(s, want)...)
		if a.c.Runtime == runtimeJail {
			files = instead(files, freebsdFiles(s, want))
		}
		for _, f := range files {
			if err := putFile(r, f); err != nil {
				return err
			}
		}
		return pki.WriteJailFiles(r, cert)
	})
	if err != nil {
		return fmt.Errorf("write files of jail %s: %w", want.Jail.Spec.Name, err)
	}
	return nil
}

// withRoot opens a jail's root, as its own root user, so that files get the
// right owner and nothing is reached that this user could not reach.
func (a *Agent) withRoot(root string, ids zfssync.IDMap, do func(*os.Root) error) error {
	return asUser(ids.HostBase, func() (err error) {
		r, err := os.OpenRoot(root)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, r.Close()) }()
		return do(r)
	})
}

type file struct {
	name string // relative to the root
	text string
	mode fs.FileMode
}

// jailFiles lists what the contract promises in every jail.
func jailFiles(s *fsm.State, want Want) []file {
	j := want.Jail
	host := hostnameOf(j)
	var hosts, netconf strings.Builder
	hosts.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
	netconf.WriteString("#!/bin/sh\n# PROVIDE: netconf\n# REQUIRE: FILESYSTEMS\n# BEFORE: NETWORKING\n" +
		"# Address and name are set from outside; this makes them so again.\n")
	if len(j.Addrs) > 0 && len(j.Names) > 0 {
		for _, a := range j.Addrs {
			if a.Addr.IsValid() {
				fmt.Fprintf(&hosts, "%s\t%s %s\n", a.Addr, j.Names[0], j.Spec.Name)
			}
			if a.Addr6.IsValid() {
				fmt.Fprintf(&hosts, "%s\t%s %s\n", a.Addr6, j.Names[0], j.Spec.Name)
			}
		}
	}
	fmt.Fprintf(&netconf, "hostname %s 2>/dev/null || :\n", host)
	for i, a := range j.Addrs {
		if n, ok := s.Networks.Get(a.Network); ok {
			fmt.Fprintf(&netconf, "if command -v ip >/dev/null 2>&1; then ip address replace %s/%d dev eth%d 2>/dev/null || :; fi\n",
				a.Addr, n.Subnet.Bits(), i)
		}
	}
	var env strings.Builder
	env.WriteString("# Variables of this jail; for shells: . /etc/rc.d/envvars\n")
	for _, kv := range environ(want) {
		k, v, _ := strings.Cut(kv, "=")
		fmt.Fprintf(&env, "export %s=%s\n", k, shellQuote(v))
	}
	out := []file{
		{"etc/hostname", host + "\n", 0o644},
		{"etc/hosts", hosts.String(), 0o644},
		{"etc/rc.d/netconf", netconf.String(), 0o755},
		{"etc/rc.d/envvars", env.String(), 0o600},
	}
	if text := resolvConf(s, j); text != "" {
		out = append(out, file{"etc/resolv.conf", text, 0o644})
	}
	if gw := gatewayOf(s, j); gw != "" {
		out = append(out, file{"etc/rsyslog.d/90-rexcarcer.conf", "# Everything also goes to the network's router.\n*.* @" + gw + ":514\n", 0o644})
	}
	return out
}

func hostnameOf(j *fsm.Jail) string {
	if j.Spec.Hostname != "" {
		return j.Spec.Hostname
	}
	return j.Spec.Name
}

func gatewayOf(s *fsm.State, j *fsm.Jail) string {
	if len(j.Addrs) == 0 {
		return ""
	}
	n, ok := s.Networks.Get(j.Addrs[0].Network)
	if !ok {
		return ""
	}
	return n.Gateway.String()
}

// resolvConf names the routers of the jail's networks as resolvers; bare
// names are looked up in NETWORK.DOMAIN, then in DOMAIN.
func resolvConf(s *fsm.State, j *fsm.Jail) string {
	var servers, search []string
	for _, a := range j.Addrs {
		n, ok := s.Networks.Get(a.Network)
		if !ok {
			continue
		}
		search = append(search, n.Name+"."+s.Cluster.Domain)
		servers = append(servers, n.Gateway.String())
	}
	if len(servers) == 0 {
		return ""
	}
	return "search " + strings.Join(append(search, s.Cluster.Domain), " ") + "\nnameserver " +
		strings.Join(servers[:min(len(servers), 3)], "\nnameserver ") + "\noptions timeout:2 attempts:3\n"
}

// environ is what the jail's first process gets: the image's, then what we
// know, then the user's, which wins.
func environ(want Want) []string {
	j := want.Jail
	out := append(slices.Clone(want.Start.Env), "RC_JAIL="+j.Spec.Name, "RC_UUID="+j.UUID)
	if len(j.Names) > 0 {
		out = append(out, "RC_FQDN="+j.Names[0])
	}
	if len(j.Addrs) > 0 && j.Addrs[0].Addr.IsValid() {
		out = append(out, "RC_ADDRESS="+j.Addrs[0].Addr.String())
	}
	for _, v := range j.Spec.Env {
		out = append(out, v.Name+"="+v.Value)
	}
	return out
}

// shellQuote makes one word of s for a POSIX shell.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// putFile makes f so beneath root, following no link out of it. What is there
// is replaced by rename; a link in its place (resolv.conf often is one) too.
// What is not there is written in place, which is half the work: no process
// of the jail runs yet, and a part that a killed agent left is replaced.
func putFile(root *os.Root, f file) error {
	w, err := root.OpenFile(f.name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.mode)
	if errors.Is(err, fs.ErrNotExist) {
		if err := root.MkdirAll(path.Dir(f.name), 0o755); err != nil {
			return fmt.Errorf("make /%s: %w", path.Dir(f.name), err)
		}
		w, err = root.OpenFile(f.name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.mode)
	}
	if err != nil {
		return replaceFile(root, f)
	}
	_, err = w.WriteString(f.text)
	if err = errors.Join(err, w.Chmod(f.mode), w.Close()); err != nil {
		return fmt.Errorf("write /%s: %w", f.name, err)
	}
	return nil
}

func replaceFile(root *os.Root, f file) error {
	if info, err := root.Lstat(f.name); err == nil && info.Mode().IsRegular() && info.Mode().Perm() == f.mode {
		if old, err := root.ReadFile(f.name); err == nil && bytes.Equal(old, []byte(f.text)) {
			return nil
		}
	}
	dir := path.Dir(f.name)
	if err := root.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make /%s: %w", dir, err)
	}
	tmp := dir + "/.rexcarcer-" + path.Base(f.name)
	if err := root.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("replace /%s: %w", f.name, err)
	}
	w, err := root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.mode)
	if err != nil {
		return fmt.Errorf("write /%s: %w", f.name, err)
	}
	_, err = w.WriteString(f.text)
	if err = errors.Join(err, w.Chmod(f.mode), w.Close()); err != nil {
		return fmt.Errorf("write /%s: %w", f.name, err)
	}
	if err := root.Rename(tmp, f.name); err != nil {
		return fmt.Errorf("write /%s: %w", f.name, err)
	}
	return nil
}

func makeDirs(dirs ...string) error {
	for _, d := range dirs {
		if d == "" {
			continue
		}
		if err := os.MkdirAll(d, 0o711); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
	}
	return nil
}

func removeFiles(names ...string) error {
	for _, n := range names {
		if err := os.Remove(n); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
