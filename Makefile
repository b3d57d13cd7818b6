# make help lists the targets.
SHELL      := bash
.SHELLFLAGS := -o pipefail -euc
.DEFAULT_GOAL := build
tool       := internal/testkit/tool.sh
FUZZTIME   ?= 30s
# After so long a package's tests count as hung; only a machine busy with other
# things needs more.
TESTTIMEOUT ?= 45m
# What make test runs, and with the race detector unless that is empty. Of these packages
# without it, which makes them three times as long: it sees nothing of plugins and packages,
# which are programs of their own, and what safety runs in a thousand cells cmd/coldbrick
# runs too. make soak has it on for safety.
PACKAGES ?= ./...
RACE     ?= -race
plain    := /(cmd/cloudsyncs3|internal/safety|packaging)$$
E2ETIMEOUT  ?= 60m
# So many tests of a package run at once: most of a test is waiting for Gluster.
PARALLEL ?= 3

.PHONY: build plugin install-plugin man package release unit test test-race test-plain e2e test-11 series-plugin asan qualify qualify-s3 gateways calm soak bench microbench fuzz check demo help

build: ## bin/coldbrick, a static program
	CGO_ENABLED=0 go build -trimpath -o bin/ ./cmd/coldbrick

# The directory is where the libraries of this version look, and no other's.
plugins = $(shell glusterfs --print-xlatordir | sed 's|/xlator$$|/cloudsync-plugins|')

plugin: ## bin/cloudsyncs3.so, which recalls from within Gluster's clients; docs/plugin.md
	@mkdir -p bin
	cmd/cloudsyncs3/build.sh bin/cloudsyncs3.so
	@rm -f bin/cloudsyncs3.h

# Renamed into place: a client that has the former one loaded keeps it.
install-plugin: plugin ## the plugin to where this host's glusterfs loads it from (DESTDIR)
	install -d '$(DESTDIR)$(plugins)'
	install -m 644 bin/cloudsyncs3.so '$(DESTDIR)$(plugins)/.cloudsyncs3.so.new'
	mv '$(DESTDIR)$(plugins)/.cloudsyncs3.so.new' '$(DESTDIR)$(plugins)/cloudsyncs3.so'

man: ## the reference pages, man pages and sample configuration in docs/, anew from the code
	go test -count=1 ./cmd/coldbrick -run TestTheManualIsTrue -update

package: ## deb and rpm of both, in dist/; VERSION=1.2.3 names them, PLUGINS=11.1=FILE.so goes along
	packaging/build.sh dist $(PLUGINS)

release: package ## the packages, the list of modules in them (SBOM) and SHA256SUMS, in dist/
	@$$($(tool) cyclonedx-gomod) mod -json -licenses -output dist/coldbrick.cdx.json .
	cd dist && sha256sum *.deb *.rpm *.cdx.json >SHA256SUMS

# Whatever needs a real part imports testkit, if only through another package.
unit: ## the tests that need neither root nor FUSE, in seconds
	@go list -test -f '{{.ImportPath}} {{join .Deps " "}}' ./... | grep '\.test ' | grep -vw internal/testkit | \
		sed 's/\.test .*//' | xargs go test -count=1 -timeout $(TESTTIMEOUT)

# -v shows skipped tests, which fail: a promise that was not tested is not kept. Both parts
# run at once, since each waits for Gluster most of the time.
test: ## all tests, most with the race detector, on real bricks and a real S3 server (root)
	@internal/testkit/require.sh --install
	@$(tool) versitygw >/dev/null
	@$(tool) nfpm >/dev/null
	@mkdir -p .cache
	@$(MAKE) --no-print-directory -j2 -k test-race test-plain
	@if grep -a -- '--- SKIP' .cache/test-{race,plain}.log; then echo 'skipped tests count as failed' >&2; exit 1; fi

test-race:
	@$(call tests,-vE,$(RACE))
test-plain:
	@$(call tests,-E)
define tests
go list $(PACKAGES) | { grep $1 '$(plain)' || true; } | \
	xargs -r go test -count=1 -parallel $(PARALLEL) -timeout $(TESTTIMEOUT) -v $2 2>&1 | tee .cache/$@.log | \
	{ grep --line-buffered -avE '^ *(=== (RUN|PAUSE|CONT|NAME)|--- PASS|PASS$$)' || true; }
endef

e2e: ## coldbrick as users run it, on real clusters of three hosts (root, under 30 minutes)
	@internal/testkit/require.sh --install
	@$(tool) versitygw >/dev/null
	@mkdir -p .cache
	@go test -tags e2e -count=1 -timeout $(E2ETIMEOUT) -v ./internal/e2e 2>&1 | tee .cache/e2e.log | \
		grep -avE '^ *(=== (RUN|PAUSE|CONT|NAME)|PASS$$)'
	@if grep -a -- '--- SKIP' .cache/e2e.log; then echo 'skipped tests count as failed' >&2; exit 1; fi

# What a new version of GlusterFS breaks first: the facts, and all that is built on
# its private structures or reads what its daemons say.
facts11 := ./internal/testkit/... ./internal/gluster ./internal/volume ./cmd/cloudsyncs3
root11 := internal/testkit/root.sh trixie

