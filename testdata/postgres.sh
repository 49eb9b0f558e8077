#!/bin/sh
# postgres.sh COMMAND [ARG…]: runs COMMAND beside a throw-away PostgreSQL cluster
# whose DSN is in ALBS_TEST_POSTGRES, and removes the cluster afterwards. The exit
# code is COMMAND's. The cluster listens on a Unix socket in its own directory
# only, where other users get by the password in the DSN: the tests' masters run as some.
# Run by root it belongs to the user postgres, for the server refuses root.
# Where no server is installed, COMMAND runs without one and says so by its skips.
set -eu

[ $# -gt 0 ] || { echo "usage: $0 COMMAND [ARG...]" >&2; exit 2; }

if [ -n "${ALBS_TEST_POSTGRES:-}" ]; then
	exec "$@"
fi

bin=
for d in $(pg_config --bindir 2>/dev/null || true) /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/bin; do
	if [ -x "$d/initdb" ] && [ -x "$d/pg_ctl" ]; then bin=$d; fi
done
if [ -z "$bin" ]; then
	echo "postgres.sh: no PostgreSQL server here (Debian: postgresql, EL and Fedora: postgresql-server); the tests run on SQLite only" >&2
	exec "$@"
fi

as=
if [ "$(id -u)" = 0 ]; then
	if ! id postgres >/dev/null 2>&1; then
		echo "postgres.sh: root needs the user postgres to run the server as; the tests run on SQLite only" >&2
		exec "$@"
	fi
	as="runuser -u postgres --"
fi

# Not under TMPDIR: a socket's path is at most 107 bytes.
dir=$(mktemp -d /tmp/albs-postgres.XXXXXX)
if [ -n "$as" ]; then chown postgres "$dir"; fi
cd / # the server's user may not enter where we are

stop() {
	$as "$bin/pg_ctl" -D "$dir/data" -m immediate -w stop >/dev/null 2>&1 || true
	rm -rf "$dir"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

secret=$(od -An -N 20 -tx1 /dev/urandom | tr -d ' \n')
printf '%s\n' "$secret" | $as sh -c 'umask 077; cat >"$1"' sh "$dir/password"
$as chmod 711 "$dir"
# md5, for tests connect thousands of times.
$as "$bin/initdb" -D "$dir/data" -U albs -A md5 --pwfile="$dir/password" -E UTF8 --locale=C.UTF-8 --no-sync >"$dir/initdb.log" 2>&1 ||
	{ cat "$dir/initdb.log" >&2; exit 1; }
# Nothing here outlives a crash, so nothing is synced.
$as "$bin/pg_ctl" -D "$dir/data" -w -t 60 -l "$dir/data/server.log" -o "-k $dir -c listen_addresses= \
	-c max_connections=400 -c fsync=off -c synchronous_commit=off -c full_page_writes=off" start >/dev/null ||
	{ cat "$dir/data/server.log" >&2; exit 1; }

cd "$OLDPWD"
ALBS_TEST_POSTGRES="host=$dir user=albs password=$secret dbname=postgres sslmode=disable" "$@"
