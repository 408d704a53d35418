package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
)

// hostFlag names one host of the cluster.
func hostFlag(usage string) *cli.StringFlag {
	return &cli.StringFlag{Name: "host", Usage: usage}
}

// answered is what one host said.
type answered[T any] struct {
	host string // name; "" is the only one
	on   *api.Client
	got  T
	err  error
}

// askedAtOnce bounds how many hosts are asked side by side.
const askedAtOnce = 16

// everyHost asks the host that --host names, or each one that is alive; about
// the others there is a note. Errors are in the answers.
func everyHost[T any](c *cli.Context, client *api.Client, ask func(context.Context, *api.Client) (T, error)) ([]answered[T], error) {
	var all []answered[T]
	if name := c.String("host"); name != "" {
		all = []answered[T]{{host: name, on: client.On(name)}}
	} else {
		hosts, err := client.Hosts(c.Context)
		if err != nil {
			return nil, err
		}
		for _, h := range hosts {
			switch {
			case len(hosts) == 1:
				all = append(all, answered[T]{on: client})
			case h.State == "lost":
				envOf(c).note("host %s is lost: it is not asked", safe(h.Name))
			default:
				all = append(all, answered[T]{host: h.Name, on: client.On(h.Name)})
			}
		}
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, askedAtOnce)
	for i := range all {
		a := &all[i]
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if a.got, a.err = ask(c.Context, a.on); a.err != nil && a.host != "" {
				a.err = fmt.Errorf("host %s: %w", safe(a.host), a.err)
			}
		})
	}
	wg.Wait()
	return all, nil
}

// failedOf joins what went wrong.
func failedOf[T any](all []answered[T]) error {
	var errs []error
	for _, a := range all {
		errs = append(errs, a.err)
	}
	return errors.Join(errs...)
}
