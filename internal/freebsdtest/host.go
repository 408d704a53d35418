package freebsdtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

// ErrCrash is the answer to every call once the world has stopped.
var ErrCrash = errors.New("freebsdtest: the daemon was killed here")

// Reply is how a program ends.
type Reply struct {
	Out, Err string
	RC       int
}

// Fail is a Reply with exit code rc and one line on standard error.
func Fail(rc int, format string, args ...any) Reply {
	return Reply{RC: rc, Err: fmt.Sprintf(format, args...) + "\n"}
}

// Handler obeys one program. args are those after the program's name. It runs with the Host locked: it may use every
// lower-case method of the Host and Call, not those that lock.
type Handler func(h *Host, c run.Cmd, args []string) Reply

// Host is one modelled machine. Make it with New.
type Host struct {
	mu       sync.Mutex
	handlers map[string]Handler       // by base name of the program
	sections map[string]func() string // what State shows
	calls    []string
	crash    crash
	failIn   int    // commands until one fails; 0: none
	failed   string // the one that did

	// What the handlers keep; all guarded by mu. Handlers of other files add their own through Section and closures.
	jails    []*Jail // dying ones too
	nextJID  int
	mounts   []Mount
	rules    map[int][]DevfsRule // devfs rulesets
	limits   []string            // rctl rules, newest first
	cpus     map[string]string   // by name of the jail
	sysctls  map[string]string
	procs    procs
	onGone   []func(j *Jail) // when a jail is really gone
	Racct    bool            // kern.racct.enable; set before use
	Net      *Net            // interfaces, routes, pf; immutable after New
	DyingFor int             // how many jls calls a removed jail stays visible as dying; set before use
}

type crash struct {
	in      int // calls until the crash; 0: never
	after   bool
	crashed bool
}

// New returns a host of FreeBSD 15.1 with one processor, racct on, and no jail.
func New() *Host {
	h := &Host{
		handlers: map[string]Handler{}, sections: map[string]func() string{}, Racct: true,
		rules: map[int][]DevfsRule{}, cpus: map[string]string{}, sysctls: defaultSysctls(),
	}
	h.procs.init()
	for name, f := range tools() {
		h.handlers[name] = f
	}
	h.Section("jails", h.showJails)
	h.Section("mounts", h.showMounts)
	h.Section("devfs", h.showRules)
	h.Section("rctl", func() string { return strings.Join(h.limits, "\n") })
	h.Section("cpuset", func() string {
		var out []string
		for _, name := range slices.Sorted(maps.Keys(h.cpus)) {
			out = append(out, name+" "+h.cpus[name])
		}
		return strings.Join(out, "\n")
	})
	h.Net = newNet(h)
	return h
}

func tools() map[string]Handler {
	return map[string]Handler{
		"jail": JailCommand, "jls": jlsCommand, "jexec": jexecCommand, "mount": mountCommand, "umount": umountCommand,
		"devfs": devfsCommand, "rctl": rctlCommand, "cpuset": cpusetCommand, "sysctl": sysctlCommand,
	}
}

// Obey is the program of that name as New has it, for a Handler that stands in its place now and then.
func Obey(tool string, h *Host, c run.Cmd, args []string) Reply { return tools()[tool](h, c, args) }

// Handle makes f the program of that base name, instead of what was there.
func (h *Host) Handle(name string, f Handler) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.handlers[name] = f
}

// Section adds a part to State; show runs with the Host locked.
func (h *Host) Section(name string, show func() string) { h.sections[name] = show }

// OnGone is called, locked, when a jail is gone and no longer dying: its interfaces come home then.
func (h *Host) OnGone(f func(j *Jail)) { h.onGone = append(h.onGone, f) }

