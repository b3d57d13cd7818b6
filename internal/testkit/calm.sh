#!/bin/bash
# calm.sh [ROUNDS [LOOPS]]: runs make test so often, on a fresh clone of what is
# committed, beside so many loops that do nothing but keep the processors busy. A
# test that fails here leans on the machine's speed. TESTTIMEOUT is 2h unless set.
set -euo pipefail
rounds=${1:-5} loops=${2:-2}
source=$(git -C "$(dirname "$0")" rev-parse --show-toplevel)
clone=$(mktemp -d)
busy=()
end() {
	kill "${busy[@]}" 2>/dev/null || true # none was begun
	rm -rf "$clone"
}
trap end EXIT
git clone --quiet "$source" "$clone"
if [ -d "$source/.cache/bin" ]; then # tools of other projects, which take minutes to build
	mkdir "$clone/.cache"
	cp -r "$source/.cache/bin" "$clone/.cache/"
fi
export TESTTIMEOUT=${TESTTIMEOUT:-2h}
for ((i = 0; i < loops; i++)); do
	bash -c 'while :; do :; done' &
	busy+=($!)
done
failed=0
for ((i = 1; i <= rounds; i++)); do
	began=$SECONDS
	if make -C "$clone" test; then ended=passed; else ended=FAILED failed=1; fi
	echo "round $i of $rounds beside $loops loops: $ended after $((SECONDS - began)) s"
done
exit $failed
