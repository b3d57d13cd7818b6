#!/bin/bash
# root.sh SUITE COMMAND...: runs a command, as root, in a second root file system
# of another Debian (trixie has GlusterFS 11) that sees this checkout under /src
# and this host's Go. The root is made once, into .cache/roots; what the tests
# need is installed into it by require.sh.
#
# A plain chroot will not do: glusterfs and the tests make mount namespaces.
set -euo pipefail
source=$(cd "$(dirname "$0")/../.." && pwd)
mkdir -p "$source/.cache"
cache=$(readlink -f "$source/.cache") # a link, where several work trees share one

if [ "${1-}" != --inside ]; then
	suite=$1
	roots=$cache/roots root=$cache/roots/$suite
	mkdir -p "$roots"
	exec 9>"$roots/$suite.lock"
	flock 9
	if [ ! -d "$root" ]; then
		# From where this host has its own packages.
		mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
			grep -oE 'https?://[^ ]+/debian/?( |$)' | head -n 1) || true # debootstrap knows one
		echo "making a root file system of Debian $suite, once" >&2
		rm -rf --one-file-system "$root.new"
		debootstrap --variant=minbase --include=ca-certificates "$suite" "$root.new" "${mirror%% *}" >"$roots/$suite.log" 2>&1 ||
			{ tail -n 20 "$roots/$suite.log" >&2; exit 1; }
		cp /etc/apt/apt.conf.d/99* "$root.new/etc/apt/apt.conf.d/" 2>/dev/null || true # how this host reaches packages
		mv "$root.new" "$root"
	fi
	flock -u 9
	exec env GOPROXY="$(go env GOPROXY)" GOSUMDB="$(go env GOSUMDB)" GOFLAGS="$(go env GOFLAGS)" HOST_GOROOT="$(go env GOROOT)" \
		HOST_GOMODCACHE="$(go env GOMODCACHE)" HOST_GOCACHE="$(go env GOCACHE)" \
		unshare --mount --pid --uts --ipc --fork --kill-child "$0" --inside "$root" "${@:2}"
fi

root=$2
shift 2
mount --make-rprivate /
mount --bind "$root" "$root" # a mount point, which pivot_root wants
cd "$root"
mkdir -p src opt/go gomod gocache old
mount --bind "$source" src
git=$(cd "$source" && realpath "$(git rev-parse --git-common-dir)") # elsewhere, in a work tree
for outside in "$cache" "$git"; do # under the paths that lead to them
	case $outside in "$source"/*) continue ;; esac
	mkdir -p ".$outside"
	mount --bind "$outside" ".$outside"
done
mount --bind "$HOST_GOROOT" opt/go # outside /usr: the plugin's headers are there
mkdir -p "$HOST_GOMODCACHE" "$HOST_GOCACHE"
mount --bind "$HOST_GOMODCACHE" gomod
mount --bind "$HOST_GOCACHE" gocache
mount --rbind /dev dev
mount --rbind /sys sys
mount -t proc proc proc
mount -t tmpfs -o mode=755 tmpfs run
mkdir run/lock
cat /etc/resolv.conf >etc/resolv.conf
cat /etc/hosts >etc/hosts
pivot_root . old
umount -l /old
hostname coldbrick-test
export PATH=/opt/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export GOMODCACHE=/gomod GOCACHE=/gocache HOME=/root TMPDIR=/tmp GOTOOLCHAIN=local
unset HOST_GOROOT HOST_GOMODCACHE HOST_GOCACHE
cd /src
git config --global --replace-all safe.directory '*' 2>/dev/null || true # if it is installed at all
# Not exec: this shell is the first process in here, and reaps what daemons leave.
"$@"
