package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/plan"
	"github.com/rexcarcer/rexcarcer/spec"
)

func planCommand() *cli.Command {
	return &cli.Command{
		Name: "plan", Usage: "show what apply would do", ArgsUsage: "FILE|FOLDER|-",
		Flags: []cli.Flag{
			varFlag(),
			&cli.StringFlag{Name: "out", Usage: "save the plan to `FILE`, for apply to do exactly this"},
			&cli.BoolFlag{Name: "exit-code", Usage: "exit 2 if there are changes"},
		}, Action: planAction,
	}
}

func planAction(c *cli.Context) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	p, err := makePlan(c, client, c.Args().First())
	if err != nil {
		return err
	}
	if structured(c) {
		err = document(c, p.raw)
	} else {
		err = p.print(envOf(c), envOf(c).stdout)
	}
	if err != nil {
		return err
	}
	if out := c.String("out"); out != "" {
		if err := p.save(out); err != nil {
			return err
		}
		envOf(c).note("saved: rexctl apply %s", safe(out))
	}
	if c.Bool("exit-code") && p.changes() {
		return &exit{code: exitChanges}
	}
	return nil
}

// planned is a wish, what applying it would do, and where its files are.
type planned struct {
	wish    *spec.Wish
	destroy bool   // the wish goes
	dir     string // .rex files are named from here
	file    string // as the user named it
	plan    plan.Plan
	raw     json.RawMessage // the plan as the daemon sent it
	saved   bool            // it comes from a file of plan -out
}

// changes says whether an apply would do anything.
func (p *planned) changes() bool { return len(p.plan.Steps) > 0 }

// destroys says whether the plan takes something away that would be missed.
func (p *planned) destroys() bool { return p.plan.Summary.Destroy > 0 }

// print writes the plan for people.
func (p *planned) print(e *env, w io.Writer) error {
	return p.plan.Text(w, p.options(e, w))
}

func (p *planned) options(e *env, w io.Writer) plan.TextOptions {
	tty := e.outTTY
	if w == e.stderr {
		tty = e.errTTY
	}
	o := plan.TextOptions{Color: e.colour(tty), File: p.file}
	if tty {
		o.Width = e.width()
	}
	return o
}

// printApplied is print for who is applying: the last line, which says how to
// apply, would only confuse.
func (p *planned) printApplied(e *env, w io.Writer) error {
	var b strings.Builder
	if err := p.plan.Text(&b, p.options(e, w)); err != nil {
		return err
	}
	text, _, _ := strings.Cut(b.String(), "apply with: ")
	_, err := io.WriteString(w, text)
	return err
}

// makePlan reads a file and asks the daemon what it would do.
func makePlan(c *cli.Context, client *api.Client, name string) (*planned, error) {
	vars, err := variables(c)
	if err != nil {
		return nil, err
	}
	s, err := readSource(envOf(c), name)
	if err != nil {
		return nil, err
	}
	return planSource(c, client, s, vars)
}

func planSource(c *cli.Context, client *api.Client, s *source, vars map[string]string) (*planned, error) {
	in := s.inputs(vars)
	if err := known(c.Context, client, &in); err != nil {
		return nil, err
	}
	w, err := s.parse(c, in)
	if err != nil {
		return nil, err
	}
	if err := pinBases(c.Context, client, w, false); err != nil {
		return nil, err
	}
	p := &planned{wish: w, dir: s.dir, file: s.name}
	if s.isRex() {
		p.dir = "." // the image names its file as the user did
		if filepath.IsAbs(s.name) {
			p.dir = "/"
		}
	}
	return p, p.refresh(c.Context, client)
}

// refresh asks the daemon for the plan as it would be now.
func (p *planned) refresh(ctx context.Context, client *api.Client) error {
	var answer *api.Plan
	var err error
	if p.destroy {
		answer, err = client.DestroyPlan(ctx, p.wish.Name)
	} else {
		answer, err = client.Plan(ctx, p.wish)
	}
	if err != nil {
		return err
	}
	return p.decode(answer.Raw)
}

func (p *planned) decode(raw json.RawMessage) error {
	p.plan, p.raw = plan.Plan{}, raw
	if err := json.Unmarshal(raw, &p.plan); err != nil {
		return fmt.Errorf("read the plan of %s: %w", p.wish.Name, err)
	}
	return nil
}

// savedPlan is the file that plan -out writes.
type savedPlan struct {
	Saved int             `json:"rexctl_plan"` // version of this format
	Dir   string          `json:"dir"`         // .rex files are named from here
	File  string          `json:"file"`        // as the user named it
	Wish  *spec.Wish      `json:"wish"`
	Plan  json.RawMessage `json:"plan"`
}

func (p *planned) save(name string) error {
	dir, err := filepath.Abs(p.dir)
	if err != nil {
		return fmt.Errorf("save the plan: %w", err)
	}
	b, err := json.MarshalIndent(savedPlan{1, dir, p.file, p.wish, p.raw}, "", "  ")
	if err != nil {
		return fmt.Errorf("save the plan: %w", err)
	}
	if err := os.WriteFile(name, append(b, '\n'), 0o600); err != nil { // env may hold secrets
		return fmt.Errorf("save the plan: %w", err)
	}
	return nil
}

// loadPlan reads a saved plan; ok is false if text is something else.
func loadPlan(text []byte) (p *planned, ok bool, err error) {
	if !strings.HasPrefix(strings.TrimSpace(string(text)), "{") {
		return nil, false, nil
	}
	var s savedPlan
	if json.Unmarshal(text, &s) != nil || s.Saved == 0 {
		return nil, false, nil //nolint:nilerr // something else: a cluster file in JSON
	}
	if s.Saved != 1 || s.Wish == nil {
		return nil, true, fmt.Errorf("the plan was saved by another version of rexctl\n  try: rexctl plan -out again")
	}
	p = &planned{wish: s.Wish, dir: s.Dir, file: s.File}
	if p.decode(s.Plan) != nil {
		return nil, true, errors.New("the saved plan is damaged\n  try: rexctl plan -out again")
	}
	return p, true, nil
}
