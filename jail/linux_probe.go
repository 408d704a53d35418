package jail

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/run"
)

const probeCode = 42 // what the probe jail's only program exits with

// Probe tries the runtimes in order of speed, each by a jail that runs one tiny program, and takes the first that works:
// crun, crun without sight of a hybrid layout's unified hierarchy (which it refuses), runc. It runs once; later calls
// return what it found.
func (l *Linux) Probe(ctx context.Context) (Features, error) {
	if _, err := l.chosen(ctx); err != nil {
		return Features{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.feat, nil
}

func (l *Linux) chosen(ctx context.Context) (*runtime, error) {
	l.mu.Lock()
	rt := l.rt
	l.mu.Unlock()
	if rt != nil {
		return rt, nil
	}
	l.probing.Lock()
	defer l.probing.Unlock()
	l.mu.Lock()
	rt = l.rt
	l.mu.Unlock()
	if rt != nil {
		return rt, nil
	}
	f := Features{Driver: "linux", CGroup: l.cg.layout, ExitInfo: exitInfoSupported()}
	var tried error
	for _, c := range l.candidates() {
		if err := l.tryRuntime(ctx, c); err != nil {
			tried = errors.Join(tried, fmt.Errorf("%s: %w", describe(c), err))
			f.Notes = append(f.Notes, fmt.Sprintf("%s does not work here: %v", describe(c), err))
			continue
		}
		rt = c
		break
	}
	if rt == nil {
		if tried == nil {
			tried = errors.New("neither crun nor runc is installed (Debian: apt-get install runc crun)")
		}
		return nil, fmt.Errorf("no OCI runtime works on this host: %w", tried)
	}
	f.Runtime, f.Seccomp = describe(rt), true
	if err := l.tryUserNS(ctx, rt); err != nil {
		f.Notes = append(f.Notes, fmt.Sprintf("no user namespaces: %v", err))
	} else {
		f.UserNS = true
	}
	for _, c := range []string{"cpu", "cpuset", "memory", "pids"} {
		if l.cg.at[c] != "" {
			f.Limits = append(f.Limits, c)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rt, l.feat = rt, f
	return rt, nil
}

func (l *Linux) candidates() []*runtime {
	names := []string{"crun", "runc"}
	if l.cfg.Runtime != "" {
		names = []string{l.cfg.Runtime}
	}
	var out []*runtime
	for _, n := range names {
		p, err := run.LookPath(n)
		if err != nil {
			continue
		}
		out = append(out, l.runtimeAt(p))
	}
	return out
}

// runtimeAt is the runtime of this path, with what it must not see here.
func (l *Linux) runtimeAt(path string) *runtime {
	r := &runtime{path: path, kind: runtimeKind(path)}
	if hide := l.cg.unifiedMount(); r.kind == "crun" && hide != "" {
		// It is known to refuse this layout; its word is not needed, and costs a start.
		r.hide = []string{hide}
	}
	return r
}

func describe(r *runtime) string {
	if r.version == "" {
		return r.kind
	}
	return r.version
}

// tryRuntime runs the tiny program in a jail with every limit that we set.
func (l *Linux) tryRuntime(ctx context.Context, rt *runtime) error {
	res, err := l.cfg.Runner.Run(ctx, run.Cmd{Argv: []string{rt.path, "--version"}, Timeout: 10 * time.Second})
	if err != nil {
		return err
	}
	rt.version = parseVersion(res.Stdout)
	s := Spec{Argv: []string{"/exit"}, Limits: Limits{MemoryBytes: 32 << 20, CPU: 0.5, Processes: 16, OpenFiles: 64}}
	return l.withProbe(ctx, rt, s, func(ctx context.Context) error {
		st, err := l.Wait(ctx, probeID)
		if err == nil && st.Exit.Known && st.Exit.Code != probeCode {
			err = fmt.Errorf("the probe program ended with %d instead of %d", st.Exit.Code, probeCode)
		}
		return err
	})
}

// tryUserNS tries a jail with a user namespace in a network namespace that the host owns. To start one is not enough: runc
// before 1.2 can, but not exec in it, because it joins the user namespace first and has no right to the other one then.
func (l *Linux) tryUserNS(ctx context.Context, rt *runtime) error {
	s := Spec{
		Argv: []string{"/pause"}, IDMap: IDMap{HostBase: 1 << 20, Size: 1 << 16},
		NetNS: fmt.Sprintf("/proc/%d/ns/net", os.Getpid()),
	}
	return l.withProbe(ctx, rt, s, func(ctx context.Context) error {
		code, err := l.execWith(ctx, rt, probeID, Exec{Argv: []string{"/exit"}})
		if err == nil && code != probeCode {
			err = fmt.Errorf("the probe program ended with %d instead of %d", code, probeCode)
		}
		return err
	})
}

const probeID = "probe"

// withProbe starts s on a root of our own making, and removes all of it after try.
func (l *Linux) withProbe(ctx context.Context, rt *runtime, s Spec, try func(context.Context) error) error {
	if err := l.dropProbes(ctx); err != nil {
		return err
	}
	root, err := probeRoot(l.cfg.StateDir, s.IDMap)
	if err != nil {
		return err
	}
	defer os.RemoveAll(filepath.Dir(root))
	s.ID, s.Name, s.Root = probeID, probeID, root
	defer func() {
		if rerr := l.Remove(context.WithoutCancel(ctx), s.ID); rerr != nil {
			l.cfg.Log.Warn("probe jail not removed", "err", rerr)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if _, err := l.startWith(ctx, rt, s); err != nil {
		return err
	}
	return try(ctx)
}

// dropProbes removes what a killed predecessor left of its own probe. Adopting it would tell nothing about rt, and waiting
// for it would be waiting for ever: half of the probes never end by themselves.
func (l *Linux) dropProbes(ctx context.Context) error {
	if err := l.Remove(ctx, probeID); err != nil {
		return fmt.Errorf("remove the probe of an earlier daemon: %w", err)
	}
	roots, err := filepath.Glob(filepath.Join(l.cfg.StateDir, ".probe-*"))
	for _, r := range roots {
		err = errors.Join(err, os.RemoveAll(r))
	}
	return err
}

// probeRoot makes a root file system that holds nothing but /probe.
func probeRoot(stateDir string, ids IDMap) (string, error) {
	dir, err := os.MkdirTemp(stateDir, ".probe-")
	if err != nil {
		return "", fmt.Errorf("make probe root: %w", err)
	}
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // a mapped root must get through
		return "", fmt.Errorf("make probe root: %w", err)
	}
	root := filepath.Join(dir, "root")
	for _, d := range []string{"", "proc", "dev", "sys"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return "", fmt.Errorf("make probe root: %w", err)
		}
		if err := os.Chown(filepath.Join(root, d), int(ids.HostBase), int(ids.HostBase)); err != nil {
			return "", fmt.Errorf("make probe root: %w", err)
		}
	}
	for name, syscall := range map[string]tinyCall{"exit": exitCall, "pause": pauseCall} {
		code, err := tinyProgram(syscall)
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(root, name), code, 0o755); err != nil { //nolint:gosec // a program
			return "", fmt.Errorf("make probe root: %w", err)
		}
	}
	return root, nil
}

// tinyCall is the one system call of a tiny program, by architecture. arm64 has no pause: ppoll without anything does it.
type tinyCall struct{ amd64, arm64 uint32 }

var (
	exitCall  = tinyCall{60, 93}
	pauseCall = tinyCall{34, 73}
)

// tinyProgram is a static ELF executable that makes one call, with probeCode as its first argument: what a probe needs, on a host of which we know nothing.
// Layout: ELF header (64 bytes), one program header (56), the code (elf(5)).
func tinyProgram(c tinyCall) ([]byte, error) {
	var machine uint16
	var code []byte
	switch goruntime.GOARCH {
	case "amd64":
		machine, code = 62, []byte{0xbf, probeCode, 0, 0, 0, 0xb8, byte(c.amd64), 0, 0, 0, 0x0f, 0x05} // mov edi,42; mov eax,nr; syscall
	case "arm64":
		machine = 183
		words := []uint32{0xd2800000 | probeCode<<5, 0xd2800000 | c.arm64<<5 | 8, 0xd4000001} // mov x0,#42; mov x8,#nr; svc #0
		if c == pauseCall {
			words[0] = 0xd2800000 // ppoll(NULL, 0, NULL, NULL): the other registers are 0 at the start
		}
		for _, w := range words {
			code = binary.LittleEndian.AppendUint32(code, w)
		}
	default:
		return nil, fmt.Errorf("no probe program for %s", goruntime.GOARCH)
	}
	const base, head = 0x400000, 64 + 56
	le := binary.LittleEndian
	b := []byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	b = le.AppendUint16(b, 2) // ET_EXEC
	b = le.AppendUint16(b, machine)
	b = le.AppendUint32(b, 1)
	b = le.AppendUint64(b, base+head) // entry
	b = le.AppendUint64(b, 64)        // program headers
	b = le.AppendUint64(b, 0)
	b = le.AppendUint32(b, 0)
	for _, v := range []uint16{64, 56, 1, 0, 0, 0} {
		b = le.AppendUint16(b, v)
	}
	b = le.AppendUint32(b, 1) // PT_LOAD
	b = le.AppendUint32(b, 5) // read, execute
	for _, v := range []uint64{0, base, base, head + uint64(len(code)), head + uint64(len(code)), 0x1000} {
		b = le.AppendUint64(b, v)
	}
	return append(b, code...), nil
}
