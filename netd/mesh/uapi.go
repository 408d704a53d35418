package mesh

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// text writes c in the configuration protocol of WireGuard devices (https://www.wireguard.com/xplatform/), as the embedded
// device reads it. In it, unlike in the kernel's of most hosts, a single address can be taken away.
func (c change) text() string {
	var b strings.Builder
	if c.Private != nil {
		fmt.Fprintf(&b, "private_key=%s\n", c.Private.hex())
	}
	if c.Port != nil {
		fmt.Fprintf(&b, "listen_port=%d\n", *c.Port)
	}
	if c.Replace {
		b.WriteString("replace_peers=true\n")
	}
	for _, p := range c.Peers {
		fmt.Fprintf(&b, "public_key=%s\n", p.Key.hex())
		if p.Endpoint.IsValid() {
			fmt.Fprintf(&b, "endpoint=%s\n", p.Endpoint)
		}
		for _, a := range p.Del {
			fmt.Fprintf(&b, "allowed_ip=-%s/%d\n", a, a.BitLen())
		}
		for _, a := range p.Add {
			fmt.Fprintf(&b, "allowed_ip=%s/%d\n", a, a.BitLen())
		}
		if p.Greet {
			b.WriteString("persistent_keepalive_interval=25\n")
		}
	}
	for _, k := range c.Remove {
		fmt.Fprintf(&b, "public_key=%s\nremove=true\n", k.hex())
	}
	return b.String()
}

// calm ends what Greet began: the device greets when keepalives are turned on, and needs none after that.
func (c change) calm() string {
	var b strings.Builder
	for _, p := range c.Peers {
		if p.Greet {
			fmt.Fprintf(&b, "public_key=%s\nupdate_only=true\npersistent_keepalive_interval=0\n", p.Key.hex())
		}
	}
	return b.String()
}

// parsePeers reads the peers of what a device answers to "get".
func parsePeers(text string) (peers []PeerView, err error) {
	var sec, nsec int64
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), "=")
		if key == "public_key" {
			k, err := hex.DecodeString(value)
			if err != nil || len(k) != len(Key{}) {
				return nil, fmt.Errorf("overlay: the device has a peer %q: want 64 hex digits", value)
			}
			peers = append(peers, PeerView{Key: Key(k)})
			sec, nsec = 0, 0
		}
		if len(peers) == 0 {
			continue
		}
		p := &peers[len(peers)-1]
		switch key {
		case "endpoint":
			p.Endpoint = value
		case "allowed_ip":
			a, err := netip.ParsePrefix(value)
			if err != nil {
				return nil, fmt.Errorf("overlay: the device allows %q: %w", value, err)
			}
			p.Allowed = append(p.Allowed, a.Addr())
		case "last_handshake_time_sec":
			sec, err = strconv.ParseInt(value, 10, 64)
		case "last_handshake_time_nsec":
			nsec, err = strconv.ParseInt(value, 10, 64)
		case "rx_bytes":
			p.Received, err = strconv.ParseInt(value, 10, 64)
		case "tx_bytes":
			p.Sent, err = strconv.ParseInt(value, 10, 64)
		}
		if err != nil {
			return nil, fmt.Errorf("overlay: the device says %s=%q: %w", key, value, err)
		}
		if sec+nsec > 0 {
			p.Handshake = time.Unix(sec, nsec)
		}
	}
	for i := range peers {
		slices.SortFunc(peers[i].Allowed, netip.Addr.Compare)
	}
	slices.SortFunc(peers, func(a, b PeerView) int { return slices.Compare(a.Key[:], b.Key[:]) })
	return peers, lines.Err()
}
