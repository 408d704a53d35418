package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/spec"
)

// warnQuotas says which hosts do not keep the quotas of a wish's volumes.
func warnQuotas(c *cli.Context, client *api.Client, w *spec.Wish) error {
	var wished []string
	for _, j := range w.Jails {
		for _, v := range j.Volumes {
			if v.QuotaBytes > 0 {
				wished = append(wished, j.Name+"."+v.Name)
			}
		}
	}
	if len(wished) == 0 {
		return nil
	}
	hosts, err := client.Hosts(c.Context)
	if err != nil {
		return err
	}
	why := map[string][]string{} // hosts
	for _, h := range hosts {
		if text := h.Features["quota"]; strings.HasPrefix(text, "no") && h.State != "lost" {
			why[text] = append(why[text], safe(h.Name))
		}
	}
	reasons := make([]string, 0, len(why))
	for text := range why {
		reasons = append(reasons, text)
	}
	slices.Sort(reasons)
	for _, text := range reasons {
		envOf(c).note("warning: the quota of %s is not kept on %s (%s)", few(wished), few(why[text]), safe(strings.TrimPrefix(text, "no: ")))
	}
	return nil
}

// few names at most three of a list.
func few(names []string) string {
	if len(names) <= 3 {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:3], ", ") + " and " + plural(len(names)-3, "other")
}
