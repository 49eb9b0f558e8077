#!/bin/sh
# setup.sh [--long]: installs what building, testing and the demo need of the host and
# isn't there yet: Debian 12 by apt, EL and Fedora by dnf; with --long also what only the
# long tests use: the browser and podman, from Debian, and there, where ALBS_MOCK_SRC names a checkout
# of mock, what that needs, qemu for programs of other arches, which
# it registers with the kernel, and qemu with a kernel for machines that tests run in. Run by root it also makes the user albs with a range
# of subordinate ids, for buildroots. It changes nothing else and says all that it does.
set -eu

say() { echo "setup: $*" >&2; }

as=
[ "$(id -u)" = 0 ] || as=sudo
long=
[ "${1:-}" != --long ] || long=1
mock=
[ -z "$long" ] || [ -z "${ALBS_MOCK_SRC:-}" ] ||
	mock='dnf-plugins-core python3-rpm python3-jinja2 python3-distro python3-pyroute2 python3-requests python3-backoff'

machines=
if [ -n "$long" ] && command -v dpkg >/dev/null 2>&1; then
	case $(dpkg --print-architecture) in
	amd64) machines='qemu-system-x86 linux-image-cloud-amd64' ;;
	arm64) machines='qemu-system-arm linux-image-cloud-arm64' ;;
	esac
fi

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
		# Programs of PostgreSQL and ssh are wanted, not servers that run.
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
	for p in rpm rpm2cpio createrepo-c dnf libsolv-tools zstd debugedit dwz elfutils file bubblewrap uidmap dpkg-dev gcc libc6-dev \
		postgresql gnupg git ca-certificates curl libxml2-utils openscap-scanner xorriso softhsm2 rsync openssh-client openssh-server python3-aiosmtpd bats ${long:+chromium qemu-user-static binfmt-support podman crun catatonit} $mock; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing="$missing $p"
	done
	# shellcheck disable=SC2086 # a list of words
	[ -z "$missing" ] || install apt-get $missing
elif command -v dnf >/dev/null 2>&1; then
	for p in rpm-build rpm-sign createrepo_c zstd debugedit dwz elfutils file bubblewrap shadow-utils gcc glibc-devel \
		postgresql-server gnupg2 git-core util-linux curl libxml2 openscap-scanner xorriso softhsm rsync openssh-clients openssh-server; do
		rpm -q --quiet --whatprovides "$p" || missing="$missing $p"
	done
	# shellcheck disable=SC2086
	[ -z "$missing" ] || install dnf $missing
	if ! rpm -q --quiet libsolv-tools; then
		# EL has it in CRB, which a host need not have enabled.
		say "installing libsolv-tools, if it can be had"
		$as dnf install -q -y libsolv-tools || say "it can't: tests that ask libsolv will be skipped"
	fi
else
	say "neither apt-get nor dnf is here; install rpm-build, createrepo_c, dnf, bubblewrap, newuidmap, gcc and PostgreSQL's server yourself"
fi

# emulate has the kernel run programs of other arches by qemu, also in roots.
emulate() {
	if ! command -v apt-get >/dev/null 2>&1 && ! rpm -q --quiet qemu-user-static; then
		# EL has none, unless a repository is added.
		say "installing qemu-user-static, if there is one"
		$as dnf install -q -y qemu-user-static || say "there is none: tests of other arches will be skipped"
	fi
	if [ ! -e /proc/sys/fs/binfmt_misc/register ]; then
		say "mounting binfmt_misc"
		$as mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc || return 0
	fi
	for a in aarch64 ppc64le s390x; do
		[ ! -e "/proc/sys/fs/binfmt_misc/qemu-$a" ] || continue
		say "registering qemu-$a"
		if command -v update-binfmts >/dev/null 2>&1; then
			$as update-binfmts --import "qemu-$a" || say "qemu-$a can't be registered"
		elif [ -x /usr/lib/systemd/systemd-binfmt ]; then
			$as /usr/lib/systemd/systemd-binfmt || say "qemu-$a can't be registered"
		fi
	done
}
[ -z "$long" ] || emulate

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
