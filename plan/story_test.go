package plan_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/internal/stage"
	"github.com/rexcarcer/rexcarcer/plan"
	"github.com/rexcarcer/rexcarcer/scheduler"
	"github.com/rexcarcer/rexcarcer/spec"
)

func place(s *fsm.State) []fsm.Command { return scheduler.Schedule(s, s.Now).Commands }

// TestStories runs testdata/story/*.txt:
//
//	host NAME [cpu] [memory] | mark HOST STATE | build IMAGE
//	wish [name=N]    one group a line, see stage.Jails; first lines "network NAME publish=.. nat=off"
//	plan [width=N] [color] [json]    of the last wish
//	destroy [name=N]                 plans the end of a wish
//	apply            what was planned last; then scheduler and agents until all is done
//	propose          what was planned last, and nothing after it
func TestStories(t *testing.T) {
	datadriven.Walk(t, "testdata/story", func(t *testing.T, path string) {
		w := &world{Stage: stage.New()}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string { return w.step(t, d) })
	})
}

type world struct {
	*stage.Stage
	wish spec.Wish
	plan *plan.Plan
}

func (w *world) step(t *testing.T, d *datadriven.TestData) string {
	name := "demo"
	d.MaybeScanArgs(t, "name", &name)
	switch d.Cmd {
	case "host":
		w.AddHost(d.CmdArgs[0].Key, 4, 8<<30, nil)
	case "mark":
		w.Must(fsm.MarkHost{Host: fsm.HostID(d.CmdArgs[0].Key), State: fsm.HostState(d.CmdArgs[1].Key)})
	case "build":
		w.Build(d.CmdArgs[0].Key)
	case "wish":
		if err := w.parse(name, d.Input); err != nil {
			return err.Error()
		}
	case "plan":
		return w.make(t, d, func() (*plan.Plan, error) { return plan.Make(&w.wish, w.S, place) })
	case "destroy":
		return w.make(t, d, func() (*plan.Plan, error) { return plan.Destroy(name, w.S) })
	case "apply":
		if _, err := w.Do(w.plan.Command()); err != nil {
			return "refused: " + err.Error()
		}
		w.settle()
	case "propose":
		if _, err := w.Do(w.plan.Command()); err != nil {
			return "refused: " + err.Error()
		}
	default:
		d.Fatalf(t, "unknown command %s", d.Cmd)
	}
	return "ok"
}

// parse reads network lines by itself and leaves the rest to stage.
func (w *world) parse(name, text string) error {
	var jails string
	var nets []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "network ") {
			nets = append(nets, strings.TrimSpace(line))
			continue
		}
		jails += line
	}
	wish, err := stage.ParseWish(name, jails)
	if err != nil {
		return err
	}
	for _, line := range nets {
		f := strings.Fields(line)
		for i := range wish.Networks {
			if n := &wish.Networks[i]; n.Name == f[1] {
				network(n, f[2:])
			}
		}
	}
	wish.Normalize()
	w.wish = wish
	return nil
}

func network(n *spec.Network, attributes []string) {
	for _, a := range attributes {
		k, v, _ := strings.Cut(a, "=")
		switch k {
		case "dhcp": // FIRST-LAST
			r, err := spec.ParseAddrRange(v)
			if err != nil {
				panic(err)
			}
			n.DHCP = &spec.DHCP{Ranges: []spec.AddrRange{r}, Lease: time.Hour}
		case "nat":
			n.NAT = v == "on"
		case "publish": // NAME:PORT:SERVICE
			f := strings.Split(v, ":")
			p := spec.Publish{Name: f[0], Service: f[2]}
			_, _ = fmt.Sscan(f[1], &p.Port)
			n.Publish = append(n.Publish, p)
		}
	}
}

func (w *world) make(t *testing.T, d *datadriven.TestData, f func() (*plan.Plan, error)) string {
	p, err := f()
	if err != nil {
		return "refused: " + err.Error()
	}
	w.plan = p
	if d.HasArg("json") {
		short := *p
		short.Wish = nil
		b, err := json.MarshalIndent(short, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	o := plan.TextOptions{Color: d.HasArg("color")}
	d.MaybeScanArgs(t, "width", &o.Width)
	d.MaybeScanArgs(t, "file", &o.File)
	var b strings.Builder
	if err := p.Text(&b, o); err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(b.String(), "\x1b", "ESC")
}

// settle lets images be built, and scheduler and agents work until all is done.
func (w *world) settle() {
	for name, im := range w.S.Images.All {
		if _, built := w.S.Builds.Get(im.Key); !built {
			w.Build(name)
		}
	}
	for range 200 {
		cmds := place(w.S)
		w.Must(cmds...)
		if w.Agents() == 0 && len(cmds) == 0 {
			return
		}
	}
}
