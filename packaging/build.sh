#!/bin/bash
# build.sh DIR [GLUSTERFS=LIBRARY...]: builds the packages into DIR, for the
# architecture and the glusterfs of this host. VERSION names them; by default, git
# does. The same commit gives the same packages, byte for byte.
#
# The plugin's deb carries each LIBRARY too, which `make plugin` has built for the
# GLUSTERFS of another host: 11.1=trixie/cloudsyncs3.so.
set -euo pipefail
umask 022
libraries=()
for build in "${@:2}"; do
	grep -qF "was built for glusterfs ${build%%=*}:" "${build#*=}" || {
		echo "build.sh: ${build#*=} was not built for glusterfs ${build%%=*}" >&2
		exit 1
	}
	libraries+=("${build%%=*}=$(realpath "${build#*=}")")
done
dist=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "$0")/.."

described() { # what git knows of this commit, as a semantic version
	git describe --tags --match 'v[0-9]*' 2>/dev/null ||
		echo "0.0.0-dev.$(git rev-list --count HEAD)+$(git rev-parse --short=12 HEAD)"
}
VERSION=${VERSION:-$(described)}
VERSION=${VERSION#v}
ARCH=$(go env GOARCH)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) # of all files in the packages
STAGE=$dist/stage
export VERSION ARCH SOURCE_DATE_EPOCH STAGE
rm -rf "$STAGE"
mkdir -p "$STAGE/man" "$STAGE/doc"

CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o "$STAGE/coldbrick" ./cmd/coldbrick

# The sample of all settings; the one that is made is that nobody gets stubs whom
# no plugin helps to read them.
sed 's/^#require-plugin = false$/require-plugin = true/' docs/coldbrick.toml >"$STAGE/coldbrick.toml"
grep -qx 'require-plugin = true' "$STAGE/coldbrick.toml"

# All services run in one sandbox.
mkdir "$STAGE/units"
for unit in packaging/*.service; do
	{ cat "$unit"; echo; cat packaging/sandbox.conf; } >"$STAGE/units/$(basename "$unit")"
done
cp packaging/*.timer "$STAGE/units"

cp docs/man/*.[15] "$STAGE/man"
gzip -9n "$STAGE"/man/*
for shell in bash zsh fish; do
	"$STAGE/coldbrick" completion $shell >"$STAGE/completion.$shell"
done

cp -R docs/*.md docs/*.svg docs/coldbrick.toml docs/schema docs/decisions README.md CONTRIBUTING.md SECURITY.md LICENSE "$STAGE/doc"
# There is no docs/ above the pages, and no source beside them.
sed -i 's#](docs/#](#g; s#](CHANGELOG.md#](changelog.gz#g' "$STAGE"/doc/{README,CONTRIBUTING,SECURITY}.md
source=https://github.com/coldbrick/coldbrick/blob/v$VERSION
sed -i -E "s#\]\(\.\./([a-z])#]($source/\1#g" "$STAGE"/doc/*.md
sed -i -E "s#\]\(\.\./\.\./([a-z])#]($source/\1#g" "$STAGE"/doc/decisions/*.md
gzip -9nc CHANGELOG.md >"$STAGE/doc/changelog.gz"
{
	echo 'coldbrick is licensed under the Apache License 2.0, on Debian in'
	echo '/usr/share/common-licenses/Apache-2.0. Its programs contain these modules:'
	go list -deps -tags cloudsyncs3 -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' \
		./cmd/coldbrick | sort -u | while read -r module version dir; do
		printf '\n==== %s %s\n\n' "$module" "$version"
		find "$dir" -maxdepth 1 \( -iname 'LICENSE*' -o -iname 'COPYING*' -o -iname 'NOTICE*' \) -print0 | sort -z | xargs -0 cat
	done
} >"$STAGE/doc/copyright"
chmod -R u=rwX,go=rX "$STAGE/doc"

nfpm=$(internal/testkit/tool.sh nfpm)
package() { # CONFIG PACKAGER
	"$nfpm" package --config "$1" --packager "$2" --target "$dist" >"$STAGE/nfpm.log" 2>&1 || { # which tells errors on either
		cat "$STAGE/nfpm.log" >&2
		return 1
	}
}
package packaging/nfpm.yaml deb
package packaging/nfpm.yaml rpm

cmd/cloudsyncs3/build.sh "$STAGE/cloudsyncs3.so"
own=$(pkg-config --modversion glusterfs-api)
own=${own#7.} # the version of the API comes first
suffix=gluster DEPENDS='' last=''
next() { echo "${1%%.*}.$((${1#*.} + 1))"; } # the version after this one

# Each in the directory where the glusterfs of that version looks. The package
# cannot be installed beside a version that it has no library for.
while IFS== read -r version library; do
	install -D -m 644 "$library" "$STAGE/deb/$version/cloudsync-plugins/cloudsyncs3.so"
	if [ -z "$last" ]; then
		DEPENDS="glusterfs-common (>= $version)"
	else
		DEPENDS+=", glusterfs-common (<< $(next "$last")~) | glusterfs-common (>= $version)"
	fi
	suffix+=${last:+.}$version last=$version
done < <(printf '%s\n' "$own=$STAGE/cloudsyncs3.so" "${libraries[@]}" | sort -V)
DEPENDS+=", glusterfs-common (<< $(next "$last")~)"

release=$VERSION
plugin() { # SUFFIX PACKAGER TREE
	case $release in # build metadata begins with one plus sign
	*+*) VERSION=$release.$1 ;;
	*) VERSION=$release+$1 ;;
	esac
	PLUGIN_TREE=$STAGE/$2
	PLUGIN_DIR=$3
	package packaging/nfpm-plugin.yaml "$2"
}
GLUSTER=$own GLUSTER_NEXT=$(next "$own")
export DEPENDS GLUSTER GLUSTER_NEXT PLUGIN_TREE PLUGIN_DIR
plugin "$suffix" deb "$(dirname "$(dirname "$(glusterfs --print-xlatordir)")")"
install -D -m 644 "$STAGE/cloudsyncs3.so" "$STAGE/rpm/$own/cloudsync-plugins/cloudsyncs3.so"
plugin "gluster$own" rpm /usr/lib64/glusterfs # where rpm distributions have it

rm -rf "$STAGE"
ls "$dist"/*.deb "$dist"/*.rpm
