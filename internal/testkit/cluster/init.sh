# The first process of a node: bash init.sh NAME HOSTS
#
# It runs in fresh mount, net, pid, uts and ipc namespaces, with the end of a
# pipe as stdin and an unnamed file for the node's disk as descriptor 3. Nobody
# writes to the pipe: it ends when the test process ends, however that happens,
# and with this process everything goes that was started or mounted in the node.
set -eu
export PATH=/usr/sbin:/usr/bin:/sbin:/bin

mount --make-rprivate /
mount -t proc proc /proc
hostname "$1"
ip link set lo up

# What programs write to is the node's own: with a shared /run a second glusterd
# would not start, and its command line would talk to the first one.
for dir in /run /tmp /mnt /var/lib /var/log; do
	mount -t tmpfs -o mode=755 tmpfs "$dir"
done
mkdir /run/gluster /run/lock /var/lib/glusterd /var/log/glusterfs
printf '%s\n' "$2" >/run/hosts
mount --bind /run/hosts /etc/hosts

# Detached while mounted, a loop device goes with its mount.
disk=$(losetup --find --show /proc/self/fd/3)
trap 'losetup --detach "$disk"' EXIT
mkfs.xfs -q -f -i size=512 "$disk"
mount -o noatime "$disk" /srv
losetup --detach "$disk"
trap - EXIT
mkdir /srv/bin
mount --bind /srv/bin /usr/local/bin
exec 3<&-

# Whatever a program in the node tries, it leaves nothing on the host.
mount -o remount,bind,ro /

echo ready
# bash reaps the daemons' orphans while it waits: a killed brick must not stay as
# a zombie that glusterd takes for alive.
read -r _ || true
