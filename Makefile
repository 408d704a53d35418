# RexCarcer. `make help` lists what there is.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
GO          ?= go
TAGS        := hashicorpmetrics
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS     := -s -w -X main.version=$(VERSION)
export GOFLAGS := -buildvcs=false -tags=$(TAGS)
export CGO_ENABLED ?= 0
TOOLS       := $(CURDIR)/.tools
PKGS        := ./...

# Debian packages: what the daemon needs on a host, then what tests and benches talk to.
HOST_DEBS   := runc crun nftables debootstrap debian-archive-keyring iproute2 ca-certificates procps gpgv
TEST_DEBS   := busybox-static dnsutils prometheus openssl jq postgresql-client curl e2fsprogs util-linux mandoc xz-utils docker-registry zfs-fuse openssh-client openssh-server eatmydata unbound nsd rsyslog chrony haproxy python3 isc-dhcp-client dhcpcd-base
BENCH_DEBS  := dnsperf etcd-server etcd-client podman rsync kea-dhcp4-server kea-admin dnsmasq-base

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## bin/rexcarcer and bin/rexctl, static
	@mkdir -p bin
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/rexcarcer ./cmd/rexcarcer
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/rexctl ./cmd/rexctl

.PHONY: deps
deps: ## install the Debian packages that are missing (root)
	@scripts/deps $(HOST_DEBS) $(TEST_DEBS)

.PHONY: test
test: deps build vet ## every test that passes or fails a change; as root the real ones too
	$(GO) test -timeout 14m $(PKGS)

.PHONY: vet
vet:
	$(GO) vet $(PKGS)

.PHONY: race
race: ## the tests under the race detector (cgo), without the end-to-end ones
	CGO_ENABLED=1 $(GO) test -race -short -timeout 20m $$($(GO) list ./... | grep -v /test/)

.PHONY: e2e
e2e: deps build ## the end-to-end tests alone
	$(GO) test -count=1 -v -timeout 14m ./test/...

.PHONY: zfs-kills
ZFSKILLS ?= 12
zfs-kills: deps build ## kill -9 of a daemon on ZFS at ZFSKILLS moments of a build and of a start
	$(GO) test -c -o bin/e2e.test ./test/e2e
	@for i in $$(seq $(ZFSKILLS)); do \
		at=$$(awk "BEGIN { print $$i / ($(ZFSKILLS) + 1) }"); \
		(cd test/e2e && REXCARCER_KILL_AT=$$at ../../bin/e2e.test -test.run '^TestKill9OnZFS$$' -test.v -test.timeout 10m | grep -E 'killed at|^(---|FAIL)') || exit 1; done

.PHONY: cover
cover: ## coverage of all packages
	$(GO) test -short -coverprofile=cover.out $(PKGS) && $(GO) tool cover -func=cover.out | tail -1

.PHONY: golden
golden: ## rewrite the golden files; review the diff
	$(GO) test ./spec/... ./fsm/... ./plan/... ./scheduler/... ./netd/... ./dnsd/... ./cmd/rexctl -args -rewrite

.PHONY: fuzz
FUZZTIME ?= 30s
fuzz: ## each fuzz test for FUZZTIME
	@for p in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
		for f in $$(grep -ho '^func Fuzz[A-Za-z0-9_]*' $$p/*_test.go | awk '{print $$2}'); do \
			echo "== $$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p || exit 1; done; done

.PHONY: sim
SEEDS ?= 20000
sim: ## the simulated cluster, as many stories as SEEDS says (make test tells 2,000)
	SIM_SEEDS=$(SEEDS) $(GO) test -count=1 -v -timeout 60m -run 'TestTroubleHarmsNobody$$|TestMovesLoseNothing$$' ./internal/sim

# Their tests are linked for FreeBSD as well: those of what differs there.
FREEBSD_TESTS := ./jail ./netd ./zfssync ./hostagent ./dnsd ./internal/run ./cmd/rexcarcer
.PHONY: cross
cross: ## FreeBSD: build, vet and compile the tests, amd64 and arm64; Linux arm64 too
	@for t in freebsd/amd64 freebsd/arm64 linux/arm64; do \
		echo "== $$t"; export GOOS=$${t%/*} GOARCH=$${t#*/}; $(GO) build ./... && $(GO) vet ./... || exit 1; done
	@for a in amd64 arm64; do \
		echo "== freebsd/$$a: tests"; out=$$(mktemp -d); GOOS=freebsd GOARCH=$$a $(GO) test -c -o $$out/ $(FREEBSD_TESTS) || { rm -rf $$out; exit 1; }; \
		echo "$$(ls $$out | wc -l) test programs"; rm -rf $$out; done

.PHONY: freebsd-pkg
freebsd-pkg: ## packages for FreeBSD's pkg(8) in dist/, amd64 and arm64
	@for a in amd64 arm64; do scripts/freebsd-pkg $$a $(VERSION) dist; done

GOLANGCI := $(TOOLS)/golangci-lint
$(GOLANGCI):
	GOBIN=$(TOOLS) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.PHONY: lint
lint: $(GOLANGCI) ## golangci-lint with the project's settings
	$(GOLANGCI) run --timeout 10m

.PHONY: bench
bench: build ## benches beside real peers: BENCH=dns|dhcp|publish|router|raft|cluster|start|sched|scale|pki|sync|clone, or all
	@scripts/deps $(HOST_DEBS) $(TEST_DEBS) $(BENCH_DEBS)
	@test/bench/run $(BENCH)

.PHONY: bench-dhcp
bench-dhcp: ## DHCP beside Kea and dnsmasq (root)
	@$(MAKE) --no-print-directory bench BENCH=dhcp

.PHONY: dhcp-flood
STRANGERS ?= 100000
dhcp-flood: deps ## STRANGERS machines, declines and nonsense against DHCP: memory and goroutines stay, others are served (root)
	@scripts/deps kea-admin
	$(GO) run ./test/bench/dhcp -flood $(STRANGERS)

.PHONY: faults
faults: deps build ## what breaks machines, done to real daemons under load: a table (about 20 minutes, root)
	$(GO) run ./test/faults
	FAULTS=all $(GO) test -count=1 -run TestAMoveSurvivesKill9 -v ./test/e2e

.PHONY: demo
demo: deps build ## five Elixir nodes and PostgreSQL, on this machine
	@scripts/demo up

.PHONY: demo-down
demo-down: ## stop the demo and check that nothing is left
	@scripts/demo down

.PHONY: demo-cluster
demo-cluster: deps build ## five hosts on this machine with the demo spread over them, hurt in five ways
	@scripts/demo-cluster up

.PHONY: demo-cluster-down
demo-cluster-down: ## stop those hosts and check that nothing is left
	@scripts/demo-cluster down

.PHONY: clean
clean: ## remove what was built
	rm -rf bin dist bench-results cover.out
