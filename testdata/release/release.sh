#!/bin/sh
# release.sh DIR [VERSION]: builds the static program for every arch that it is released
# for into DIR, made anew, with a bill of materials of each and SHA256SUMS beside. VERSION is what the programs say of
# themselves; it is git's description of the commit if none is given. Equal sources and
# an equal Go give equal bytes.
set -eu
dir=$1
version=${2:-}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
cd "$(dirname "$0")/../.."
[ -n "$version" ] || version=$(git describe --tags --always --dirty)
case $version in
*[!A-Za-z0-9._+~-]*)
	echo "release: $version is no version: letters, digits and . _ + ~ - make one" >&2
	exit 2
	;;
esac

rm -f "$dir"/albs-linux-* "$dir/SHA256SUMS"
for arch in amd64 arm64 ppc64le s390x; do
	echo "release: albs $version for linux/$arch" >&2
	# Nothing of the machine may get in: neither its paths, nor its C, nor its settings.
	env -u GOAMD64 -u GOARM64 -u GOPPC64 -u GOEXPERIMENT GOFLAGS= GOWORK=off CGO_ENABLED=0 GOOS=linux GOARCH=$arch \
		go build -trimpath -buildvcs=false -ldflags "-s -w -X albs/internal/cli.release=$version" -o "$dir/albs-linux-$arch" .
done

tool=$(mktemp -d)
trap 'rm -r "$tool"' EXIT
GOFLAGS= GOWORK=off go build -trimpath -buildvcs=false -ldflags "-X albs/internal/cli.release=$version" -o "$tool/albs" .
date=$(git log -1 --format=%cI)
for arch in amd64 arm64 ppc64le s390x; do
	for format in cyclonedx-json:cdx.json spdx-json:spdx.json; do
		"$tool/albs" sbom program "$dir/albs-linux-$arch" --version "$version" --date "$date" --supplier albs \
			--format "${format%:*}" --output "$dir/albs-linux-$arch.${format#*:}"
	done
done
cd "$dir"
sha256sum albs-linux-* >SHA256SUMS.new
mv SHA256SUMS.new SHA256SUMS
echo "release: ready in $dir" >&2
