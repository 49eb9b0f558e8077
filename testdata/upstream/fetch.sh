#!/bin/sh
# fetch.sh OUT [--pin]: download the original tarballs of the packages that the demo
# and the end-to-end tests build, out of Debian's source packages, into OUT.
#
# The sources come from the host's own apt sources, read into private lists, so that
# nothing on the host changes. Each file must have the digest in sources.sha256 beside
# this script; --pin writes that file anew from what the mirror serves.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:?usage: fetch.sh OUT [--pin]}
pin=${2:-}
packages="zlib pngcheck libtry-tiny-perl"

mkdir -p "$out"
out=$(cd "$out" && pwd)
if [ "$pin" != --pin ] && (cd "$out" && sha256sum --status -c "$here/sources.sha256" 2>/dev/null); then
    echo "upstream tarballs: present and checked in $out"
    exit 0
fi
command -v apt-get >/dev/null || {
    echo "fetch.sh: the tarballs come from Debian's source packages and this host has no apt-get; put the files of $here/sources.sha256 into $out" >&2
    exit 1
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/partial" "$work/parts"
for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ -f "$f" ] && sed -n 's/^deb[[:space:]]/deb-src /p' "$f" >>"$work/sources.list"
done
for f in /etc/apt/sources.list.d/*.sources; do
    [ -f "$f" ] && sed 's/^Types:.*/Types: deb-src/' "$f" >"$work/parts/$(basename "$f")"
done
touch "$work/sources.list"
apt() {
    apt-get -q -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts="$work/parts" \
        -o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" -o APT::Sandbox::User= \
        -o Debug::NoLocking=1 "$@"
}
echo "upstream tarballs: reading the source lists of this host's mirror"
apt update >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
for p in $packages; do
    (cd "$work" && apt source --download-only --only-source "$p" >>"$work/log" 2>&1) || { tail -5 "$work/log" >&2; exit 1; }
done
find "$work" -maxdepth 1 -name '*.orig.tar.*' ! -name '*.asc' -exec mv {} "$out/" \;

if [ "$pin" = --pin ]; then
    (cd "$out" && sha256sum -- *.orig.tar.*) >"$here/sources.sha256"
    echo "pinned in $here/sources.sha256:"
    cat "$here/sources.sha256"
    exit 0
fi
if ! (cd "$out" && sha256sum -c --quiet "$here/sources.sha256"); then
    echo "fetch.sh: the mirror serves other tarballs than the pinned ones; look at the change, then pin them anew with: $here/fetch.sh $out --pin" >&2
    exit 1
fi
echo "upstream tarballs: fetched and checked in $out"
