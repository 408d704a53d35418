# A web service with a database on three hosts: one web jail on each, the database
# where the fast disks are, and nothing of it twice at a time.

cluster "shop" {
  domain = "rex.internal"
}

variable "web" {
  default = 3
}

network "shop" {
  subnet = "10.80.0.0/24"
  nat    = true

  publish "http" {
    port    = 8080
    service = "web"
  }
}

image "base" {
  base = "debian:bookworm"
}

jail "db" {
  image   = "base"
  network = "shop"
  command = ["sh", "-c", "exec sleep infinity"]

  volume "data" {
    path  = "/var/lib/data"
    quota = "2G"
  }

  placement {
    affinity = "ssd"
  }
}

jail "web" {
  count      = var.web
  image      = "base"
  network    = "shop"
  depends_on = ["db"]
  env        = { DB_HOST = "db" }
  command    = ["sh", "-c", "exec sleep infinity"]

  service "web" {
    port = 80
  }

  limits {
    memory    = "256M"
    processes = 100
  }

  placement {
    spread = "host"
  }

  update {
    max_parallel = 1
  }
}
