#!/bin/bash
# Measures archive and recall beside their peers; arguments go to go test. The
# plugin is put in place in a mount namespace of its own, where only what is
# measured sees it. BENCH_SMALL_FILES, BENCH_MEDIUM_FILES, BENCH_LARGE_MIB and
# BENCH_ROUNDS make it shorter.
set -euo pipefail
cd "$(dirname "$0")/../../.."
if [ "${1-}" != inside ]; then
	exec unshare --mount "$0" inside "$@"
fi
shift
mount --make-rprivate /
plugins=$(glusterfs --print-xlatordir | sed 's|/xlator$|/cloudsync-plugins|')
mount --bind bin "$plugins"
exec go test -tags bench -count=1 -timeout 3h -v "$@" ./internal/bench/transfer
