#!/bin/sh
# immudb.sh COMMAND [ARG…]: runs COMMAND with the program of an immudb server, which
# tests start and kill, in ALBS_TEST_IMMUDB. The exit code is COMMAND's. The program is
# compiled once, which takes a minute, into .cache. Where it can't be, COMMAND runs
# without it and says so by its skips.
set -eu

[ $# -gt 0 ] || { echo "usage: $0 COMMAND [ARG...]" >&2; exit 2; }

if [ -n "${ALBS_TEST_IMMUDB:-}" ]; then
	exec "$@"
fi

here=$(cd "$(dirname "$0")" && pwd)
cache=$(dirname "$here")/.cache/immudb-$(cat "$here"/immudb/go.* "$here"/immudb/*.go | sha256sum | cut -c -16)
if [ ! -x "$cache/immudb" ]; then
	mkdir -p "$cache"
	# A folder of its own until it is whole: two may compile at once.
	new=$(mktemp -d "$cache/new.XXXXXX")
	if ! (cd "$here/immudb" && CGO_ENABLED=0 go build -o "$new/immudb" .); then
		rm -rf "$new"
		echo "immudb.sh: the immudb server can't be had here; the tests run without one" >&2
		exec "$@"
	fi
	mv "$new/immudb" "$cache/immudb"
	rm -rf "$new"
fi

ALBS_TEST_IMMUDB=$cache/immudb exec "$@"
