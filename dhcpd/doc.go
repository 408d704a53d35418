// Package dhcpd answers DHCP for the guests of networks: machines that are
// plugged into a bridge and ask for an address.
package dhcpd

import _ "github.com/insomniacslk/dhcp/dhcpv4"
