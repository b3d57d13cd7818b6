#!/bin/sh
# After install and upgrade, deb and rpm. Nothing is started: whoever installs
# coldbrick decides when a volume is ready for it.
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload || true
fi
