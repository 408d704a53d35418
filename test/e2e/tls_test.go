//go:build linux

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAPIOverTLS(t *testing.T) {
	t.Parallel()
	h := sharedHost(t)
	h.apply(t, file("tls", "10.171.8.0/24", box("tls-1", "tls", forever)))
	pki := filepath.Join(h.data, "pki")
	over := func(ca, cert, key string, args ...string) result {
		env := []string{fmt.Sprintf("REX_ADDR=https://127.0.0.1:%d", h.api), "REX_CACERT=" + ca, "REX_CLIENT_CERT=" + cert, "REX_CLIENT_KEY=" + key}
		return command(context.Background(), "from stdin", env, append([]string{rexctl}, args...)...)
	}
	ca, crt, key := filepath.Join(pki, "ca.crt"), filepath.Join(pki, "admin.crt"), filepath.Join(pki, "admin.key")
	if r := over(ca, crt, key, "ps", "-o", "name"); r.code != 0 || !strings.Contains(r.stdout, "tls-1\n") {
		t.Errorf("ps with the administrator's certificate: %s", r)
	}
	if r := over(ca, crt, key, "exec", "-i", "tls-1", "--", "sh", "-c", "cat; exit 5"); r.code != 5 || r.stdout != "from stdin" {
		t.Errorf("exec with the administrator's certificate: %s", r)
	}
	refused := func(what, ca, cert, key string) {
		t.Helper()
		for _, args := range [][]string{{"ps"}, {"jail", "rm", "tls-1", "--yes"}, {"exec", "tls-1", "--", "true"}} {
			if r := over(ca, cert, key, args...); r.code != 1 || !strings.Contains(r.stderr, "REX_C") {
				t.Errorf("%s, rexctl %s: want exit code 1 and what to set: %s", what, strings.Join(args, " "), r)
			}
		}
	}
	refused("without certificate", ca, "", "")
	refused("without the CA", "", crt, key)

	// A jail has a good certificate of this very CA, but its role opens nothing.
	read := func(name, file string) string {
		return h.write(t, name, h.must(t, "exec", "tls-1", "--", "cat", "/etc/ssl/rc/"+file))
	}
	jailCA, jailCrt, jailKey := read("cluster.crt", "cluster.crt"), read("jail.crt", "host.crt"), read("jail.key", "host.key")
	refused("with a jail's certificate", jailCA, jailCrt, jailKey)
	if r := h.ps(t)["tls-1"]; r.Phase != "running" || r.Want != "running" {
		t.Errorf("the refused commands had an effect: %+v", r)
	}
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the administrator's key: %v, %v", info.Mode(), err)
	}
	h.destroy(t, "tls")
}
