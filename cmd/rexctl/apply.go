package main

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/plan"
	"github.com/rexcarcer/rexcarcer/spec"
)

func waitFlags(def string) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "wait", Value: def, Usage: "until jails are `healthy`, their names answer (dns), or none"},
		&cli.DurationFlag{Name: "timeout", Value: 5 * time.Minute, Usage: "of the wait; exit 3 when it is over"},
	}
}

func yesFlag() cli.Flag {
	return &cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask"}
}

func indexFlag() cli.Flag {
	return &cli.Uint64Flag{Name: "check-index", Usage: "refuse with exit 4 unless the cluster is as it was at this base_index of a plan"}
}

func applyCommand() *cli.Command {
	return &cli.Command{
		Name: "apply", Usage: "make a cluster file true", ArgsUsage: "FILE|FOLDER|PLAN|-",
		Flags: append(waitFlags("healthy"), indexFlag(), varFlag(), yesFlag()), Action: apply,
	}
}

func destroyCommand() *cli.Command {
	return &cli.Command{
		Name: "destroy", Usage: "remove all that a cluster file declares", ArgsUsage: "FILE|NAME",
		Flags: append(waitFlags("healthy"), indexFlag(), varFlag(), yesFlag()), Action: destroy,
	}
}

// result is what apply and destroy print with -o json.
type result struct {
	Wish    string        `json:"wish"`
	Index   uint64        `json:"index"` // of the log; 0: nothing was to do
	Changes int           `json:"changes"`
	Jails   []api.JailRow `json:"jails"`
}

