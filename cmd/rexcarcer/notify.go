package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

// notify tells the service manager what this daemon is about, by sd_notify(3):
// one datagram to the socket that NOTIFY_SOCKET names. Without a manager that
// wants to know it does nothing.
func notify(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	if path[0] == '@' { // the abstract namespace of Linux, unix(7)
		path = "\x00" + path[1:]
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	defer c.Close()
	if _, err := c.Write([]byte(state)); err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	return nil
}

// watchdogEvery is how often the service manager wants to hear that this
// process is well: half of what it waits for; 0 for never.
func watchdogEvery() time.Duration {
	if pid := os.Getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0
	}
	usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || usec <= 0 {
		return 0
	}
	return time.Duration(usec) * time.Microsecond / 2
}

// runNotify says when the local API answers, then that it still does, and at
// last that this daemon ends.
func (d *daemon) runNotify(ctx context.Context) error {
	select {
	case <-d.ready:
	case <-ctx.Done():
		return nil
	}
	d.say("READY=1\nSTATUS=cluster " + d.m.cluster + ", host " + d.o.Name)
	defer d.say("STOPPING=1")
	every := watchdogEvery()
	if every == 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if err := d.answers(ctx, every); err != nil {
			d.log.Warn("the local API does not answer: the service manager is not told that all is well", "err", err)
			continue
		}
		d.say("WATCHDOG=1")
	}
}

func (d *daemon) say(state string) {
	if err := notify(state); err != nil {
		d.log.Warn("the service manager does not hear", "err", err)
	}
}

// answers connects to the own local API.
func (d *daemon) answers(ctx context.Context, within time.Duration) error {
	dialer := net.Dialer{Timeout: within}
	c, err := dialer.DialContext(ctx, "unix", d.socket())
	if err != nil {
		return err
	}
	return c.Close()
}
