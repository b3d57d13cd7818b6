#!/bin/bash
# Measures the crawl beside its peers on an XFS image of its own, and leaves
# nothing behind. Takes root, 4 GB of space and some minutes. Options are those
# of the program: run.sh -warm 5 -cold 3 -json DIR
# For another tree: TREE='-files 100000 -dirs 2000 -light' run.sh
set -euo pipefail
here=$(dirname "$(realpath "$0")")
for tool in mkfs.xfs find bfs getfattr; do
	command -v "$tool" >/dev/null || { echo "bench crawl: needs $tool (apt install xfsprogs findutils bfs attr)" >&2; exit 1; }
done

work=$(mktemp -d)
cleanup() {
	if mountpoint -q "$work/brick"; then umount "$work/brick"; fi
	rm -rf "$work"
}
trap cleanup EXIT

go build -C "$here" -o "$work/bench" .
CGO_ENABLED=0 go build -C "$here" -trimpath -o "$work/coldbrick" ../../../cmd/coldbrick
truncate -s 30G "$work/image"
mkfs.xfs -q -i size=512 "$work/image"
mkdir "$work/brick"
mount -o loop,noatime,inode64 "$work/image" "$work/brick"
"$work/bench" -make ${TREE:-} "$work/brick/b"
"$work/bench" -coldbrick "$work/coldbrick" "$@" "$work/brick/b"
