package main

import (
	"fmt"
	"os"
	"path/filepath"
)

var ours = side{"dhcpd", 6000, 500, func(dir string) ([]string, error) {
	self, err := os.Executable()
	return []string{self, "-serve", dir}, err
}}

var kea = side{"kea", 6000, 500, func(dir string) ([]string, error) {
	conf := filepath.Join(dir, "kea.json")
	text := fmt.Sprintf(`{"Dhcp4": {
  "interfaces-config": {"interfaces": ["lan/%s"], "dhcp-socket-type": "udp"},
  "lease-database": {"type": "memfile", "persist": true, "name": %q, "lfc-interval": 0},
  "valid-lifetime": 3600, "authoritative": true,
  "subnet4": [{"id": 1, "subnet": %q, "pools": [{"pool": "%s-%s"}]}],
  "loggers": [{"name": "kea-dhcp4", "severity": "ERROR", "output_options": [{"output": "stderr"}]}]
}}`, serverIP, filepath.Join(dir, "leases.csv"), subnet, poolFirst, poolLast)
	return []string{"kea-dhcp4", "-c", conf}, os.WriteFile(conf, []byte(text), 0o644)
}}

var dnsmasq = side{"dnsmasq", 100, 25, func(dir string) ([]string, error) {
	return []string{"dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root", "--interface=lan", "--bind-interfaces",
		"--dhcp-range=" + poolFirst + "," + poolLast + ",255.240.0.0,1h", "--dhcp-lease-max=1000000", "--dhcp-authoritative", "--no-ping",
		"--quiet-dhcp", "--dhcp-leasefile=" + filepath.Join(dir, "leases"), "--pid-file=" + filepath.Join(dir, "pid")}, nil
}}
