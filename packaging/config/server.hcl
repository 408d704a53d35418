# A server: it may vote and lead. /etc/rexcarcer/rexcarcer.hcl on Linux,
# /usr/local/etc/rexcarcer/rexcarcer.hcl on FreeBSD. Flags and REXCARCER_*
# variables win over it; every setting is in docs/reference/rexcarcer.md.

# The address by which the other hosts reach this one.
advertise = "192.0.2.11"

# Ports that other hosts must reach: 7370 TCP, 7371 TCP and UDP.
cluster_port = 7370
gossip_port  = 7371

# The DNS domain of a new cluster; what is there keeps its own.
domain = "rex.internal"

# For placement: `constraint = "rack == r1"`.
labels = {
  rack = "r1"
  ssd  = "yes"
}

# The API over TLS for people on other machines. The local socket is always there.
bind     = "192.0.2.11"
api_port = 7372

# Without it the CA's keys lie in the clear in data_dir, readable by root alone.
# ca_passphrase_file = "/etc/rexcarcer/ca.pass"
