#!/bin/sh
# Before removal: deb says `remove`, rpm 0; an upgrade, after which runs go on, has
# other words.
set -e
case $1 in
remove | 0) ;;
*) exit 0 ;;
esac
if [ -d /run/systemd/system ]; then
	systemctl stop 'coldbrick-*@*.timer' 'coldbrick-*@*.service' || true
fi
