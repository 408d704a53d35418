package netd

import (
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// vethWish is a pair of interfaces; the peer is made inside another namespace straight away.
type vethWish struct {
	name      string
	mac       MAC // zero: the kernel's choice
	peer      string
	peerMAC   MAC
	peerIndex int // interface index inside the namespace; 0: the kernel's choice
	peerNS    int // descriptor
	mtu       int
}

func newVeth(w vethWish) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(w.name)))
	req.AddData(nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(w.mtu)))) //nolint:gosec // 1280..65535
	if w.mac != (MAC{}) {
		req.AddData(nl.NewRtAttr(unix.IFLA_ADDRESS, w.mac[:]))
	}
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
	peer := info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.VETH_INFO_PEER, nil)
	nl.NewIfInfomsgChild(peer, unix.AF_UNSPEC).Index = int32(w.peerIndex) //nolint:gosec // ours, small
	peer.AddRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(w.peer))
	peer.AddRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(w.mtu))) //nolint:gosec // 1280..65535
	peer.AddRtAttr(unix.IFLA_ADDRESS, w.peerMAC[:])
	peer.AddRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(w.peerNS))) //nolint:gosec // a descriptor
	req.AddData(info)
	return req
}

// setLink brings the named link up, marks it and, if master is not 0, makes it a port of that bridge. The link gets
// no IPv6 address of its own.
func setLink(name string, m mark, master int) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, 0)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Flags, msg.Change = unix.IFF_UP, unix.IFF_UP
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFALIAS, []byte(m.String())))
	if master != 0 {
		req.AddData(nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(uint32(master)))) //nolint:gosec // an interface index
	}
	req.AddData(addrGen(false))
	return req
}

// addrGen says whether the kernel gives a link an IPv6 address made from its MAC.
func addrGen(v6 bool) *nl.RtAttr {
	mode := uint8(1) // IN6_ADDR_GEN_MODE_NONE
	if v6 {
		mode = 0 // IN6_ADDR_GEN_MODE_EUI64
	}
	spec := nl.NewRtAttr(unix.IFLA_AF_SPEC, nil)
	spec.AddRtAttr(unix.AF_INET6, nil).AddRtAttr(unix.IFLA_INET6_ADDR_GEN_MODE, nl.Uint8Attr(mode))
	return spec
}

// linkAddrGen comes before linkUp: in one request the kernel would bring the link up first.
func linkAddrGen(index int, v6 bool) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, 0)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index) //nolint:gosec // an interface index
	req.AddData(msg)
	req.AddData(addrGen(v6))
	return req
}

func linkUp(index int) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, 0)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index, msg.Flags, msg.Change = int32(index), unix.IFF_UP, unix.IFF_UP //nolint:gosec // an interface index
	req.AddData(msg)
	return req
}

func setMTU(index, mtu int) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, 0)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index) //nolint:gosec // an interface index
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(mtu)))) //nolint:gosec // 1280..65535
	return req
}

// renameLink renames a link and replaces its mark.
func renameLink(index int, to string, m mark) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.RTM_NEWLINK, 0)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index) //nolint:gosec // an interface index
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(to)))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFALIAS, []byte(m.String())))
	return req
}

// addAddr gives a link an address. IPv6 skips duplicate address detection: addresses are given out once by the cluster.
func addAddr(index int, p netip.Prefix) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
	msg := nl.NewIfAddrmsg(family(p.Addr()))
	msg.Index, msg.Prefixlen = uint32(index), uint8(p.Bits()) //nolint:gosec // an interface index and 0..128
	if p.Addr().Is6() {
		msg.Flags = unix.IFA_F_NODAD
	}
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.IFA_LOCAL, p.Addr().AsSlice()))
	req.AddData(nl.NewRtAttr(unix.IFA_ADDRESS, p.Addr().AsSlice()))
	return req
}

// addRoute sends dst to via on a link; onlink says that via is a neighbour though no address of the link covers it.
func addRoute(index int, dst netip.Prefix, via netip.Addr, onlink bool) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
	msg := nl.NewRtMsg()
	msg.Family, msg.Dst_len = uint8(family(via)), uint8(dst.Bits()) //nolint:gosec // AF_*, 0..128
	msg.Protocol = unix.RTPROT_STATIC
	if onlink {
		msg.Flags = unix.RTNH_F_ONLINK
	}
	req.AddData(msg)
	if dst.Bits() > 0 {
		req.AddData(nl.NewRtAttr(unix.RTA_DST, dst.Addr().AsSlice()))
	}
	req.AddData(nl.NewRtAttr(unix.RTA_GATEWAY, via.AsSlice()))
	req.AddData(nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(uint32(index)))) //nolint:gosec // an interface index
	return req
}

func family(a netip.Addr) int {
	if a.Is6() {
		return unix.AF_INET6
	}
	return unix.AF_INET
}

// Everywhere.
var (
	default4 = netip.MustParsePrefix("0.0.0.0/0")
	default6 = netip.MustParsePrefix("::/0")
)
