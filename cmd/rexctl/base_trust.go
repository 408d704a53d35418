package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/zfssync/bundle"
)

func readSigner(name string) (bundle.Signer, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return bundle.Signer{}, fileError(name, err)
	}
	s, err := bundle.ParseSigner(text)
	if err != nil {
		return bundle.Signer{}, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

// baseTrust reads the certificate here, so that a key given by mistake never
// leaves this machine.
func baseTrust(c *cli.Context) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	s, err := readSigner(c.Args().First())
	if err != nil {
		return err
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	row, err := client.TrustSigner(c.Context, s.PEM())
	if err != nil {
		return err
	}
	return said(c, row, "signer %s: trusted until %s, fingerprint %s", safe(row.Name), clock(row.NotAfter), row.Fingerprint)
}

func baseUntrust(c *cli.Context) error {
	if err := wantArgs(c, 1, 1); err != nil {
		return err
	}
	client, err := connect(c)
	if err != nil {
		return err
	}
	defer client.Close()
	signers, err := client.Signers(c.Context)
	if err != nil {
		return err
	}
	s, err := findSigner(signers, c.Args().First())
	if err != nil {
		return err
	}
	if err := confirm(c, fmt.Sprintf("Trust %s (%.16s) no longer?", safe(s.Name), s.Fingerprint)); err != nil {
		return err
	}
	if err := client.UntrustSigner(c.Context, s.Fingerprint); err != nil {
		return err
	}
	return said(c, nil, "signer %s: trusted no longer; what was built stays", safe(s.Name))
}

// findSigner finds one by name, or by the beginning of its fingerprint.
func findSigner(signers []api.SignerRow, what string) (api.SignerRow, error) {
	var found []api.SignerRow
	mark := strings.ToLower(strings.ReplaceAll(what, ":", ""))
	for _, s := range signers {
		if s.Name == what || len(mark) >= 8 && strings.HasPrefix(s.Fingerprint, mark) {
			found = append(found, s)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return api.SignerRow{}, fmt.Errorf("signer %s: nobody of that name is trusted\n  try: rexctl base ls --signers", safe(what))
	}
	return api.SignerRow{}, fmt.Errorf("signer %s: %d have that name: give the fingerprint\n  try: rexctl base ls --signers", safe(what), len(found))
}
