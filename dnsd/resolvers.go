package dnsd

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"

	"github.com/miekg/dns"
)

// ResolvConf are the files that may name the host's resolvers, the usual one
// first. Where that names systemd-resolved on 127.0.0.53, which no other network
// namespace reaches, the second has the resolvers behind it.
var ResolvConf = []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"}

// Resolvers are the name servers of the first of paths that names one which
// can be used. With loopback false those on a loopback address cannot: a
// router asks from its own network namespace. None at all is no error.
func Resolvers(paths []string, loopback bool) ([]netip.AddrPort, error) {
	for _, path := range paths {
		config, err := dns.ClientConfigFromFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the host's resolvers from %s: %w", path, err)
		}
		var found []netip.AddrPort
		for _, server := range config.Servers {
			addr, err := netip.ParseAddr(server)
			if err == nil && (loopback || !addr.IsLoopback()) && !addr.IsUnspecified() {
				found = append(found, netip.AddrPortFrom(addr, 53))
			}
		}
		if len(found) > 0 {
			return found, nil
		}
	}
	return nil, nil
}