// Run obeys c.
func (h *Host) Run(ctx context.Context, c run.Cmd) (run.Result, error) {
	if err := ctx.Err(); err != nil {
		return run.Result{RC: -1}, &run.Error{Argv: c.Argv, RC: -1, Err: err}
	}
	h.mu.Lock()
	h.calls = append(h.calls, line(c))
	crashes := h.crash.step()
	if h.crash.crashed && !(crashes && h.crash.after) {
		h.mu.Unlock()
		return run.Result{RC: -1}, &run.Error{Argv: c.Argv, RC: -1, Err: ErrCrash}
	}
	if h.fails(c) {
		h.mu.Unlock()
		return finish(c, Fail(1, "freebsdtest: it was made to fail"), nil)
	}
	if c.Inside != nil || strings.HasSuffix(c.Argv[0], "jexec") && !h.Net.tool(c) { // takes as long as it takes
		h.mu.Unlock()
		r, err := h.jexec(ctx, c)
		if crashes {
			err = ErrCrash
		}
		return finish(c, r, err)
	}
	r := h.Call(c)
	h.mu.Unlock()
	if crashes {
		return run.Result{RC: -1}, &run.Error{Argv: c.Argv, RC: -1, Err: ErrCrash}
	}
	return finish(c, r, nil)
}

// line is how calls are recorded: the program by its base name, with what was on standard input.
func line(c run.Cmd) string {
	argv := slices.Clone(c.Argv)
	argv[0] = filepath.Base(argv[0])
	for i, a := range argv {
		if a == "" || strings.ContainsAny(a, " \t\n'\"\\$;|&<>*?") {
			argv[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	text := strings.Join(argv, " ")
	if c.Inside != nil {
		text = fmt.Sprintf("jail=%d uid=%d gid=%d groups=%d dir=%s: %s", c.Inside.JID, c.Inside.UID, c.Inside.GID, c.Inside.Groups, c.Dir, text)
	}
	return text
}

func finish(c run.Cmd, r Reply, err error) (run.Result, error) {
	res := run.Result{RC: r.RC}
	if err != nil {
		return run.Result{RC: -1}, &run.Error{Argv: c.Argv, RC: -1, Err: err}
	}
	give := func(w io.Writer, buf *[]byte, text string) {
		if w == nil {
			*buf = []byte(text)
		} else if text != "" {
			_, _ = io.WriteString(w, text) // whoever reads may have gone, as with a pipe
		}
	}
	give(c.Stdout, &res.Stdout, r.Out)
	give(c.Stderr, &res.Stderr, r.Err)
	if r.RC != 0 {
		return res, &run.Error{Argv: c.Argv, RC: r.RC, Stderr: strings.TrimSpace(r.Err), Err: fmt.Errorf("exit status %d", r.RC)}
	}
	return res, nil
}

// Call obeys c without recording it: one program starts another. The Host is locked.
func (h *Host) Call(c run.Cmd) Reply {
	f := h.handlers[filepath.Base(c.Argv[0])]
	if f == nil {
		return Fail(127, "%s: not found", c.Argv[0])
	}
	return f(h, c, c.Argv[1:])
}

// Calls returns the commands so far, one a line, with their programs' base names.
func (h *Host) Calls() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.calls)
}

// ResetCalls forgets them.
func (h *Host) ResetCalls() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = nil
}

// CrashAt lets the n-th call from now (1: the next one) never be answered: before it does anything, or after it has done
// all. Every later call fails as well, until Revive.
func (h *Host) CrashAt(n int, after bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.crash = crash{in: n, after: after}
}

// Revive ends a crash; the host has gone on meanwhile. It says whether one had come.
func (h *Host) Revive() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	was := h.crash.crashed
	h.crash = crash{}
	return was
}

// FailAt lets the n-th command from now (1: the next one) fail and do nothing.
func (h *Host) FailAt(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failIn, h.failed = n, ""
}

// Failed is the command that was made to fail, "" when it has not come.
func (h *Host) Failed() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.failed
}

func (h *Host) fails(c run.Cmd) bool {
	if h.failIn == 0 {
		return false
	}
	if h.failIn--; h.failIn > 0 {
		return false
	}
	h.failed = line(c)
	return true
}

func (c *crash) step() bool {
	if c.crashed || c.in == 0 {
		return false
	}
	c.in--
	c.crashed = c.in == 0
	return c.crashed
}

// State is the host as text: one section after the other, empty ones left out.
func (h *Host) State() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(h.sections)) {
		if text := strings.TrimRight(h.sections[name](), "\n"); text != "" {
			fmt.Fprintf(&b, "[%s]\n%s\n", name, text)
		}
	}
	return b.String()
}
