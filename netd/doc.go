// Package netd makes the networks of this host so, from one Config: a bridge and a router namespace per network, a
// network namespace with its interfaces per jail, and the nftables rules between them.
//
// There is a driver for Linux, described here, one for FreeBSD, described at the type freebsd (freebsd.go) and in
// docs/design/freebsd-networks.md, and Sim, which only remembers.
//
// Laws:
//
//   - Set and Attach take the whole wish. Doing them twice is harmless, and a call that was killed at any step converges
//     when it is repeated: the kernel's own objects are the only memory, no file says what was done.
//   - Everything that netd makes is marked: links by their alias, nftables tables by their name, namespaces by the
//     directory in which they are mounted. Both marks and names carry the instance, so several daemons live on one host.
//   - Nothing foreign is touched: no rule, set or chain outside our own tables, no link without our mark.
//   - The host is no path between networks. Networks meet only where Allow says so, over a link between their routers.
//   - What a jail sends carries the MAC and the addresses that were given to it; netd drops the rest at the bridge.
//
// What is on a host for the network with id 1a2b3c4d (addresses 10.66.0.0/24):
//
//	host                                 router namespace                     jail namespace
//	ru1a2b3c4d0 169.254.192.0/31  ------ uplink 169.254.192.1/31
//	rb1a2b3c4d0 bridge, 10.66.0.2
//	 |- rr1a2b3c4d0 -------------------- lan 10.66.0.1/24 (gateway)
//	 `- rh99aabbcc0 --------------------------------------------------------- eth0 10.66.0.7/24, default via 10.66.0.1
//	                                     rp55667788 -- peer router (only for Allow)
//
// Flow of a packet: jail -> router (NAT to its uplink address) -> host (masquerade) -> outside. A published port goes
// the same way back: host (dnat to the uplink address) -> router (dnat to the members in turn) -> jail, so conntrack sees both
// directions everywhere and a strict rp_filter on the host does no harm. The host itself reaches jails straight over the
// bridge with its own, second, address; jails cannot open connections to that address.
//
// Set needs net.ipv4.ip_forward=1 for NAT and published ports, and for networks with IPv6 net.ipv6.conf.all.forwarding=1. What
// was there before is kept in RunDir; if it was 0, packets between interfaces that existed before are still not forwarded
// (a rule of ours drops them), and Teardown puts 0 back when no other instance is left. A host that forwards IPv6 is deaf to
// router advertisements unless accept_ra is 2, so that is set first where it was 1.
//
// Speed: Attach starts no process and takes one batch of netlink messages on the host and two in the namespace. What does
// not depend on the jail is done before (spare namespaces) or after (the kernel removes links in the background); names
// of namespaces live on a tmpfs below RunDir.
//
// A published port answers on every address of the host and on 127.0.0.1, not on ::1. Jails reach it as the outside does: those
// of networks with NAT all ports, those of others the ports of their own network; what they send is masqueraded on the host,
// because the answer has to come back that way. Set binds the port on the host without listening, so that no program takes
// it later by accident and one that has it already is reported. Connections to a member that left are cut by Drain, from
// what the router tracks: nothing of it is remembered elsewhere.
//
// Rules are values of a line: the text for nft(8) and its meaning, made at one place. Rules shows the meaning.
//
// A host whose own rules drop forwarded packets (a FORWARD policy of drop, as Docker sets it) has to accept those of the
// interfaces ru*: an accept in our table cannot overrule a drop in another.
package netd
