package fsm

// Kind implements Event for each of them: its name for ever.
func (ClusterFounded) Kind() string { return "cluster_founded" }
func (DomainChanged) Kind() string  { return "domain_changed" }
func (WishApplied) Kind() string    { return "wish_applied" }
func (WishDestroyed) Kind() string  { return "wish_destroyed" }
func (NetworkCreated) Kind() string { return "network_created" }
func (NetworkChanged) Kind() string { return "network_changed" }
func (NetworkRemoved) Kind() string { return "network_removed" }
func (ImageTagged) Kind() string    { return "image_tagged" }
func (ImageUntagged) Kind() string  { return "image_untagged" }
func (BuildReported) Kind() string  { return "build_reported" }
func (JailCreated) Kind() string    { return "jail_created" }
func (JailChanged) Kind() string    { return "jail_changed" }
func (JailWanted) Kind() string     { return "jail_wanted" }
func (JailRemoved) Kind() string    { return "jail_removed" }
func (LeaseGranted) Kind() string   { return "lease_granted" }
func (LeaseReleased) Kind() string  { return "lease_released" }
func (RecordAdded) Kind() string    { return "record_added" }
func (RecordRemoved) Kind() string  { return "record_removed" }
func (CertNamed) Kind() string      { return "cert_named" }
func (CertRequested) Kind() string  { return "cert_requested" }
func (CertIssued) Kind() string     { return "cert_issued" }
func (CertRemoved) Kind() string    { return "cert_removed" }
func (JailPlaced) Kind() string     { return "jail_placed" }
func (RunStopping) Kind() string    { return "run_stopping" }
func (RunReported) Kind() string    { return "run_reported" }
func (HostRegistered) Kind() string { return "host_registered" }
func (HostMarked) Kind() string     { return "host_marked" }

// Object implements Event: noun, blank, name.
func (e ClusterFounded) Object() string { return "cluster " + e.Cluster.ID }
func (e DomainChanged) Object() string  { return "domain " + e.Domain }
func (e WishApplied) Object() string    { return "wish " + e.Wish.Name }
func (e WishDestroyed) Object() string  { return "wish " + e.Name }
func (e NetworkCreated) Object() string { return "network " + e.Network.Name }
func (e NetworkChanged) Object() string { return "network " + e.Network.Name }
func (e NetworkRemoved) Object() string { return "network " + e.Name }
func (e ImageTagged) Object() string    { return "image " + e.Image.Name }
func (e ImageUntagged) Object() string  { return "image " + e.Name }
func (e BuildReported) Object() string  { return "build " + e.Build.Key }
func (e JailCreated) Object() string    { return "jail " + e.Jail.Spec.Name }
func (e JailChanged) Object() string    { return "jail " + e.Jail.Spec.Name }
func (e JailWanted) Object() string     { return "jail " + e.Jail.Spec.Name }
func (e JailRemoved) Object() string    { return "jail " + string(e.Name) }
func (e LeaseGranted) Object() string {
	return "lease " + e.Lease.Network + "/" + e.Lease.Addr.String()
}
func (e LeaseReleased) Object() string {
	return "lease " + e.Lease.Network + "/" + e.Lease.Addr.String()
}
func (e RecordAdded) Object() string    { return "record " + e.Record.Name }
func (e RecordRemoved) Object() string  { return "record " + e.Record.Name }
func (e CertNamed) Object() string      { return "cert " + string(e.Cert.Jail) }
func (e CertRequested) Object() string  { return "cert " + string(e.Cert.Jail) }
func (e CertIssued) Object() string     { return "cert " + string(e.Cert.Jail) }
func (e CertRemoved) Object() string    { return "cert " + string(e.Jail) }
func (e JailPlaced) Object() string     { return "jail " + string(e.Run.Jail) }
func (e RunStopping) Object() string    { return "jail " + string(e.Run.Jail) }
func (e RunReported) Object() string    { return "jail " + string(e.Run.Jail) }
func (e HostRegistered) Object() string { return "host " + e.Host.Name }
func (e HostMarked) Object() string     { return "host " + e.Host.Name }
