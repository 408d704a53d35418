package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// parse runs the daemon's command line up to the point where it would start.
// Its tests run one after the other: the library writes to its package variables.
func parse(t *testing.T, args ...string) (options, error) {
	t.Helper()
	var o options
	a := app()
	a.Action = func(c *cli.Context) (err error) { o, err = optionsFrom(c); return err }
	return o, a.Run(append([]string{"rexcarcer"}, args...))
}

func TestFlagsWinOverVariablesAndThoseOverFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a.hcl": "name = \"file\"\ndns_port = 1\n", "b.hcl": "api_port = 2\nlabels = { ssd = \"\" }\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("REXCARCER_API_PORT", "3")
	o, err := parse(t, "-config-dir", dir, "-name", "flag", "-label", "rack=r1")
	if err != nil {
		t.Fatal(err)
	}
	if o.Name != "flag" || o.DNSPort != 1 || o.APIPort != 3 || o.Labels["rack"] != "r1" {
		t.Errorf("got name %q, dns port %d, api port %d, labels %v; want flag, 1, 3 and rack=r1", o.Name, o.DNSPort, o.APIPort, o.Labels)
	}
	if _, ok := o.Labels["ssd"]; !ok {
		t.Error("the label ssd of the file is missing")
	}
}

func TestAMistakeInAConfigFileNamesItsPlace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rexcarcer.hcl")
	if err := os.WriteFile(file, []byte("name = \"x\"\nnmae = \"y\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := parse(t, "-config", file)
	if err == nil || !strings.Contains(err.Error(), "rexcarcer.hcl:2,") {
		t.Errorf("got %v, want the file and line 2", err)
	}
}

func TestBadValuesAreUsageErrors(t *testing.T) {
	for _, args := range [][]string{{"-resolver", "example"}, {"-log-level", "loud"}, {"-no-such-flag"}, {"-config", "/no/such/file.hcl"}} {
		_, err := parse(t, args...)
		if usage := (usageError{}); err == nil || (!errors.As(err, &usage) && args[0] == "-no-such-flag") {
			t.Errorf("%v: got %v, want a usage error", args, err)
		}
	}
	if err := (&options{Runtime: "docker"}).complete(); !errors.As(err, &usageError{}) {
		t.Errorf("unknown runtime: got %v, want a usage error", err)
	}
}
