package rpc

import (
	"fmt"
	"strings"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/pki"
)

// ofHosts are the kinds of commands that a member proposes as itself. The
// State checks that they speak of that member.
var ofHosts = map[string]bool{
	fsm.RegisterHost{}.Kind(): true,
	fsm.HoldCA{}.Kind():       true,
	fsm.ReportRun{}.Kind():    true,
	fsm.RequestCert{}.Kind():  true,
	fsm.ReportBuild{}.Kind():  true,
	fsm.MoveStep{}.Kind():     true,
	fsm.ReportVolume{}.Kind(): true,
	fsm.RefuseBase{}.Kind():   true,
	fsm.ReportFetch{}.Kind():  true,
	fsm.ReportAlarm{}.Kind():  true,
	fsm.LeaseGuests{}.Kind():  true,
	fsm.EndGuests{}.Kind():    true,

	fsm.ReportOverlay{}.Kind(): true,
}

// ofUsers are the kinds that a server carries for users; ofTokens those for
// hosts that join there.
var (
	ofUsers = map[string]bool{
		fsm.ApplyWish{}.Kind(): true, fsm.DestroyWish{}.Kind(): true, fsm.WantJail{}.Kind(): true, fsm.RestartJail{}.Kind(): true,
		fsm.TagImage{}.Kind(): true, fsm.UntagImage{}.Kind(): true, fsm.ReportBuild{}.Kind(): true,
		fsm.MoveJail{}.Kind(): true, fsm.MoveVolume{}.Kind(): true, fsm.CancelMove{}.Kind(): true,
		fsm.RekeyHost{}.Kind(): true,
		fsm.MarkHost{}.Kind():  true, fsm.LabelHost{}.Kind(): true, fsm.RemoveHost{}.Kind(): true,
		fsm.TrustSigner{}.Kind(): true, fsm.UntrustSigner{}.Kind(): true, fsm.PinBase{}.Kind(): true, fsm.UnpinBase{}.Kind(): true,
		fsm.CreateToken{}.Kind(): true, fsm.RevokeToken{}.Kind(): true, fsm.RotateGossip{}.Kind(): true,
		fsm.AddCA{}.Kind(): true, fsm.ChainCA{}.Kind(): true, fsm.RetireCA{}.Kind(): true, fsm.RevokeCert{}.Kind(): true,
		fsm.RestorePart{}.Kind(): true, fsm.RestoreState{}.Kind(): true,
	}
	ofTokens = map[string]bool{fsm.AdmitHost{}.Kind(): true, fsm.ReportJoin{}.Kind(): true}
)

// ofLeader are the kinds that nobody carries: the leader's own duties propose
// them where they are.
var ofLeader = map[string]bool{
	fsm.Genesis{}.Kind(): true, fsm.PlaceJail{}.Kind(): true, fsm.StopRun{}.Kind(): true, fsm.SetCert{}.Kind(): true,
	fsm.RaiseGeneration{}.Kind(): true, fsm.ActivateCA{}.Kind(): true, fsm.ReportAbuse{}.Kind(): true,
}

// ownAffair says why what a member says of itself is about another one. The
// State refuses it as well; here it is known who said it.
func ownAffair(peer pki.ID, e fsm.Entry) error {
	var of fsm.HostID
	switch c := e.Cmd.(type) {
	case fsm.RegisterHost:
		of = c.Host.ID
	case fsm.ReportRun:
		of = c.Host
	case fsm.RequestCert:
		of = c.Host
	case fsm.ReportBuild:
		of = c.Host
	case fsm.HoldCA:
		of = c.Host
	case fsm.ReportFetch:
		of = c.Host
	case fsm.ReportAlarm:
		of = c.Host
	case fsm.LeaseGuests:
		of = c.Host
	case fsm.EndGuests:
		of = c.Host
	default:
		return nil
	}
	if strings.HasPrefix(e.By, "host/") && string(of) != peer.Name {
		return fmt.Errorf("%s cannot speak for host %s", peer, of)
	}
	return nil
}

// MayPropose says why peer may not bring e, nil if it may.
func MayPropose(peer pki.ID, e fsm.Entry) error {
	kind := e.Cmd.Kind()
	class, name, _ := strings.Cut(e.By, "/")
	switch {
	case class == "host" && name != peer.Name:
		return fmt.Errorf("%s cannot speak for host %s", peer, name)
	case class == "host" && ofHosts[kind]:
		return nil
	case peer.Role != pki.RoleServer:
		return fmt.Errorf("%s may propose as itself only: ask a server to %s", peer, kind)
	case class == "user" && ofUsers[kind], class == "token" && ofTokens[kind]:
		return nil
	}
	return fmt.Errorf("%s cannot propose %s as %s", peer, kind, e.By)
}
