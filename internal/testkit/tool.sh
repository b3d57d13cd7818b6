#!/bin/sh
# tool.sh NAME: builds a pinned tool into .cache/bin, unless it is there, and
# prints its path. It may run any number of times at once.
set -eu
case ${1-} in
versitygw) module=github.com/versity/versitygw/cmd/versitygw version=v1.8.0 ;;
minio) module=github.com/minio/minio version=v0.0.0-20260212201848-7aac2a2c5b7c ;; # of make qualify: it has no versions as Go counts them
rclone) module=github.com/rclone/rclone version=v1.76.0 ;; # a peer of make bench
golangci-lint) module=github.com/golangci/golangci-lint/v2/cmd/golangci-lint version=v2.15.0 ;;
govulncheck) module=golang.org/x/vuln/cmd/govulncheck version=v1.9.0 ;;
nfpm) module=github.com/goreleaser/nfpm/v2/cmd/nfpm version=v2.43.4 ;;
cyclonedx-gomod) module=github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod version=v1.9.0 ;;
benchstat) module=golang.org/x/perf/cmd/benchstat version=v0.0.0-20260908200009-22c9c6c9d4da ;; # has no releases
*) echo "usage: tool.sh versitygw|minio|rclone|golangci-lint|govulncheck|nfpm|cyclonedx-gomod|benchstat" >&2; exit 2 ;;
esac
cache=$(cd "$(dirname "$0")/../.." && pwd)/.cache
tool=$cache/bin/$1-$version
if [ ! -x "$tool" ]; then
	mkdir -p "$cache/bin"
	exec 9>"$cache/$1.lock"
	flock 9
	if [ ! -x "$tool" ]; then # nobody else built it in the meantime
		echo "building $1 $version, once" >&2
		GOBIN=$cache/$1.new GOFLAGS='' go install "$module@$version" >&2
		mv "$cache/$1.new/$1" "$tool"
		rmdir "$cache/$1.new"
	fi
fi
echo "$tool"
