#!/bin/sh
# Waits for the end of its standard input, then removes what a test left in the
# directory that $GROUND names: processes that have it in their arguments,
# mounts, files.
#
# A test holds the other end of the pipe, so it makes no difference whether the
# test ends, panics or is killed. Descriptor 3 is the open, locked $GROUND/lock:
# as long as it is locked, somebody takes care of the directory.
case $GROUND in
/*/cb-*.d) ;;
*) echo "not a test's directory: $GROUND" >&2; exit 2 ;;
esac

cat >/dev/null

# The directory must not be in the arguments of these commands themselves.
processes() {
	printf '%s\n' "$GROUND" | grep -lsF -f - /proc/[0-9]*/cmdline | tr -cd '0-9\n'
}
mounts() { # the innermost first
	while read -r _ _ _ _ at _; do
		case $at in "$GROUND"/*) echo "$at" ;; esac
	done </proc/self/mountinfo | sort -r
}

# A mount of a dead daemon cannot hang, so the daemons go first. More than one
# round, because a process may be starting another one in the meantime.
for round in 1 2 3 4 5 6 7 8 9 10; do
	for pid in $(processes); do kill -9 "$pid" 2>/dev/null || :; done # the shell's own: a small root has no other
	mounts | xargs -r -n 1 umount -l
	[ -z "$(processes)$(mounts)" ] && break
	sleep 0.1
done
[ -n "$(mounts)" ] || rm -rf --one-file-system -- "$GROUND"
