#!/bin/bash
# A file's whole life: on a real volume, to a real S3 server, and back. As root,
# on any Debian 12 with Go; `make demo` runs it.
#
# Everything runs in namespaces of its own: nothing that is started or mounted
# here outlives the demo or is seen outside, and the only directory on the host
# that it writes to is .cache.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${1-}" != inside ]; then
	internal/testkit/require.sh --install demo
	make -s build
	VERSITYGW=$(internal/testkit/tool.sh versitygw)
	export VERSITYGW
	mkdir -p .cache
	dir=$(mktemp -d "$PWD/.cache/demo.XXXXXX")
	unshare --mount --net --pid --ipc --uts --fork --kill-child --mount-proc "$0" inside "$dir" &
	namespaces=$!
	clean() {
		set +e
		kill -9 $namespaces # and with it, all that is inside
		wait $namespaces
		until rm -rf --one-file-system "$dir"; do sleep 0.2; done
	} 2>/dev/null
	trap clean EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	wait $namespaces
	exit
fi

PATH=$PWD/bin:$PATH
cd "$2"

bold='' plain=''
if [ -t 1 ]; then
	bold=$(tput bold) plain=$(tput sgr0)
fi
step() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
show() { # COMMAND...: prints it and runs it
	printf '%s$ %s%s\n' "$bold" "${*@Q}" "$plain" | sed "s/'\([a-zA-Z0-9_./:=-]*\)'/\1/g"
	"$@"
}
sum() { # of all names and all bytes below a directory
	(cd "$1" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d ' ' -f 1)
}
mount_volume() { # a new mount, which has cached nothing
	# Both timeouts, since there is no plugin here: see performance.stat-prefetch below.
	mount -t glusterfs -o attribute-timeout=0,entry-timeout=0 192.0.2.1:/demo "$PWD/volume"
}

step 'A Gluster volume of one brick, with cloudsync; and an S3 server with one bucket'
mount --make-rprivate /
hostname demo
ip link set lo up
ip address add 192.0.2.1/32 dev lo
for private in /run /var/lib/glusterd /var/log/glusterfs; do
	mount -t tmpfs -o mode=755 tmpfs "$private"
done
mkdir /run/gluster /run/lock
mkdir -p brick volume s3/archive tmp state
export TMPDIR=$PWD/tmp COLDBRICK_STATE_DIR=$PWD/state HOME=$PWD

glusterd
until gluster pool list >/dev/null 2>&1; do sleep 0.2; done
{
	gluster volume create demo "192.0.2.1:$PWD/brick" force
	gluster volume set demo features.cloudsync on
	gluster volume set demo performance.quick-read off    # or stubs read as garbage (GlusterFS 10)
	gluster volume set demo performance.stat-prefetch off # or stubs look empty in clients without our plugin
	gluster volume start demo
} | sed 's/^/   /'
mount_volume

export AWS_ACCESS_KEY_ID=demo AWS_SECRET_ACCESS_KEY=demo-secret AWS_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true
export COLDBRICK_BUCKET=archive COLDBRICK_ENDPOINT_URL=http://127.0.0.1:7070
export COLDBRICK_ALLOW_UNGUARDED_CLIENTS=true # the only client is the mount above, which is safe as it is
ROOT_ACCESS_KEY=$AWS_ACCESS_KEY_ID ROOT_SECRET_KEY=$AWS_SECRET_ACCESS_KEY \
	"$VERSITYGW" --port 127.0.0.1:7070 --keep-alive --quiet posix s3 >s3.log 2>&1 &
until (: </dev/tcp/127.0.0.1/7070) 2>/dev/null; do sleep 0.1; done

step 'Files, old and new, with the names that users give them'
cd volume
mkdir -p projects/2021/film 'a b/c'
for i in $(seq -w 1 40); do
	head -c $((RANDOM * 3 + 1)) /dev/urandom >"projects/2021/scan-$i.tif"
done
head -c 40000000 /dev/urandom >projects/2021/film/raw.mov
echo 'spaces' >'a b/c/some file.txt'
echo 'a newline' >$'a b/c/two\nlines'
echo 'no UTF-8' >$'a b/c/latin-\xe9'
echo 'looks like a flag' >./-rf
echo '100%2F+"quotes"' >'100%2F+"quotes".txt'
find . -type f -exec touch -d '2 years ago' {} +
echo 'written today' >projects/today.txt
cd ..
show du -sh --exclude=.glusterfs brick
before=$(sum volume)
echo "SHA-256 of all names and bytes: $before"

step 'What is cold?'
show coldbrick crawl brick --older-than 30d --exclude 'projects/**'

step 'Archive: copy, prove the copy, and only then let Gluster drop the data'
show coldbrick archive brick --mount volume --older-than 30d

step 'Stubs: their data is gone from the brick, and users see all that they saw before'
show du -sh --exclude=.glusterfs brick
show ls -l volume/projects/2021/film/raw.mov volume/projects/today.txt
show getfattr -d -m trusted.glusterfs.cs brick/projects/2021/film/raw.mov
show coldbrick status volume/projects/2021/film/raw.mov volume/projects/today.txt
umount volume && mount_volume
show head -c 1 volume/projects/2021/film/raw.mov && exit 1 # there is no plugin here

step 'Objects: plain bytes under the names of the files, for any S3 client'
if command -v aws >/dev/null; then
	show aws --endpoint-url "$COLDBRICK_ENDPOINT_URL" s3 cp 's3://archive/a b/c/some file.txt' -
else
	echo '(no aws here; the S3 server keeps it as a file)'
	show cat 's3/archive/a b/c/some file.txt'
fi

step 'A second run finds nothing to do'
show coldbrick archive brick --mount volume --older-than 30d

step 'Recall'
show coldbrick recall -r volume
umount volume && mount_volume
after=$(sum volume)
echo more >>'volume/a b/c/some file.txt'
show ls -l 'volume/a b/c/some file.txt'
if left=$(getfattr -R -P -m 'trusted\.glusterfs\.cs|trusted\.coldbrick\.recall$' volume) && [ -n "$left" ]; then
	echo "left on the files: $left" >&2
	exit 1
fi

step 'The same?'
echo "before  $before"
echo "after   $after"
[ "$before" = "$after" ]
