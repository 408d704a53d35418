# A host that runs jails and never votes. It joins with a token of the role host:
#
#   rexcarcer join -token TOKEN 192.0.2.11:7370

advertise    = "192.0.2.21"
cluster_port = 7370
gossip_port  = 7371

# Images and volumes travel between hosts; leave room for everything else.
sync_rate = 100 # MiB per second

# Steps of images that are built here.
build_memory  = "2G"
build_timeout = "30m"

# No API for other machines, and no metrics.
api_port     = 0
metrics_port = 0

log_level = "info"
