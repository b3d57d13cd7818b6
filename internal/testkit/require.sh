#!/bin/sh
# require.sh [demo|gateways]: says in one line what the tests, the demo, or the tests of gateways
# need and this host lacks. require.sh --install ...: installs it, on Debian, as root.
set -eu
install=''
if [ "${1-}" = --install ]; then
	install=$1
	shift
fi
purpose=${1-tests}
missing='' # Debian packages
vfs=samba-vfs-modules
[ "$(cut -d. -f1 /etc/debian_version 2>/dev/null)" = 12 ] || vfs=samba-vfs-glusterfs
need() { # PACKAGE FILE...: PACKAGE is there if one of the files is
	package=$1
	shift
	for file; do
		[ -e "$file" ] && return
	done
	missing="$missing $package"
}
header() { # PACKAGE HEADER
	echo "#include <$2>" | gcc -E -D_FILE_OFFSET_BITS=64 - >/dev/null 2>&1 || missing="$missing $1"
}
look() {
	missing=''
	need glusterfs-server /usr/sbin/glusterfsd
	need glusterfs-client /usr/sbin/glusterfs
	need attr /usr/bin/getfattr
	need fuse3 /usr/bin/fusermount3 /bin/fusermount3
	need iproute2 /usr/bin/ip /bin/ip /sbin/ip
	[ "$purpose" != demo ] || return 0
	need make /usr/bin/make
	need git /usr/bin/git
	need gcc /usr/bin/gcc
	need pkg-config /usr/bin/pkg-config
	header libc6-dev stdlib.h
	header liburcu-dev urcu.h
	header uuid-dev uuid/uuid.h
	header libssl-dev openssl/ssl.h # what the headers of glusterfs 11 include
	need libglusterfs-dev /usr/include/glusterfs/xlator.h
	need debootstrap /usr/sbin/debootstrap # of root.sh
	need curl /usr/bin/curl
	need procps /usr/bin/pgrep
	need rsync /usr/bin/rsync
	need xfsprogs /usr/sbin/mkfs.xfs /sbin/mkfs.xfs
	need systemd /usr/bin/systemd-analyze
	need rpm /usr/bin/rpm
	need prometheus /usr/bin/promtool
	[ "$purpose" = gateways ] || return 0 # they are servers, which a host starts when they are installed
	need samba /usr/sbin/smbd
	need smbclient /usr/bin/smbclient
	need "$vfs" /usr/lib/*/samba/vfs/glusterfs.so
	need nfs-ganesha /usr/bin/ganesha.nfsd
	need nfs-ganesha-gluster /usr/lib/*/ganesha/libfsalgluster.so
	need rpcbind /usr/sbin/rpcbind /sbin/rpcbind
	header libnfs-dev nfsc/libnfs.h
}
look
if [ -n "$install" ] && [ -n "$missing" ]; then
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -q
	# shellcheck disable=SC2086 # a list of packages
	apt-get install -q -y --no-install-recommends $missing
	look
fi
[ -z "$missing" ] || {
	echo "missing Debian packages:$missing (apt-get install$missing, or $0 --install $purpose)" >&2
	exit 1
}
[ "$(id -u)" = 0 ] || {
	echo "missing: root (they mount file systems and set trusted.* attributes)" >&2
	exit 1
}
[ -c /dev/fuse ] || {
	echo "missing: /dev/fuse (modprobe fuse; a container needs the device and CAP_SYS_ADMIN)" >&2
	exit 1
}
go version >/dev/null 2>&1 || {
	echo "missing: Go 1.26 or newer (https://go.dev/dl; Debian 12 has an older one)" >&2
	exit 1
}
