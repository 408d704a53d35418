package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
)

func imageShow(c *cli.Context) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	img, err := client.Image(c.Context, c.Args().First())
	if err != nil {
		return err
	}
	if structured(c) {
		return document(c, img)
	}
	kv := [][2]string{
		{"Name", img.Name}, {"Key", img.Key}, {"Wish", img.Wish}, {"Size", size(img.Bytes)}, {"Built", clock(img.BuiltAt)},
		{"Hosts", joined(img.Hosts)}, {"Jails", fmt.Sprint(img.Jails)},
	}
	return pairs(envOf(c), append(kv, provenancePairs(&img.Provenance)...))
}

// provenancePairs tell what an image is made of, from the top down.
func provenancePairs(p *api.Provenance) [][2]string {
	var kv [][2]string
	for ; p != nil; p = p.Parent {
		if len(p.Steps) > 0 {
			kv = append(kv, [2]string{"Steps", strings.Join(p.Steps, "\n")})
		}
		kv = append(kv, [2]string{"Base", p.Base})
		if p.Origin != nil {
			kv = append(kv, [2]string{"Origin", originText(p.Origin)})
			if p.Origin.Signer != "" {
				kv = append(kv, [2]string{"Signer", p.Origin.Signer})
			}
		}
	}
	return kv
}
