package fsm

// Level is what this program knows of the log: it is raised with each version
// that adds kinds of commands. A host says its own when it registers.
const Level = 2

// firstKinds are those that every program knows.
var firstKinds = map[string]bool{
	Genesis{}.Kind(): true, ApplyWish{}.Kind(): true, DestroyWish{}.Kind(): true, WantJail{}.Kind(): true, RestartJail{}.Kind(): true,
	PlaceJail{}.Kind(): true, StopRun{}.Kind(): true, ReportRun{}.Kind(): true, RegisterHost{}.Kind(): true, MarkHost{}.Kind(): true,
	RequestCert{}.Kind(): true, SetCert{}.Kind(): true, TagImage{}.Kind(): true, UntagImage{}.Kind(): true, ReportBuild{}.Kind(): true,
	TrustSigner{}.Kind(): true, UntrustSigner{}.Kind(): true, PinBase{}.Kind(): true, UnpinBase{}.Kind(): true, RefuseBase{}.Kind(): true,
	CreateToken{}.Kind(): true, RevokeToken{}.Kind(): true, AdmitHost{}.Kind(): true, ReportJoin{}.Kind(): true, LabelHost{}.Kind(): true,
	RemoveHost{}.Kind(): true, RotateGossip{}.Kind(): true, RaiseGeneration{}.Kind(): true,
}

// LevelOf is the lowest Level that knows a kind of command.
func LevelOf(kind string) int {
	if firstKinds[kind] {
		return 1
	}
	return Level
}

// TooOld is a host whose program does not know a kind, nil if all do. One that
// is lost does not count: when it comes back it stops, and says that it is to
// be upgraded.
func (s *State) TooOld(kind string) *Host {
	need := LevelOf(kind)
	if need <= 1 {
		return nil
	}
	for _, h := range s.Hosts.All {
		if max(h.Level, 1) < need && h.State != HostLost && h.State != HostJoining {
			return h
		}
	}
	return nil
}
