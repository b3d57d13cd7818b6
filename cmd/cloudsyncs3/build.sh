#!/bin/sh
# build.sh OUTPUT: builds the plugin for the glusterfs whose headers are
# installed (libglusterfs-dev, uuid-dev, liburcu-dev). With SANITIZE=address its C is
# checked by AddressSanitizer; the client then needs libasan in LD_PRELOAD.
set -eu

version=$(pkg-config --modversion glusterfs-api) || {
	echo "build.sh: no headers of glusterfs: install libglusterfs-dev, uuid-dev and liburcu-dev" >&2
	exit 1
}
version=${version#7.} # the API's own version comes first: 7.10.3
major=${version%%.*}
minor=${version#*.}
minor=${minor%%[!0-9]*}

output=$(realpath "$1")
cd "$(dirname "$0")"
export CGO_ENABLED=1
export CGO_CFLAGS="${CGO_CFLAGS:-} -DGLUSTERFS_MAJOR=$major -DGLUSTERFS_MINOR=$minor"
strip="-s -w "
if [ -n "${SANITIZE:-}" ]; then
	strip= # a report names lines
	CGO_CFLAGS="$CGO_CFLAGS -g -fno-omit-frame-pointer -fsanitize=$SANITIZE"
	export CGO_LDFLAGS="${CGO_LDFLAGS:-} -fsanitize=$SANITIZE"
fi
exec go build -tags cloudsyncs3 -buildmode=c-shared -trimpath -ldflags "$strip-extldflags=-Wl,--version-script=$PWD/exports.map" -o "$output" .
