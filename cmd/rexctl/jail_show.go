package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/fsm"
)

func jailShow(c *cli.Context) error {
	if err := wantArgs(c, 1, -1); err != nil {
		return err
	}
	client, names, err := chosen(c)
	if err != nil {
		return err
	}
	defer client.Close()
	shows := make([]api.JailShow, len(names))
	for i, name := range names {
		if shows[i], err = client.Jail(c.Context, name); err != nil {
			return err
		}
	}
	if structured(c) {
		if len(shows) == 1 {
			return document(c, shows[0])
		}
		return document(c, shows)
	}
	for i, s := range shows {
		if i > 0 {
			_, _ = fmt.Fprintln(envOf(c).stdout)
		}
		if err := pairs(envOf(c), jailPairs(s)); err != nil {
			return err
		}
	}
	return nil
}

func jailPairs(s api.JailShow) [][2]string {
	kv := [][2]string{
		{"Name", s.Name}, {"UUID", s.UUID}, {"Wish", s.Wish}, {"Image", s.Image}, {"Wanted", s.Want},
		{"Phase", cell(s.Phase, s.Simulated)}, {"Health", s.Health}, {"Host", s.Host}, {"Restarts", fmt.Sprint(s.Restarts)},
	}
	for _, a := range s.Addrs {
		text := a.Network + " " + a.Addr.String() + " " + a.MAC
		if a.Addr6.IsValid() {
			text += " " + a.Addr6.String()
		}
		kv = append(kv, [2]string{"Address", text})
	}
	kv = append(kv, [2]string{"Names", strings.Join(s.Names, "\n")}, [2]string{"Command", strings.Join(quoted(s.Spec.Command), " ")})
	for _, sv := range s.Spec.Services {
		kv = append(kv, [2]string{"Service", fmt.Sprintf("%s %d/%s", sv.Name, sv.Port, orTCP(sv.Proto))})
	}
	for _, v := range s.Spec.Volumes {
		kv = append(kv, [2]string{"Volume", v.Name + " at " + v.Path})
	}
	if r := s.Run; r != nil {
		kv = append(kv, [2]string{"Run", fmt.Sprintf("%d, placed %s: %s", r.Seq, clock(r.PlacedAt), r.Why)},
			[2]string{"Started", clock(r.StartedAt)}, [2]string{"Healthy since", clock(r.HealthyAt)}, [2]string{"Ended", clock(r.EndedAt)},
			[2]string{"Stopping", r.StopWhy}, [2]string{"Host says", r.Reason}, [2]string{"Exit", exitText(r.Exit)})
	}
	if s.Cert != nil {
		text := s.Cert.State
		if !s.Cert.NotAfter.IsZero() {
			text += " until " + clock(s.Cert.NotAfter) + ", serial " + s.Cert.Serial
		}
		kv = append(kv, [2]string{"Certificate", text})
	}
	if s.Provenance != nil {
		kv = append(kv, provenancePairs(s.Provenance)...)
	}
	return kv
}

func orTCP(proto string) string {
	if proto == "" {
		return "tcp"
	}
	return proto
}

func exitText(x *fsm.Exit) string {
	switch {
	case x == nil:
		return ""
	case !x.Known:
		return "nobody saw it"
	case x.OOM:
		return "out of memory"
	case x.Signal != "":
		return x.Signal
	}
	return fmt.Sprintf("code %d", x.Code)
}
