#!/bin/bash
# micro.sh COMMIT: runs the benchmarks of the hot paths as they are here and as
# they were at COMMIT, in turns, and lets benchstat say what differs.
set -euo pipefail
cd "$(dirname "$0")/../.."
benchstat=$(internal/testkit/tool.sh benchstat)
VERSITYGW=$(internal/testkit/tool.sh versitygw)
export VERSITYGW

work=$(mktemp -d)
trap 'rm -rf "$work"; git worktree prune' EXIT
git worktree add --quiet --detach "$work/tree" "$1"
declare -A trees=([before]=$work/tree [here]=$PWD)

for _ in {1..6}; do # fewer are not enough for benchstat to be sure
	for side in before here; do
		go test -C "${trees[$side]}" -run '^$' -bench . -benchmem -benchtime 0.3s \
			./crawl ./internal/objstore/... ./internal/volume | tee -a "$work/$side" | grep '^Benchmark' >&2
	done
done
"$benchstat" "before=$work/before" "here=$work/here"
