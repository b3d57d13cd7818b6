#!/bin/sh
# After removal; deb says `purge` when everything is to go. Run records that tell of
# unfinished work are kept even then: they may be what a later run fixes a file by.
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
fi
[ "$1" = purge ] || exit 0
rm -f /etc/systemd/system/timers.target.wants/coldbrick-*@*.timer
state=/var/lib/coldbrick
for record in "$state"/runs/*.jsonl; do
	if [ -e "$record" ]; then
		echo "coldbrick: $state is kept: its run records are not settled" >&2
		exit 0
	fi
done
rm -rf "$state"
