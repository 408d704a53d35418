//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rexcarcer/rexcarcer/internal/testenv"
)

func get(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		err = errors.Join(err, fmt.Errorf("%s: %s", url, resp.Status))
	}
	return string(b), errors.Join(err, resp.Body.Close())
}

func TestPrometheusScrapesTheDaemon(t *testing.T) {
	t.Parallel()
	promtool, prometheus := testenv.RequireTool(t, "promtool"), testenv.RequireTool(t, "prometheus")
	h := sharedHost(t)
	h.apply(t, file("prom", "10.171.7.0/24", box("prom-1", "prom", web, service("metrics", "1s"))))
	h.must(t, "dns", "query", "prom-1.prom.rex.internal")
	text, err := get(t.Context(), fmt.Sprintf("http://127.0.0.1:%d/metrics", h.metrics))
	if err != nil {
		t.Fatal(err)
	}
	if r := command(t.Context(), text, nil, promtool, "check", "metrics"); r.code != 0 || r.stdout+r.stderr != "" {
		t.Errorf("promtool check metrics: %s", r)
	}
	for _, name := range []string{"rexcarcer_hostagent_", "rexcarcer_api_", "rexcarcer_cluster_", "rexcarcer_dnsd_"} {
		if !strings.Contains(text, "\n"+name) {
			t.Errorf("/metrics has nothing that begins with %s", name)
		}
	}
	sd := h.must(t, "api", "GET", "/v1/sd/prometheus")
	checkDiscovery(t, sd, h.ps(t)["prom-1"].Addresses[0]+":80")

	port, err := testenv.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	config := h.write(t, "prometheus.yml", fmt.Sprintf(`global: {scrape_interval: 1s}
scrape_configs:
  - job_name: rexcarcer
    static_configs: [{targets: ["127.0.0.1:%d"]}]
`, h.metrics))
	if r := command(t.Context(), "", nil, promtool, "check", "config", config); r.code != 0 {
		t.Fatalf("promtool check config: %s", r)
	}
	cmd := exec.Command(prometheus, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(h.dir, "tsdb"),
		fmt.Sprintf("--web.listen-address=127.0.0.1:%d", port), "--log.level=error")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	poll(t, 30*time.Second, "Prometheus says that the daemon is up", func() error {
		body, err := get(t.Context(), fmt.Sprintf("http://127.0.0.1:%d/api/v1/query?query=up", port))
		if err == nil && !strings.Contains(body, `,"1"]`) {
			err = errors.New(body)
		}
		return err
	})
	h.destroy(t, "prom")
}

// checkDiscovery reads what Prometheus' HTTP SD expects: a list of groups with targets, and labels whose values are text.
func checkDiscovery(t *testing.T, text, target string) {
	t.Helper()
	var groups []struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&groups); err != nil {
		t.Fatalf("/v1/sd/prometheus: %v\n%s", err, text)
	}
	for _, g := range groups {
		if slices.Contains(g.Targets, target) {
			return
		}
	}
	t.Errorf("/v1/sd/prometheus does not have %s:\n%s", target, text)
}