test-11: ## facts, volume and plugin on GlusterFS 11, in a second root of Debian 13, and each plugin in the other (root)
	@internal/testkit/require.sh
	@$(root11) internal/testkit/require.sh --install
	@$(root11) make test RACE= PACKAGES='$(facts11)'
	@$(MAKE) --silent series-plugin
	@$(root11) make --silent series-plugin
	$(series_test)
	@$(root11) $(series_test)

# The plugin for this host's glusterfs, which the other series has to refuse.
gluster = $(shell pkg-config --modversion glusterfs-api | sed 's/^7\.//')
series-plugin:
	@rm -rf .cache/series/$(gluster) && mkdir -p .cache/series/$(gluster)
	@cmd/cloudsyncs3/build.sh .cache/series/$(gluster)/cloudsyncs3.so
series_test := go test -tags qualify -count=1 -timeout 10m -v -run '^TestTheLibraryOfTheOtherSeries$$' ./cmd/cloudsyncs3

# mount(8) does not bring up a client with libasan.
glusterd := ^Test(OptionsChangeWhileMounted|GraphSwitches.*|AnIdleClientWritesToAStub|AStubNeverLooksEmpty|AClientThatOnlyGuards|TheGuardCanBeTurnedOff|TheGuardEnduresGraphSwitches)$$
asan: ## the tests of the plugin that need no glusterd, with AddressSanitizer in its C (root)
	@internal/testkit/require.sh --install
	@$(tool) versitygw >/dev/null
	SANITIZE=address go test -count=1 -parallel $(PARALLEL) -timeout $(TESTTIMEOUT) -v -skip '$(glusterd)' ./cmd/cloudsyncs3

qualify-s3: ## the S3 store on MinIO, which takes minutes to build, or on a server of yours; docs/stores.md
	@$(tool) minio >/dev/null
	go test -tags qualify -count=1 -timeout $(TESTTIMEOUT) -v -run 'AnotherServer|MinIO' ./internal/objstore/s3

gateways: ## the plugin in Samba and NFS-Ganesha; it installs these servers (root)
	@internal/testkit/require.sh --install gateways
	@$(tool) versitygw >/dev/null
	go test -tags e2e,qualify -count=1 -timeout $(TESTTIMEOUT) -v -run '^TestGateways' ./internal/e2e

qualify: qualify-s3 gateways ## both, and make test and make e2e on GlusterFS 11; docs/porting.md (root, over an hour)
	@internal/testkit/require.sh
	@$(root11) internal/testkit/require.sh --install
	@$(root11) make test
	@$(root11) make e2e

calm: ## make test five times beside two busy loops, on a fresh clone: it leans on no clock (root, hours)
	@internal/testkit/calm.sh

soak: ## the long versions of what make test shows: 2,000 rounds, 200,000 files; two hosts for 30 minutes, a lost volume of 2,000 (root, hours)
	@internal/testkit/require.sh
	@$(tool) versitygw >/dev/null
	@mkdir -p .cache
	@COLDBRICK_SOAK_ROUNDS=$${COLDBRICK_SOAK_ROUNDS:-2000} go test $(RACE) -tags soak -count=1 -timeout 6h -v ./internal/safety ./internal/gc ./cmd/... 2>&1 | tee .cache/soak.log | \
		grep -avE '^ *(=== (RUN|PAUSE|CONT|NAME)|--- PASS|PASS$$)'
	@COLDBRICK_SOAK_MINUTES=$${COLDBRICK_SOAK_MINUTES:-30} go test -tags e2e,soak -count=1 -timeout 6h -v -run '^Test(TwoHosts|ALostVolumeIsRebuilt)' ./internal/e2e 2>&1 | tee .cache/soak-hosts.log | \
		grep -avE '^ *(=== (RUN|PAUSE|CONT|NAME)|--- PASS|PASS$$)'

fuzz: ## each fuzz test for FUZZTIME (30s)
	@grep -rl --include='*_test.go' '^func Fuzz' . | xargs -r -n 1 dirname | sort -u | while read -r package; do \
		go test -list '^Fuzz' "$$package" | { grep '^Fuzz' || true; } | while read -r name; do \
			echo "$$package $$name"; \
			go test -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZTIME) "$$package"; \
		done; \
	done

check: ## formatting, paths of one machine, vet, linters with the import directions, go.mod, known vulnerabilities
	@test -z "$$(git ls-files '*.go' | xargs gofmt -l | tee /dev/stderr)"
	@if git grep -nE '/(root|work)/'; then echo 'a path of one machine' >&2; exit 1; fi
	go vet -tags e2e,capture,soak,bench,qualify ./...
	@linter=$$($(tool) golangci-lint) && $$linter run
	go mod tidy -diff
	@.ci/vulnerabilities

microbench: ## the hot paths' own benchmarks, beside those of another commit: make microbench BASE=main~5
	internal/bench/micro.sh $(or $(BASE),HEAD)

bench: build plugin ## crawl, archive and recall beside their peers; docs/performance.md (root, an hour)
	@internal/testkit/require.sh
	@$(tool) versitygw >/dev/null
	@$(tool) rclone >/dev/null
	@rm -rf .cache/bench # tables of a former run
	internal/bench/crawl/run.sh -json $(CURDIR)/.cache/bench
	internal/bench/transfer/run.sh
	go run ./internal/bench/report .cache/bench docs

demo: ## a file's whole life on a real volume, in under three minutes (root)
	@docs/demo.sh

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12
