package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/rexcarcer/rexcarcer/api"
)

// patience is for everything that is waited for.
const patience = time.Minute

// trio is a cluster of three servers, each with ports and directories of its own.
type trio struct{ hosts []*host }

type host struct {
	name, dir string
	binary    string
	port, dns int
	flags     []string
	cmd       *exec.Cmd // nil: it does not run
	client    *api.Client
}

func form(ctx context.Context, binary, dir string) (*trio, error) {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return nil, err
	}
	t := &trio{}
	for _, name := range []string{"one", "two", "three"} {
		h, err := prepare(name, binary, filepath.Join(dir, name))
		if err == nil {
			err = t.add(ctx, h)
		}
		if err != nil {
			t.stop()
			return nil, err
		}
	}
	return t, t.well(ctx)
}

func prepare(name, binary, dir string) (*host, error) {
	h := &host{name: name, dir: dir, binary: binary}
	gossip := 0
	for _, port := range []*int{&h.port, &h.dns, &gossip} {
		var err error
		if *port, err = freePort(); err != nil {
			return nil, err
		}
	}
	h.flags = []string{"-runtime=sim", "-data-dir", filepath.Join(dir, "data"), "-run-dir", filepath.Join(dir, "run"), "-log-dir", filepath.Join(dir, "log"), "-name", name,
		"-cluster-bind", "127.0.0.1", "-cluster-port", strconv.Itoa(h.port), "-gossip-port", strconv.Itoa(gossip), "-api-port", "0", "-metrics-port", "0",
		"-dns-port", strconv.Itoa(h.dns), "-resolver", "127.0.0.1:9", "-log-level", "warn"}
	var err error
	h.client, err = api.NewClient(api.Options{Addr: h.addr()})
	return h, errors.Join(err, os.MkdirAll(dir, 0o711))
}

func (h *host) addr() string { return "unix://" + filepath.Join(h.dir, "run", "rexcarcer.sock") }

// freePort is free for TCP and for UDP.
func freePort() (int, error) {
	for range 50 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		u, err := net.ListenPacket("udp", l.Addr().String())
		if err == nil {
			err = u.Close()
		}
		if errors.Join(err, l.Close()) == nil {
			return l.Addr().(*net.TCPAddr).Port, nil
		}
	}
	return 0, errors.New("no port is free")
}

func (t *trio) add(ctx context.Context, h *host) error {
	args := []string{"init"}
	if len(t.hosts) > 0 {
		made, err := t.hosts[0].client.CreateToken(ctx, api.TokenRequest{Role: "server"})
		if err != nil {
			return err
		}
		args = []string{"join", net.JoinHostPort("127.0.0.1", strconv.Itoa(t.hosts[0].port)), "-token", made.Token}
	}
	if out, err := exec.CommandContext(ctx, h.binary, append(args, h.flags...)...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", h.name, args[0], err, out)
	}
	t.hosts = append(t.hosts, h)
	return h.start(ctx)
}

func (h *host) start(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(h.dir, "log.txt"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	h.cmd = exec.Command(h.binary, h.flags...)
	h.cmd.Stdout, h.cmd.Stderr = log, log
	if err := h.cmd.Start(); err != nil {
		return err
	}
	return wait(ctx, h.name+" answers", func() error { _, err := h.client.Status(ctx); return err })
}

func (h *host) kill() {
	if h.cmd == nil {
		return
	}
	_ = h.cmd.Process.Kill() // it may have ended
	_ = h.cmd.Wait()
	h.cmd = nil
}

func (t *trio) processes() (all []*exec.Cmd) {
	for _, h := range t.hosts {
		all = append(all, h.cmd)
	}
	return all
}

func (t *trio) stop() {
	for _, h := range t.hosts {
		h.kill()
	}
}

// wait asks ok until it has no complaint.
func wait(ctx context.Context, what string, ok func() error) error {
	for deadline := time.Now().Add(patience); ; {
		err := ok()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return fmt.Errorf("%s: not within %s: %w", what, patience, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// well waits until all three are alive and vote by the word of each.
func (t *trio) well(ctx context.Context) error {
	return wait(ctx, "three members are well", func() error {
		for _, h := range t.hosts {
			rows, err := h.client.Hosts(ctx)
			if err != nil {
				return err
			}
			n := 0
			for _, r := range rows {
				if r.State == "alive" && r.Voter {
					n++
				}
			}
			if n != len(t.hosts) {
				return fmt.Errorf("%s sees %d", h.name, n)
			}
		}
		return nil
	})
}

// leader is who leads when all agree, and the others.
func (t *trio) leader(ctx context.Context) (leads *host, rest []*host, err error) {
	err = wait(ctx, "somebody leads", func() error {
		said := map[string]bool{}
		for _, h := range t.hosts {
			rows, err := h.client.Hosts(ctx)
			if err != nil {
				return err
			}
			for _, r := range rows {
				if r.Leader {
					said[r.Name] = true
				}
			}
		}
		if len(said) != 1 {
			return fmt.Errorf("they name %v", said)
		}
		leads, rest = nil, nil
		for _, h := range t.hosts {
			if said[h.name] {
				leads = h
			} else {
				rest = append(rest, h)
			}
		}
		return nil
	})
	return leads, rest, err
}