func apply(c *cli.Context) error {
	if err := checkWait(c); err != nil {
		return err
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	p, err := planOrSaved(c, client)
	if err != nil {
		return err
	}
	base := p.plan.BaseIndex
	if c.IsSet("check-index") {
		base = c.Uint64("check-index")
	}
	if !p.changes() {
		return unchanged(c, client, p, base)
	}
	if err := showPlan(c, p); err != nil {
		return err
	}
	if p.destroys() {
		if err := confirm(c, "This removes what the plan marks as destroy."); err != nil {
			return err
		}
	}
	if err := buildMissing(c, client, p); err != nil {
		return err
	}
	done, err := commit(c, client, p, base)
	if err != nil {
		return conflict(c, client, p, fmt.Errorf("apply %s: %w", p.wish.Name, err))
	}
	return follow(c, client, p, done)
}

// commit applies the wish. When somebody else changed the cluster since it was
// planned, and the plan is still the same, it is what the user saw: it is tried
// again at the new index. Who pins an index, or saved the plan, wants no other.
func commit(c *cli.Context, client *api.Client, p *planned, base uint64) (api.Applied, error) {
	const most = 10
	shown := steps(p)
	for tries := 1; ; tries++ {
		done, err := client.ApplyWish(c.Context, p.wish, base)
		var answer *api.Error
		if err == nil || tries == most || p.saved || c.IsSet("check-index") || !errors.As(err, &answer) || answer.Code != "conflict" {
			return done, err
		}
		if p.refresh(c.Context, client) != nil || !reflect.DeepEqual(steps(p), shown) {
			return done, err
		}
		base = p.plan.BaseIndex
	}
}

// steps are the plan's without what may differ and changes nothing: scores, and
// whether the image is built, which it is by now.
func steps(p *planned) []plan.Step {
	out := slices.Clone(p.plan.Steps)
	for i := range out {
		out[i].Score, out[i].Built = "", ""
	}
	return out
}

// planOrSaved is the argument: a plan that was saved, or a file to plan now.
func planOrSaved(c *cli.Context, client *api.Client) (*planned, error) {
	if err := wantArgs(c, 1, 1); err != nil {
		return nil, err
	}
	vars, err := variables(c)
	if err != nil {
		return nil, err
	}
	s, err := readSource(envOf(c), c.Args().First())
	if err != nil {
		return nil, err
	}
	p, saved, err := loadPlan(s.text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	if saved {
		p.saved = true
		return p, nil
	}
	return planSource(c, client, s, vars)
}

// unchanged ends an apply that has nothing to do. What is missing all the
// same (an image that was removed, a jail that is not up) is still seen to.
func unchanged(c *cli.Context, client *api.Client, p *planned, base uint64) error {
	if c.IsSet("check-index") && base != p.plan.BaseIndex {
		err := &api.Error{Code: "conflict", Object: "wish " + p.wish.Name, Message: fmt.Sprintf("the cluster is at index %d, not at %d", p.plan.BaseIndex, base), Hint: "rexctl plan"}
		return conflict(c, client, p, err)
	}
	if err := buildMissing(c, client, p); err != nil {
		return err
	}
	if structured(c) {
		jails, err := client.Jails(c.Context, api.JailFilter{Wish: p.wish.Name})
		if err != nil {
			return err
		}
		return document(c, result{Wish: p.wish.Name, Jails: jails})
	}
	return said(c, nil, "No changes.")
}

// showPlan prints the plan where people look and programs do not.
func showPlan(c *cli.Context, p *planned) error {
	e := envOf(c)
	if c.Bool("quiet") {
		return nil
	}
	if structured(c) {
		return p.printApplied(e, e.stderr)
	}
	return p.printApplied(e, e.stdout)
}

// conflict explains a refusal because the cluster has moved on: with the plan
// as it would be now.
func conflict(c *cli.Context, client *api.Client, p *planned, err error) error {
	var answer *api.Error
	if !errors.As(err, &answer) || answer.Code != "conflict" {
		return err
	}
	e := envOf(c)
	if p.refresh(c.Context, client) == nil {
		e.note("The cluster has changed since the plan was made. Now it would be:")
		show := p.print
		if p.destroy { // its last line says how to apply
			show = p.printApplied
		}
		_ = show(e, e.stderr)
	}
	return &exit{exitConflict, err}
}

func follow(c *cli.Context, client *api.Client, p *planned, done api.Applied) error {
	e := envOf(c)
	if !c.Bool("quiet") {
		e.note("applied %s at index %d", p.wish.Name, done.Index)
	}
	w := &waiter{c: c, e: e, client: client, wish: p.wish.Name, mode: c.String("wait"), timeout: c.Duration("timeout"), gone: goneJails(p)}
	jails, waited := w.run()
	if structured(c) {
		if err := document(c, result{p.wish.Name, done.Index, len(p.plan.Steps), jails}); err != nil {
			return err
		}
	}
	return waited
}

// goneJails are the jails that the plan takes away.
func goneJails(p *planned) map[string]bool {
	out := map[string]bool{}
	for _, s := range p.plan.Steps {
		if s.Kind == "jail" && s.Action == "destroy" {
			out[s.Name] = true
		}
	}
	return out
}

func destroy(c *cli.Context) error {
	if err := checkWait(c); err != nil {
		return err
	}
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	name, err := wishName(c, client, c.Args().First())
	if err != nil {
		return err
	}
	p := &planned{wish: &spec.Wish{Name: name}, destroy: true, dir: ".", file: c.Args().First()}
	if err := p.refresh(c.Context, client); err != nil {
		return err
	}
	base := p.plan.BaseIndex
	if c.IsSet("check-index") {
		base = c.Uint64("check-index")
	}
	if err := showPlan(c, p); err != nil {
		return err
	}
	if err := confirm(c, fmt.Sprintf("Destroy all of %s?", name)); err != nil {
		return err
	}
	done, err := client.DestroyWish(c.Context, name, base)
	if err != nil {
		return conflict(c, client, p, fmt.Errorf("destroy %s: %w", name, err))
	}
	return follow(c, client, p, done)
}

// wishName is the wish that the user means: one that was applied, or that of
// a file.
func wishName(c *cli.Context, client *api.Client, arg string) (string, error) {
	wishes, err := client.Wishes(c.Context)
	if err != nil {
		return "", err
	}
	has := func(name string) bool {
		for _, w := range wishes {
			if w.Name == name {
				return true
			}
		}
		return false
	}
	if has(arg) {
		return arg, nil
	}
	s, err := readSource(envOf(c), arg)
	if err != nil {
		return "", fmt.Errorf("%s is neither an applied wish nor a file\n  try: rexctl status", safe(arg))
	}
	vars, err := variables(c)
	if err != nil {
		return "", err
	}
	in := s.inputs(vars)
	if err := known(c.Context, client, &in); err != nil {
		return "", err
	}
	w, err := s.parse(c, in)
	if err != nil {
		return "", err
	}
	if !has(w.Name) {
		return "", &api.Error{Code: "not_found", Object: "wish " + w.Name, Message: "it has not been applied", Hint: "rexctl status"}
	}
	return w.Name, nil
}
