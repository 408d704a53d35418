# Five Elixir nodes and a PostgreSQL jail: fully connected, found by DNS,
# addressed by leases. Run `make demo`, or:
#
#   rexcarcer -dev &
#   rexctl apply examples/elixir-cluster/cluster.hcl

cluster "demo" {
  domain = "rex.internal"
}

variable "nodes" {
  default = 5
}

variable "password" {
  default = "not-a-secret"
}

network "elixir" {
  subnet = "10.66.0.0/24"
  nat    = true

  publish "db" {
    port    = 15432
    service = "postgres"
  }
}

image "postgres" {
  rexfile = "postgres.rex"
}

image "elixir" {
  rexfile = "elixir.rex"
}

jail "postgres" {
  image   = "postgres"
  network = "elixir"
  env     = { DB_PASSWORD = var.password }

  service "postgres" {
    port = 5432
    check {
      type     = "exec"
      command  = ["/usr/lib/postgresql/15/bin/pg_isready", "-q", "-h", "127.0.0.1"]
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

  env = {
    NODE        = "app@${self.fqdn}"
    SEED        = "elixir-cluster-1"
    DB_HOST     = "postgres"
    DB_PASSWORD = var.password
  }

  # A node answers here once it has joined the others and used the database.
  service "app" {
    port = 4000
    check {
      type     = "tcp"
      interval = "2s"
      grace    = "30s"
    }
  }

  limits {
    memory    = "512M"
    processes = 300
  }

  restart {
    policy  = "on-failure"
    backoff = "1s"
  }

  update {
    max_parallel = 1
  }
}
