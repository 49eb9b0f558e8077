#!/bin/sh
# setup.sh [--long]: installs what building, testing and the demo need of the host and
# isn't there yet: Debian 12 by apt, EL and Fedora by dnf; with --long also the browser
# of the long tests, from Debian. Run by root it also makes the user albs with a range
# of subordinate ids, for buildroots. It changes nothing else and says all that it does.
set -eu

say() { echo "setup: $*" >&2; }

as=
[ "$(id -u)" = 0 ] || as=sudo
browser=
[ "${1:-}" != --long ] || browser=chromium

# install TOOL NAME…: installs the packages by the tool, as root.
install() {
	tool=$1
	shift
	say "installing $*"
	if [ -n "$as" ] && ! command -v sudo >/dev/null 2>&1; then
		say "there is no sudo here: as root, run: $tool install $*"
		exit 1
	fi
	case $tool in
	apt-get)
		# PostgreSQL's programs are wanted, not a server that runs.
		$as mkdir -p /etc/postgresql-common/createcluster.d
		echo 'create_main_cluster = false' | $as tee /etc/postgresql-common/createcluster.d/albs.conf >/dev/null
		$as apt-get update -q
		$as env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
		;;
	dnf) $as dnf install -q -y "$@" ;;
	esac
}

missing=
if command -v apt-get >/dev/null 2>&1; then
	for p in rpm rpm2cpio createrepo-c dnf debugedit dwz elfutils file bubblewrap uidmap dpkg-dev gcc libc6-dev \
		postgresql gnupg git ca-certificates curl $browser; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing="$missing $p"
	done
	# shellcheck disable=SC2086 # a list of words
	[ -z "$missing" ] || install apt-get $missing
elif command -v dnf >/dev/null 2>&1; then
	for p in rpm-build rpm-sign createrepo_c debugedit dwz elfutils file bubblewrap shadow-utils gcc glibc-devel \
		postgresql-server gnupg2 git-core util-linux curl; do
		rpm -q --quiet --whatprovides "$p" || missing="$missing $p"
	done
	# shellcheck disable=SC2086
	[ -z "$missing" ] || install dnf $missing
else
	say "neither apt-get nor dnf is here; install rpm-build, createrepo_c, dnf, bubblewrap, newuidmap, gcc and PostgreSQL's server yourself"
fi

[ -z "$as" ] || exit 0

if ! id albs >/dev/null 2>&1; then
	say "making the user albs"
	useradd --create-home --shell /usr/sbin/nologin albs
fi
for what in uid gid; do
	file=/etc/sub$what
	if ! grep -qs '^albs:' "$file"; then
		first=$(awk -F: 'BEGIN { n = 100000 } $2 + $3 > n { n = $2 + $3 } END { print n }' "$file" 2>/dev/null || echo 100000)
		say "giving albs the 65536 sub${what}s from $first"
		usermod "--add-sub${what}s" "$first-$((first + 65535))" albs
	fi
done
