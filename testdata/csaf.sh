#!/bin/sh
# csaf.sh COMMAND [ARG…]: runs COMMAND with programs of others that hold CSAF documents to
# the standard: gocsaf's in ALBS_TEST_CSAF, and, unless an ARG is -short, the folder of
# BSI's library for node in ALBS_TEST_CSAF_LIB. The exit code is COMMAND's. Both are made
# once, which takes a minute, in .cache. What can't be had COMMAND runs without, and says
# so by its skips.
set -eu

[ $# -gt 0 ] || { echo "usage: $0 COMMAND [ARG...]" >&2; exit 2; }

here=$(cd "$(dirname "$0")" && pwd)
cache=$(dirname "$here")/.cache/csaf-$(cat "$here"/csaf/* | sha256sum | cut -c -16)

# made NAME COMMAND [ARG…]: runs COMMAND in a folder of its own, with a copy of csaf in it,
# and keeps what it leaves there as NAME once it is whole: two may be at it at once.
made() {
	name=$1
	shift
	[ ! -d "$cache/$name" ] || return 0
	mkdir -p "$cache"
	new=$(mktemp -d "$cache/new.XXXXXX")
	cp "$here"/csaf/* "$new"
	if (cd "$new" && "$@" >&2) && mv -T "$new" "$cache/$name" 2>/dev/null; then
		return 0
	fi
	rm -rf "$new"
	[ -d "$cache/$name" ]
}

if [ -z "${ALBS_TEST_CSAF:-}" ]; then
	if made go env CGO_ENABLED=0 go build -o csaf .; then
		export ALBS_TEST_CSAF="$cache/go/csaf"
	else
		echo "csaf.sh: gocsaf can't be had here; the tests run without it" >&2
	fi
fi
case " $* " in
*" -short "*) ;;
*)
	if [ -n "${ALBS_TEST_CSAF_LIB:-}" ]; then
		:
	elif command -v npm >/dev/null 2>&1 && made lib npm ci --silent --no-audit --no-fund; then
		export ALBS_TEST_CSAF_LIB="$cache/lib"
	else
		echo "csaf.sh: BSI's library can't be had here; the tests run without it" >&2
	fi
	;;
esac

exec "$@"
