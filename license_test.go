package rexcarcer_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLicenseIsTheTwoClauseBSDLicense(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Join(strings.Fields(string(text)), " ")
	for _, want := range []string{
		"BSD 2-Clause License",
		"1. Redistributions of source code must retain the above copyright notice",
		"2. Redistributions in binary form must reproduce the above copyright notice",
		`THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS AND CONTRIBUTORS "AS IS"`,
	} {
		if !strings.Contains(words, want) {
			t.Errorf("LICENSE does not say %q", want)
		}
	}
	if strings.Contains(words, "Neither the name") {
		t.Error("LICENSE has a third clause")
	}
}

// TestSourcesNameNoOtherLicense finds code that came with somebody else's terms.
func TestSourcesNameNoOtherLicense(t *testing.T) {
	t.Parallel()
	foreign := []string{"Licensed under the Apache" + " License", "SPDX-License" + "-Identifier", "GNU General" + " Public License", "Mozilla Public" + " License"}
	for _, f := range sources(t) {
		text, err := os.ReadFile(filepath.FromSlash(f.name))
		if err != nil {
			t.Fatal(err)
		}
		for _, terms := range foreign {
			if strings.Contains(string(text), terms) {
				t.Errorf("%s: says %q: what others wrote is required as a module, not copied", f.name, terms)
			}
		}
	}
}
