package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/syslogd"
)

// siteOptions are what the owner of a host allows and asks for beside the
// cluster's own affairs.
type siteOptions struct {
	BindAllow     []string       // directories of the host that jails may have, absolute
	DeployDir     string         // whose files are applied; "": none
	DeployEvery   time.Duration  // between two looks at it
	ClockAlarm    time.Duration  // a clock that is off by more is an alarm; 0: none is
	ClockShift    time.Duration  // of the cluster's clock here, for tests
	SyslogForward syslogd.Target // where messages of jails go besides; zero: nowhere
}

func siteFlags(env func(string) []string) []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "bind-allow", Usage: "`DIR` of this host that jails may have as a volume, with all below it; may be repeated (default: none)", EnvVars: env("bind-allow")},
		&cli.StringFlag{Name: "deploy-dir", Usage: "`DIR` whose *.ini, *.hcl and *.rex files are applied, applied again when they change, and destroyed when they go (default: none)", EnvVars: env("deploy-dir")},
		&cli.StringFlag{Name: "clock-alarm", Value: "500ms", Usage: "a clock of this host that is off by more from the leader's is an alarm; 0: never", EnvVars: env("clock-alarm")},
		&cli.DurationFlag{Name: "clock-shift", Hidden: true, Usage: "of the cluster's clock on this host, for tests"},
		&cli.DurationFlag{Name: "deploy-every", Value: deployEvery, Hidden: true, Usage: "between two looks at the directory, for tests"},
		&cli.StringFlag{Name: "syslog-forward", Usage: "`URL` of a syslog server that gets what jails log by syslog too: udp://HOST[:PORT], tcp://... or tls://...", EnvVars: env("syslog-forward")},
	}
}

// siteOptions reads them; what a flag or variable says replaces what the file does.
func (o *options) siteOptions(c *cli.Context, file fileConfig, text func(string, *string) string) (err error) {
	if o.Site.SyslogForward, err = syslogForward(text("syslog-forward", file.SyslogForward)); err != nil {
		return err
	}
	o.Site.ClockShift = c.Duration("clock-shift")
	limit := text("clock-alarm", file.ClockAlarm)
	if o.Site.ClockAlarm, err = time.ParseDuration(limit); err != nil || o.Site.ClockAlarm < 0 {
		return fmt.Errorf("clock-alarm %q: want a time such as 500ms, or 0", limit)
	}
	o.Site.DeployEvery = max(c.Duration("deploy-every"), 10*time.Millisecond)
	if o.Site.DeployDir = text("deploy-dir", file.DeployDir); o.Site.DeployDir != "" {
		if o.Site.DeployDir, err = filepath.Abs(o.Site.DeployDir); err != nil {
			return fmt.Errorf("deploy-dir: %w", err)
		}
	}
	o.Site.BindAllow = file.BindAllow
	if c.IsSet("bind-allow") {
		o.Site.BindAllow = c.StringSlice("bind-allow")
	}
	for i, dir := range o.Site.BindAllow {
		if !filepath.IsAbs(dir) {
			return fmt.Errorf("bind-allow %q: want the absolute path of a directory", dir)
		}
		o.Site.BindAllow[i] = filepath.Clean(dir)
	}
	return nil
}
