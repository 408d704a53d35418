package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
)

func inventoryCommand() *cli.Command {
	return &cli.Command{
		Name: "inventory", Usage: "the jails, as Ansible wants a dynamic inventory",
		Description: "Groups are network_NAME, host_NAME and image_NAME, with _ for what Ansible does not allow in a group's name.\n" +
			"Jails whose image has START_SSH can be reached by ssh; ansible_host is the jail's address.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "list", Usage: "all jails and groups (the default)"},
			&cli.StringFlag{Name: "host", Usage: "the variables of one jail, by `NAME`"},
		},
		Action: asking(0, 0, func(c *cli.Context, a *api.Client) ([]api.JailRow, error) {
			return a.Jails(c.Context, api.JailFilter{})
		}, showInventory),
	}
}

// inventoryGroup is one group as Ansible reads it: docs.ansible.com, "Developing
// dynamic inventory", tuning the external inventory script.
type inventoryGroup struct {
	Hosts    []string `json:"hosts,omitempty"`
	Children []string `json:"children,omitempty"`
}

func showInventory(c *cli.Context, rows []api.JailRow) error {
	vars := map[string]map[string]any{}
	groups := map[string]*inventoryGroup{}
	join := func(group, jail string) {
		if groups[group] == nil {
			groups[group] = &inventoryGroup{}
		}
		groups[group].Hosts = append(groups[group].Hosts, jail)
	}
	for _, r := range rows {
		if r.Phase != "running" || len(r.Addresses) == 0 {
			continue
		}
		vars[r.Name] = map[string]any{
			"ansible_host": fmt.Sprint(r.Addresses[0]), "rex_uuid": r.UUID, "rex_network": r.Network, "rex_host": r.Host, "rex_image": r.Image, "rex_health": r.Health,
		}
		join("network_"+groupName(r.Network), r.Name)
		join("host_"+groupName(r.Host), r.Name)
		join("image_"+groupName(r.Image), r.Name)
	}
	if name := c.String("host"); name != "" {
		if vars[name] == nil {
			return &api.Error{Code: "not_found", Object: "jail " + name, Message: "no such jail is running", Hint: "rexctl ps"}
		}
		return document(c, vars[name])
	}
	out := map[string]any{"_meta": map[string]any{"hostvars": vars}}
	var all inventoryGroup
	for name, g := range groups {
		out[name] = g
		all.Children = append(all.Children, name)
	}
	slices.Sort(all.Children)
	out["all"] = all
	return document(c, out)
}

// groupName is name with what Ansible does not allow in a group's name as _.
func groupName(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || (r >= 'a' && r <= 'z') || (r >= 'A' && r <= 'Z') || (r >= '0' && r <= '9') {
			return r
		}
		return '_'
	}, name)
}
