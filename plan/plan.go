package plan

import (
	"errors"
	"fmt"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

// Actions of a Step.
const (
	ActionCreate  = "create"
	ActionChange  = "change"
	ActionMove    = "move" // a jail changes and starts again on another host
	ActionDestroy = "destroy"
)

// Kinds of a Step.
const (
	KindDomain  = "domain"
	KindKeys    = "ssh-keys"
	KindNetwork = "network"
	KindPublish = "publish"
	KindImage   = "image"
	KindJail    = "jail"
	KindVolume  = "volume"
	KindDNS     = "dns"
	KindCert    = "cert"
)

// Plan is what one apply or destroy will do. Its JSON is described in
// docs/reference/plan-json.md.
type Plan struct {
	BaseIndex uint64     `json:"base_index"` // of the last entry that the plan depends on
	Name      string     `json:"name"`       // of the wish
	Destroy   bool       `json:"destroy"`    // the wish goes, with all that it declared
	Steps     []Step     `json:"steps"`      // by kind in a fixed order; [] if nothing changes
	Summary   Summary    `json:"summary"`
	Builds    []string   `json:"builds"` // names of images that no host has yet
	Warnings  []string   `json:"warnings"`
	Wish      *spec.Wish `json:"wish,omitempty"` // what will be applied; none for a destroy
}

// Step is one thing that appears, changes, moves or goes.
type Step struct {
	Action    string    `json:"action"`
	Kind      string    `json:"kind"`
	Name      string    `json:"name"`
	Host      string    `json:"host"`   // of a jail: where it will run; "" if that is not known
	Reason    string    `json:"reason"` // why this step
	From      string    `json:"from,omitempty"`
	Restart   bool      `json:"restart,omitempty"` // a running jail is stopped and started again
	Addresses []Address `json:"addresses,omitempty"`
	Names     []string  `json:"names,omitempty"` // DNS names of a jail or certificate
	Ports     []Port    `json:"ports,omitempty"`
	Score     string    `json:"score,omitempty"` // why that host: "spread +1.00 load +0.38"
	Image     string    `json:"image,omitempty"`
	Built     string    `json:"built,omitempty"`   // "yes", "elsewhere" or "no": whether Host has Image
	Changes   []string  `json:"changes,omitempty"` // "memory 256M -> 512M"
	Detail    string    `json:"detail,omitempty"`  // what else is worth knowing, for people
}

// Address is one address of a jail.
type Address struct {
	Network string `json:"network"`
	Address string `json:"address"`
}

// Port is a service of a jail, or a published port and the service behind it.
type Port struct {
	Service string `json:"service"`
	Port    uint16 `json:"port"`
	Proto   string `json:"proto"`
}

// Summary counts the steps for networks, images and jails; all others follow
// from these.
type Summary struct {
	Create   int `json:"create"`
	Change   int `json:"change"`
	Destroy  int `json:"destroy"`
	Move     int `json:"move"`
	Restarts int `json:"restarts"` // running jails that are stopped and started again, moves included
}

// Make plans the apply of wish on s at the time s.Now: a caller with a clock
// hands in a copy of the State with Now moved to the present, since addresses
// become free again as time passes. place is the scheduler's opinion on a
// State at that State's own Now, which the dry run moves on so that what waits
// becomes due; nil leaves all hosts open. The error wraps that of the apply, a
// *fsm.Refusal.
func Make(wish *spec.Wish, s *fsm.State, place func(*fsm.State) []fsm.Command) (*Plan, error) {
	if wish == nil {
		return nil, errors.New("plan: there is no wish")
	}
	p := &Plan{BaseIndex: s.PlanIndex, Name: wish.Name, Wish: wish}
	if err := p.compute(s, fsm.ApplyWish{Wish: *wish}, place); err != nil {
		return nil, fmt.Errorf("plan wish %s: %w", wish.Name, err)
	}
	return p, nil
}

// Destroy plans the end of the wish called name and of all that it
// declared.
func Destroy(name string, s *fsm.State) (*Plan, error) {
	p := &Plan{BaseIndex: s.PlanIndex, Name: name, Destroy: true}
	if err := p.compute(s, fsm.DestroyWish{Name: name}, nil); err != nil {
		return nil, fmt.Errorf("plan the end of wish %s: %w", name, err)
	}
	return p, nil
}

// Command is what to propose to do exactly this plan.
func (p *Plan) Command() fsm.Command {
	if p.Destroy {
		return fsm.DestroyWish{Name: p.Name, Base: p.BaseIndex}
	}
	return fsm.ApplyWish{Wish: *p.Wish, Base: p.BaseIndex}
}

// Empty reports whether there is nothing to do, builds included.
func (p *Plan) Empty() bool { return len(p.Steps) == 0 && len(p.Builds) == 0 }

func (p *Plan) compute(s *fsm.State, cmd fsm.Command, place func(*fsm.State) []fsm.Command) error {
	p.Steps, p.Builds, p.Warnings = []Step{}, []string{}, []string{}
	before := begin(s, place)
	after := before.twin()
	if err := before.settle(); err != nil {
		return err
	}
	events, err := after.apply(cmd)
	if err != nil {
		return err
	}
	if err := after.settle(); err != nil {
		return err
	}
	d := &diff{p: p, now: s, before: before.s, after: after.s, runs: union(before.runs, after.runs), records: union(before.records, after.records), touched: map[string]bool{}}
	d.all(events)
	p.Builds = append(p.Builds, d.builds()...)
	return nil
}
