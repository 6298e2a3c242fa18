# `make help` lists the targets. `make test` is what CI runs.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)
BUILD := CGO_ENABLED=0 go build -trimpath -ldflags "$(LDFLAGS)"

# How long each fuzz target runs, and how long all tests together may take.
FUZZTIME ?= 30s
TIMEOUT ?= 12m

# What `make chaos` multiplies its counts by, and how long it may take.
N ?= 1
CHAOS_TIMEOUT ?= $(shell echo $$(( 60 * $(N) )))m

# What the client is made of; it also has to compile for macOS.
CLIENT := ./spec/... ./control/... ./console/... ./cmd/...

# The race detector needs a C compiler.
RACE := $(shell command -v gcc >/dev/null 2>&1 && echo -race)

.PHONY: help generate build test unit race lint fuzz e2e chaos bench bench-smoke check demo deps snapshot clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## bin/kita, a static binary
	$(BUILD) -o bin/kita ./cmd/kita

test: deps lint ## everything CI runs: lint, then all tests under the race detector
	@$(MAKE) --no-print-directory race

# Without a test cache: the scripts run a binary that go test does not know of.
# The faults come last and alone: how long an answer takes is a part of them.
race: ## all tests, under the race detector where there is a C compiler
	go test $(RACE) -count=1 -timeout $(TIMEOUT) -skip '^TestChaos$$' ./...
	go test -count=1 -timeout $(TIMEOUT) -run '^TestChaos$$' ./e2e/chaos
	go -C packaging/tools test -timeout $(TIMEOUT) ./...
	go -C packaging/goreleaser test -timeout $(TIMEOUT) .

unit: ## the tests that need no built binary, cached
	go test $$(go list ./... | grep -v -e /e2e -e /bench)

lint: ## gofmt, go vet for each system, staticcheck
	@bad=$$(gofmt -l .); \
	if [[ -n $$bad ]]; then echo "gofmt would change:" >&2; echo "$$bad" >&2; exit 1; fi
	go vet ./...
	GOARCH=arm64 CGO_ENABLED=0 go vet ./...
	GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 go vet $(CLIENT)
	GOARCH=arm64 $(BUILD) -o /dev/null ./cmd/kita
	GOOS=darwin GOARCH=arm64 $(BUILD) -o /dev/null ./cmd/kita
	go -C packaging/tools vet ./...
	go -C packaging/goreleaser vet .
	go tool staticcheck ./...
# What only the server uses is unused in a client: U1000 is for the first run.
	tool=$$(go tool -n staticcheck) && GOOS=darwin GOARCH=arm64 $$tool -checks inherit,-U1000 $(CLIENT)

generate: ## write what is made from the code: tables in docs, schema/*.json, manual pages
	go test ./docs ./spec/schema -run '^TestGenerated' -update
	go test ./cmd/kita -run '^TestManual$$' -update

fuzz: ## every fuzz target for FUZZTIME (30s)
	@git ls-files '*_test.go' | xargs grep -HoE '^func Fuzz[A-Za-z0-9_]+' | sed 's/:func /:/' | \
	while IFS=: read -r file target; do \
		echo "go test -fuzz $$target ./$$(dirname "$$file")"; \
		go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "./$$(dirname "$$file")" </dev/null; \
	done

e2e: ## the scripts against the real binary
	go test -count=1 -timeout $(TIMEOUT) ./e2e/...

# Verbose, so that one sees which fault is being inflicted; the table comes last.
chaos: ## every fault in its full count, as root also without root's rights; N=5 for more
	KITA_CHAOS=full N=$(N) go test -count=1 -v -timeout $(CHAOS_TIMEOUT) -run '^(TestNoLineIsLost|TestFullDiskUnderOutput)$$' ./e2e
	KITA_CHAOS=full N=$(N) go test -count=1 -v -timeout $(CHAOS_TIMEOUT) -run '^TestChaos$$' ./e2e/chaos

# N is also how often chaos does everything, once unless it is given.
bench: ## measurements, with up to 1,000 children or N; they judge nothing
	go run ./bench -n $(if $(filter file,$(origin N)),1000,$(N)) $(BENCH)
	go test -run '^$$' -bench . -timeout $(TIMEOUT) $$(go list ./... | grep -v /bench)

bench-smoke: ## a minute of measuring, a part of test: fails only on gross loss
	go test -count=1 -timeout $(TIMEOUT) -v -run '^TestSmoke$$' ./bench

check: lint unit ## before a commit: lint and the quick tests

demo: build ## the main job for real, in a temporary directory
	@examples/demo.sh bin/kita

deps: ## install what the tests need besides Go (as root), or name it
	@.ci/deps

# The whole of goreleaser is compiled first, which takes minutes. The same bytes have to
# come of it as of its part that every run of the tests has. Those then look at them.
snapshot: ## dist/: archives, packages, checksums, by goreleaser, and tested
	go build -C packaging/goreleaser -o $(CURDIR)/bin/goreleaser-part .
	bin/goreleaser-part
	cp dist/*_sha256sums.txt bin/part_sha256sums.txt
	go build -C packaging/goreleaser -o $(CURDIR)/bin/goreleaser github.com/goreleaser/goreleaser/v2
	bin/goreleaser check
	bin/goreleaser release --snapshot --clean
	diff bin/part_sha256sums.txt dist/*_sha256sums.txt
	KITA_DIST=$(CURDIR)/dist go test -count=1 -v ./packaging

clean: ## remove what was built
	rm -rf bin dist
