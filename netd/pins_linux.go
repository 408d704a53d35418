package netd

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// The sets of the bridge table are changed by netlink instead of nft(8), which would cost more than all the rest of an
// Attach. Layout of keys: each field of a concatenation is padded to 4 bytes; an interface name takes 16.

// pinChange adds or deletes (remove) what one port may send, in one nftables transaction.
func pinChange(c *conn, table string, remove bool, pins []pin, sets []string) error {
	kind := uint16(unix.NFT_MSG_NEWSETELEM)
	flags := uint16(unix.NLM_F_CREATE)
	if remove {
		kind, flags = unix.NFT_MSG_DELSETELEM, 0
	}
	keys := pinKeys(pins)
	reqs := []*nl.NetlinkRequest{nfRequest(unix.NFNL_MSG_BATCH_BEGIN, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)}
	for _, set := range sets {
		if len(keys[set]) == 0 {
			continue
		}
		req := nfRequest(unix.NFNL_SUBSYS_NFTABLES<<8|kind, flags, unix.NFPROTO_BRIDGE, 0)
		req.AddData(nl.NewRtAttr(unix.NFTA_SET_ELEM_LIST_TABLE, nl.ZeroTerminated(table)))
		req.AddData(nl.NewRtAttr(unix.NFTA_SET_ELEM_LIST_SET, nl.ZeroTerminated(set)))
		list := nl.NewRtAttr(unix.NFTA_SET_ELEM_LIST_ELEMENTS|unix.NLA_F_NESTED, nil)
		for _, key := range keys[set] {
			list.AddRtAttr(unix.NFTA_LIST_ELEM|unix.NLA_F_NESTED, nil).
				AddRtAttr(unix.NFTA_SET_ELEM_KEY|unix.NLA_F_NESTED, nil).
				AddRtAttr(unix.NFTA_DATA_VALUE, key)
		}
		req.AddData(list)
		reqs = append(reqs, req)
	}
	if len(reqs) == 1 {
		return nil
	}
	reqs = append(reqs, nfRequest(unix.NFNL_MSG_BATCH_END, 0, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES))
	if err := c.transaction(reqs); err != nil {
		return fmt.Errorf("change the addresses that table bridge %s lets pass: %w", table, err)
	}
	return nil
}

// pinDeleteEach deletes elements one by one; those that are not there are success.
func pinDeleteEach(c *conn, table string, pins []pin, sets []string) error {
	for _, p := range pins {
		for _, set := range sets {
			one := []pin{{Link: p.Link, MAC: p.MAC}}
			switch set {
			case setAddr4:
				one[0].Addr = p.Addr
			case setAddr6, setND:
				one[0].Addr6 = p.Addr6
			}
			err := pinChange(c, table, true, one, []string{set})
			if err != nil && !errors.Is(err, unix.ENOENT) {
				return err
			}
		}
	}
	return nil
}

// nfRequest begins an nfnetlink message; resID is in network byte order.
func nfRequest(kind, flags uint16, family uint8, resID uint16) *nl.NetlinkRequest {
	req := nl.NewNetlinkRequest(int(kind), int(flags))
	req.AddData(raw(binary.BigEndian.AppendUint16([]byte{family, unix.NFNETLINK_V0}, resID)))
	return req
}

// raw is a header that the library has no type for.
type raw []byte

func (r raw) Len() int          { return len(r) }
func (r raw) Serialize() []byte { return r }

// tableExists asks whether a table is there; rules inside it are not looked at.
func tableExists(c *conn, family uint8, table string) (bool, error) {
	req := nfRequest(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETTABLE, 0, family, 0)
	req.AddData(nl.NewRtAttr(unix.NFTA_TABLE_NAME, nl.ZeroTerminated(table)))
	errs, err := c.do(req)
	switch {
	case err != nil:
		return false, err
	case errors.Is(errs[0], unix.ENOENT):
		return false, nil
	}
	return errs[0] == nil, errs[0]
}
