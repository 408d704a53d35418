package hostagent

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rexcarcer/rexcarcer/fsm"
)

// freebsdFiles are those of jailFiles that rc(8) and syslogd(8) of FreeBSD
// want otherwise, or besides.
func freebsdFiles(s *fsm.State, want Want) []file {
	j := want.Jail
	out := []file{
		{"etc/rc.d/netconf", netconfScript(j), 0o755},
		{"etc/rc.d/envvars", envvarsScript(want), 0o600},
		{"etc/rc.conf.d/hostname", "hostname=" + rcQuote(hostnameOf(j)) + "\n", 0o644},
	}
	if gw := gatewayOf(s, j); gw != "" {
		out = append(out,
			file{"etc/syslog.d/rexcarcer.conf", "# Everything also goes to the network's router.\n*.*\t@" + gw + "\n", 0o644},
			file{"etc/rc.conf.d/syslogd", "syslogd_flags=\"-ss\"\n", 0o644}, // it sends, and listens to nobody
			// The router's address is the resolver, whatever a lease or a hook of resolvconf(8) says.
			file{"etc/resolvconf.conf", "resolvconf=NO\n", 0o644})
	}
	return out
}

// instead is files with those of the same name in other, and the rest of it.
func instead(files, other []file) []file {
	out := slices.DeleteFunc(files, func(f file) bool {
		return slices.ContainsFunc(other, func(o file) bool { return o.name == f.name })
	})
	return append(out, other...)
}

// rcQuote makes one word of s for rc.conf(5), which is shell.
func rcQuote(s string) string {
	r := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`")
	return `"` + r.Replace(s) + `"`
}

// netconfScript looks whether the jail has the addresses that it was given.
// It sets none: they are set from outside, and root in the jail cannot.
func netconfScript(j *fsm.Jail) string {
	var addrs []string
	for _, a := range j.Addrs {
		if a.Addr.IsValid() {
			addrs = append(addrs, a.Addr.String())
		}
		if a.Addr6.IsValid() {
			addrs = append(addrs, a.Addr6.String())
		}
	}
	return fmt.Sprintf(`#!/bin/sh
#
# PROVIDE: netconf
# REQUIRE: FILESYSTEMS
# BEFORE: NETWORKING
# KEYWORD: shutdown
#
# Written by rexcarcer. Name and addresses are set from outside; this says so when one is missing.

. /etc/rc.subr

name="netconf"
desc="Addresses of this jail"
rcvar=
start_cmd="netconf_start"
status_cmd="netconf_start"
stop_cmd=":"
netconf_addresses=%s

netconf_start()
{
	_have=" $(/sbin/ifconfig 2>/dev/null | while read -r _kind _addr _rest; do
		case "$_kind" in
		inet|inet6) echo -n "${_addr%%%%/*} " ;;
		esac
	done)"
	for _addr in ${netconf_addresses}; do
		case "$_have" in
		*" ${_addr} "*) ;;
		*) warn "address ${_addr} is missing: see rexctl jail show on the host"; return 1 ;;
		esac
	done
	return 0
}

load_rc_config $name
run_rc_command "$1"
`, rcQuote(strings.Join(addrs, " ")))
}

// envvarsScript holds the variables of the jail: to be read by shells, and by
// rc scripts of services that want them.
func envvarsScript(want Want) string {
	var b strings.Builder
	b.WriteString("#!/bin/sh\n#\n# PROVIDE: envvars\n# REQUIRE: FILESYSTEMS\n# BEFORE: NETWORKING\n#\n" +
		"# Variables of this jail; for shells and rc scripts: . /etc/rc.d/envvars\n\n")
	for _, kv := range environ(want) {
		k, v, _ := strings.Cut(kv, "=")
		fmt.Fprintf(&b, "export %s=%s\n", k, shellQuote(v))
	}
	return b.String()
}
