package apitest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/fsm"
	"github.com/rexcarcer/rexcarcer/spec"
)

// HostID is the only host's id.
const HostID fsm.HostID = "host-1"

// Host pretends to run jails. Use NewCluster.
type Host struct {
	log *Log

	mu      sync.Mutex       // guards built and volumes
	built   []string         // keys, in order
	uploads []string         // guarded by mu
	volumes []api.VolumeShow // by name
	stream  chan string
	looks   int // at usage; guarded by mu
}

// ID implements api.Host.
func (h *Host) ID() fsm.HostID { return HostID }

// Settled implements api.Host: nothing ever lags here.
func (h *Host) Settled(context.Context, uint64) error { return nil }

// Say adds a line to the logs that are followed.
func (h *Host) Say(line string) { h.stream <- line }

// Said takes a line that a command left for Say's readers, if it is there.
func (h *Host) Said(line string) bool {
	select {
	case l := <-h.stream:
		return l == line
	default:
		return false
	}
}

// Built lists the keys that were built.
func (h *Host) Built() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.built)
}

// Logs implements api.Host: three lines, then what Say says.
func (h *Host) Logs(ctx context.Context, jail fsm.JailName, o api.LogOptions, w io.Writer) error {
	lines := []string{"starting " + string(jail), "listening", "ready"}
	if o.Tail >= 0 && o.Tail < len(lines) {
		lines = lines[len(lines)-o.Tail:]
	}
	for _, l := range lines {
		if _, err := fmt.Fprintln(w, l); err != nil {
			return err
		}
	}
	if o.UntilEnd {
		return nil
	}
	if strings.HasPrefix(string(jail), "broken") {
		return errors.New("read the log: input/output error")
	}
	for o.Follow {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case l := <-h.stream:
			if _, err := fmt.Fprintln(w, l); err != nil {
				return err
			}
		}
	}
	return nil
}

// Exec implements api.Host with a few commands.
func (h *Host) Exec(ctx context.Context, jail fsm.JailName, r api.ExecRequest, s api.ExecStreams) (int, error) {
	switch r.Argv[0] {
	case "echo":
		_, err := fmt.Fprintln(s.Stdout, strings.Join(r.Argv[1:], " "))
		return 0, err
	case "complain":
		_, err := fmt.Fprintln(s.Stderr, strings.Join(r.Argv[1:], " "))
		return 1, err
	case "cat":
		_, err := io.Copy(s.Stdout, s.Stdin)
		return 0, err
	case "env":
		_, err := fmt.Fprintf(s.Stdout, "jail=%s user=%s dir=%s env=%s tty=%t size=%dx%d\n", jail, r.User, r.Dir, strings.Join(r.Env, ","), r.TTY, r.Size.Cols, r.Size.Rows)
		return 0, err
	case "exit":
		return strconv.Atoi(r.Argv[1])
	case "resize":
		for size := range s.Resize {
			if _, err := fmt.Fprintf(s.Stdout, "%dx%d\n", size.Cols, size.Rows); err != nil {
				return 0, err
			}
			if size.Cols == 1 {
				return 0, nil
			}
		}
		return 1, nil
	case "/bin/sh":
		return shell(s)
	case "hang":
		_, _ = fmt.Fprintln(s.Stdout, "hanging")
		<-ctx.Done()
		h.stream <- "hang ended"
		return 0, ctx.Err()
	}
	return 0, &api.Error{Code: "failed", Object: "jail " + string(jail), Message: fmt.Sprintf("exec %q: no such file in the jail", r.Argv[0]), Hint: "rexctl console " + string(jail)}
}

// shell knows echo and exit.
func shell(s api.ExecStreams) (int, error) {
	in := bufio.NewScanner(s.Stdin)
	for in.Scan() {
		word, rest, _ := strings.Cut(in.Text(), " ")
		switch word {
		case "echo":
			_, _ = fmt.Fprintln(s.Stdout, rest)
		case "exit":
			return strconv.Atoi(rest)
		}
	}
	return 0, in.Err()
}

// BuildImage implements api.Host. RUN false fails, as it does everywhere.
func (h *Host) BuildImage(_ context.Context, r api.BuildRequest, progress func(api.BuildEvent)) (api.BuildResult, error) {
	img := r.Image
	n, err := io.Copy(io.Discard, r.Content)
	if err != nil {
		return api.BuildResult{}, fmt.Errorf("receive the context: %w", err)
	}
	if (n > 0) != (img.Context != "") {
		return api.BuildResult{}, fmt.Errorf("the context has %d bytes, its digest is %q", n, img.Context)
	}
	progress(api.BuildEvent{Steps: len(img.Steps), State: "start", Text: img.Base})
	for i, s := range img.Steps {
		e := api.BuildEvent{Step: i + 1, Steps: len(img.Steps), State: "start", Text: s.Text, Line: s.Line}
		progress(e)
		if s.Run == "false" {
			for j := range 30 {
				progress(api.BuildEvent{Step: i + 1, Steps: len(img.Steps), State: "output", Text: fmt.Sprintf("output line %d\n", j+1)})
			}
			return api.BuildResult{Kept: kept(r)}, &api.Error{Code: "failed", Object: "image " + img.Name, Message: fmt.Sprintf("%s:%d: %s: exit code 1", img.Rexfile, s.Line, s.Text), Hint: "repair the step and apply again"}
		}
		e.State = "done"
		progress(e)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.built = append(h.built, img.Key)
	return api.BuildResult{Key: img.Key, Bytes: 3 << 20, Built: len(img.Steps)}, nil
}

// kept is what a failed step leaves when that is asked for.
func kept(r api.BuildRequest) *spec.Image {
	if !r.Keep {
		return nil
	}
	return &spec.Image{Name: r.Image.Name + ":failed", Key: "sha256:" + strings.Repeat("f", 64), Base: r.Image.Base}
}

// DebugImage implements api.Host: the image stands for the jail.
func (h *Host) DebugImage(ctx context.Context, name string, r api.ExecRequest, s api.ExecStreams) (int, error) {
	return h.Exec(ctx, fsm.JailName(name), r, s)
}

// Query implements api.Host from the State's records.
func (h *Host) Query(_ context.Context, name, qtype string) (api.DNSAnswer, error) {
	out := api.DNSAnswer{Name: name, Type: qtype, Rcode: "NXDOMAIN", Authoritative: true, Server: "127.0.0.1:7374"}
	for _, rec := range h.log.State().Records.All {
		if rec.Name != strings.TrimSuffix(name, ".") {
			continue
		}
		out.Rcode = "NOERROR"
		if rec.Type != qtype {
			continue
		}
		data := rec.Addr.String()
		switch qtype {
		case "PTR":
			data = rec.Target + "."
		case "SRV":
			data = fmt.Sprintf("0 1 %d %s.", rec.Port, rec.Target)
		}
		out.Answers = append(out.Answers, api.DNSRecord{Name: name, Type: qtype, TTL: rec.TTL, Data: data})
	}
	return out, nil
}
