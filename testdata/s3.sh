#!/bin/sh
# s3.sh COMMAND [ARG…]: runs COMMAND beside a throw-away S3 server (versitygw over a
# directory, on loopback) whose bucket is in ALBS_TEST_S3, as
# http://ACCESS-KEY:SECRET-KEY@ADDRESS:PORT/BUCKET, and removes the server and what it
# held afterwards. The exit code is COMMAND's. The server's program is compiled once,
# which takes minutes, into .cache. Where it can't be, COMMAND runs without a server
# and says so by its skips.
set -eu

[ $# -gt 0 ] || { echo "usage: $0 COMMAND [ARG...]" >&2; exit 2; }

if [ -n "${ALBS_TEST_S3:-}" ]; then
	exec "$@"
fi

version=v1.8.0
cache=$(cd "$(dirname "$0")/.." && pwd)/.cache/versitygw-$version
if [ ! -x "$cache/versitygw" ]; then
	mkdir -p "$cache"
	# A folder of its own until it is whole: two may compile at once.
	new=$(mktemp -d "$cache/new.XXXXXX")
	if ! GOBIN="$new" CGO_ENABLED=0 go install "github.com/versity/versitygw/cmd/versitygw@$version"; then
		rm -rf "$new"
		echo "s3.sh: versitygw $version can't be had here; the tests run without S3" >&2
		exec "$@"
	fi
	mv "$new/versitygw" "$cache/versitygw"
	rm -rf "$new"
fi

dir=$(mktemp -d /tmp/albs-s3.XXXXXX)
pid=
stop() {
	[ -z "$pid" ] || kill "$pid" 2>/dev/null || true
	[ -z "$pid" ] || wait "$pid" 2>/dev/null || true
	rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

mkdir -p "$dir/buckets/albs" "$dir/meta"
secret=$(od -An -N 20 -tx1 /dev/urandom | tr -d ' \n')
# A port that is taken ends the server at once; another is tried then.
tries=0
until [ -n "$pid" ]; do
	tries=$((tries + 1))
	[ "$tries" -le 20 ] || { cat "$dir/log" >&2; exit 1; }
	port=$(shuf -i 12000-19999 -n 1)
	ROOT_ACCESS_KEY=albs ROOT_SECRET_KEY=$secret "$cache/versitygw" --port "127.0.0.1:$port" --health /health --quiet \
		posix --sidecar "$dir/meta" "$dir/buckets" >"$dir/log" 2>&1 &
	pid=$!
	# Every answer is one: the server is up.
	until curl -s -o /dev/null "http://127.0.0.1:$port/health"; do
		kill -0 "$pid" 2>/dev/null || { pid=; break; }
		sleep 0.1
	done
done

ALBS_TEST_S3="http://albs:$secret@127.0.0.1:$port/albs" "$@"
