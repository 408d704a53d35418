package spec

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

const contractFile = `
cluster "demo" { domain = "rex.internal" }

variable "nodes" { default = 5 }

network "elixir" {
  subnet = "10.66.0.0/24"
  nat    = true
  publish "db" {
    port    = 15432
    service = "postgres"
  }
}

image "postgres" { rexfile = "postgres.rex" }
image "elixir" { rexfile = "elixir.rex" }

jail "postgres" {
  image   = "postgres"
  network = "elixir"
  command = ["postgres", "-D", "/var/lib/postgresql"]
  service "postgres" {
    port = 5432
    check {
      type     = "tcp"
      interval = "2s"
    }
  }
  volume "pgdata" {
    path  = "/var/lib/postgresql"
    quota = "2G"
  }
  limits {
    memory    = "512M"
    cpu       = 1.0
    processes = 200
  }
}

jail "elixir-cluster" {
  count      = var.nodes
  image      = "elixir"
  network    = "elixir"
  depends_on = ["postgres"]
  env        = { NODE = "app@${self.fqdn}", SEED = "elixir-cluster-1", DB_HOST = "postgres" }
  command    = ["elixir"]
  restart {
    policy  = "on-failure"
    backoff = "1s"
  }
  update { max_parallel = 1 }
  placement {
    spread     = "host"
    constraint = "os == freebsd"
    affinity   = "ssd"
  }
}
`

// testInputs reads .rex files from memory; COPY takes the names for content.
func testInputs(files map[string]string) Inputs {
	return Inputs{
		Files: func(name string) ([]byte, error) {
			if s, ok := files[name]; ok {
				return []byte(s), nil
			}
			return nil, errors.New("open " + name + ": no such file")
		},
		CopyDigest: func(dir string, src []string) (string, error) {
			return digestOf(append([]string{dir}, src...)...), nil
		},
	}
}

var contractRex = map[string]string{
	"postgres.rex": "BASE debian:bookworm\nPROVISION RUN apt-get update && \\\n    apt-get install -y postgresql\nVOLUME /var/lib/postgresql\n",
	"elixir.rex":   "from debian:bookworm\nrun apt-get install -y elixir\nENV LANG=C.UTF-8\nCOPY app /srv/app\nCMD elixir --no-halt\n",
}

func TestContractFileBecomesOneJailPerReplica(t *testing.T) {
	t.Parallel()
	w, diags := Parse("cluster.hcl", []byte(contractFile), testInputs(contractRex))
	if w == nil {
		t.Fatal(diags.Format(nil, false))
	}
	var names []string
	for _, j := range w.Jails {
		names = append(names, j.Name)
	}
	if got, want := strings.Join(names, " "), "elixir-cluster-1 elixir-cluster-2 elixir-cluster-3 elixir-cluster-4 elixir-cluster-5 postgres"; got != want {
		t.Errorf("jails %s, want %s", got, want)
	}
	j := w.Jails[2]
	if got, want := j.Env[1].Value, "app@elixir-cluster-3.elixir.rex.internal"; got != want {
		t.Errorf("NODE of replica 3 is %q, want %q", got, want)
	}
	if err := w.Validate(); err != nil {
		t.Error(err)
	}
	if err := w.VerifyKeys(); err != nil {
		t.Error(err)
	}
}

func mustPrefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
