package netd

// New returns the driver of this host. It makes nothing yet; Close it.
func New(o Options) (Driver, error) { return NewFreeBSD(o) }
