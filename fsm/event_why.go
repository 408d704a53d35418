package fsm

import (
	"fmt"
	"strings"
)

// Why implements Event: the reason for people, "" where the event says all.
func (ClusterFounded) Why() string  { return "" }
func (DomainChanged) Why() string   { return "" }
func (WishDestroyed) Why() string   { return "" }
func (NetworkRemoved) Why() string  { return "" }
func (ImageUntagged) Why() string   { return "" }
func (CertRemoved) Why() string     { return "" }
func (JailRemoved) Why() string     { return "" }
func (e JailChanged) Why() string   { return e.Reason }
func (e JailWanted) Why() string    { return e.Reason }
func (e HostMarked) Why() string    { return e.Reason }
func (e RunStopping) Why() string   { return e.Run.StopWhy }
func (e ImageTagged) Why() string   { return e.Image.Key }
func (e LeaseGranted) Why() string  { return "for " + string(e.Lease.Jail) }
func (e LeaseReleased) Why() string { return "by " + string(e.Lease.Last) }
func (e RecordAdded) Why() string   { return e.Record.answer() }
func (e RecordRemoved) Why() string { return e.Record.answer() }
func (e CertNamed) Why() string     { return strings.Join(e.Cert.Names, " ") }
func (e CertRequested) Why() string { return "by host " + string(e.Cert.CSRBy) }
func (e CertIssued) Why() string    { return "serial " + e.Cert.Serial }

// Why says how much the wish declares.
func (e WishApplied) Why() string {
	return fmt.Sprintf("%d networks, %d images, %d jails", len(e.Wish.Networks), len(e.Wish.Images), len(e.Wish.Jails))
}

// Why says the subnets.
func (e NetworkCreated) Why() string { return e.Network.subnets() }

// Why says the subnets, or that it goes.
func (e NetworkChanged) Why() string {
	if e.Network.Gone {
		return "removed with its last jail"
	}
	return e.Network.subnets()
}

// Why says who holds it.
func (e BuildReported) Why() string { return fmt.Sprintf("on %d hosts", len(e.Build.Hosts)) }

// Why says the addresses.
func (e JailCreated) Why() string {
	var all []string
	for _, a := range e.Jail.Addrs {
		all = append(all, a.Network+" "+a.Addr.String())
	}
	return strings.Join(all, ", ")
}

// Why says which Run, where, and the scheduler's reason.
func (e JailPlaced) Why() string {
	return fmt.Sprintf("run %d on host %s: %s", e.Run.Seq, e.Run.Host, e.Run.Why)
}

// Why says how the Run moved on.
func (e RunReported) Why() string {
	why := fmt.Sprintf("%s, %s", e.Run.Phase, e.Run.Health)
	if e.From != e.Run.Phase {
		why = e.From.String() + " to " + why
	}
	if e.Run.Reason != "" {
		why += ": " + e.Run.Reason
	}
	return why
}

// Why says what the host is.
func (e HostRegistered) Why() string {
	return fmt.Sprintf("%s %s/%s, runtime %s", e.Host.Role, e.Host.OS, e.Host.Arch, e.Host.Runtime)
}

func (n *Network) subnets() string {
	if n.Subnet6.IsValid() {
		return n.Subnet.String() + " " + n.Subnet6.String()
	}
	return n.Subnet.String()
}

// answer is the record without its name, as in a zone file.
func (r *Record) answer() string {
	switch r.Type {
	case "PTR":
		return "PTR " + r.Target
	case "SRV":
		return fmt.Sprintf("SRV %d %s", r.Port, r.Target)
	}
	return r.Type + " " + r.Addr.String()
}

var phaseNames = [...]string{
	Placed: "placed", Preparing: "preparing", Ready: "ready", Starting: "starting", Running: "running",
	Stopping: "stopping", Stopped: "stopped", Failed: "failed", Lost: "lost",
}

// String is the phase in lower case, "phase 42" for one that does not exist.
func (p Phase) String() string {
	if p < Placed || p > Lost {
		return fmt.Sprintf("phase %d", int(p))
	}
	return phaseNames[p]
}
