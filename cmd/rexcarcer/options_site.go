package main

import (
	"fmt"
	"path/filepath"

	"github.com/urfave/cli/v2"
)

// siteOptions are what the owner of a host allows and asks for beside the
// cluster's own affairs.
type siteOptions struct {
	BindAllow []string // directories of the host that jails may have, absolute
}

func siteFlags(env func(string) []string) []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "bind-allow", Usage: "`DIR` of this host that jails may have as a volume, with all below it; may be repeated (default: none)", EnvVars: env("bind-allow")},
	}
}

// siteOptions reads them; what a flag or variable says replaces what the file does.
func (o *options) siteOptions(c *cli.Context, file fileConfig) error {
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
