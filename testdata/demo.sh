#!/bin/bash
# demo.sh [--keep]: the main job, end to end, on embedded defaults. Three real
# packages go from git commits to a signed, released repository, from which the
# real dnf installs them; then one of them is verified offline. With --keep the
# server stays up afterwards.
#
# PLATFORM picks configs/platforms/NAME.yaml: "seed" (made here out of this Debian
# host's own packages), or "almalinux-9", which needs its mirrors. Without one it is
# seed on Debian and almalinux-9 elsewhere. MIRROR stands in for the almalinux folder of
# AlmaLinux's mirrors ("http://127.0.0.1:8000/almalinux"). ALBS_DEMO is the working
# directory, PORT the server's port.
#
# Root hands everything over to the user albs, for buildroots are never made by
# root. The demo fails if a build would be isolated by less than mount, pid and
# network namespaces.
set -euo pipefail
cd "$(dirname "$0")/.."
keep=${1:-}
export PATH=$PATH:/usr/local/go/bin
default=almalinux-9
command -v apt-get >/dev/null && default=seed
PLATFORM=${PLATFORM:-$default}
PORT=${PORT:-8080}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/albs
began=$SECONDS

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
run() { printf '\033[2m$ %s\033[0m\n' "$*"; "$@"; }

as=()
if [ "$(id -u)" = 0 ]; then
	demo=${ALBS_DEMO:-/var/tmp/albs-demo}
	as=(runuser -u albs -- env -u ALBS_TOKEN "HOME=$(getent passwd albs | cut -d: -f6)" "PATH=$PATH")
else
	demo=${ALBS_DEMO:-${TMPDIR:-/var/tmp}/albs-demo-$(id -un)}
fi

say "building albs"
mkdir -p "$cache/bin"
go build -o "$cache/bin/" . ./testdata/gitserver ./testdata/seed
[ -x "$cache/bin/albs" ] || { echo "demo: go build left no $cache/bin/albs" >&2; exit 1; }

# What an earlier demo left holds files of subordinate ids.
if [ -d "$demo" ]; then
	if [ "$(id -u)" = 0 ]; then rm -rf "$demo"; else unshare --map-root-user --map-auto rm -rf "$demo"; fi
fi
mkdir -p "$demo/bin" "$demo/forge"
cp "$cache/bin/"* "$demo/bin/"

say "fetching the original tarballs of three packages"
testdata/upstream/fetch.sh "$cache/upstream"
cp -r "$cache/upstream" "$demo/upstream"
cp -r testdata/upstream "$demo/specs"
platform=$demo/platform.yaml
allow="\"file://$demo/seed\"" # what roots may be filled from, beyond public mirrors
case $PLATFORM in
seed)
	say "making Seed Linux out of this host's Debian packages (about 40 s the first time)"
	"$cache/bin/seed" -out "$demo/seed" -cache "$cache/seed"
	sed "s#file:///var/lib/albs/seed/repo#file://$demo/seed#" configs/platforms/seed.yaml >"$platform"
	;;
*)
	cp "configs/platforms/$PLATFORM.yaml" "$platform"
	if [ -n "${MIRROR:-}" ]; then
		sed -i "s#https://repo.almalinux.org/almalinux#$MIRROR#" "$platform"
		mirror=${MIRROR#*://}
		allow="\"${mirror%%/*}\""
	fi
	;;
esac
[ "$(id -u)" != 0 ] || chown -R albs: "$demo"

pids=()
finish() {
	code=$?
	for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done
	wait 2>/dev/null || true
	# dnf has gpg check the signatures of metadata, and gpg's agent outlives both.
	for home in "$demo/client/root$demo/client/cache/"*/pubring; do
		[ ! -d "$home" ] || gpgconf --homedir "$home" --kill gpg-agent || true
	done
	[ "$code" = 0 ] || { echo; echo "demo: it failed; the server's log is $demo/serve.log" >&2; tail -n 20 "$demo/serve.log" >&2 2>/dev/null || true; }
	exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

say "starting a forge (git over https, look-aside cache) and albs with all five roles"
"${as[@]}" "$demo/bin/gitserver" -dir "$demo/forge" -upstream "$demo/upstream" -specs "$demo/specs" >"$demo/forge.json" 2>"$demo/forge.log" < <(exec sleep infinity) &
pids+=($!)
for _ in $(seq 600); do [ -s "$demo/forge.json" ] && break; sleep 0.1; done
forge=$(sed -n 's/.*"url":"\([^"]*\)".*/\1/p' "$demo/forge.json")
[ -n "$forge" ] || { cat "$demo/forge.log" >&2; exit 1; }

# The platform's look-aside cache is the demo's own.
{
	sed '/^lookaside:/,/^[^ -]/{/^lookaside:/d;/^ *-/d}' "$platform"
	printf '\nlookaside:\n  - %s/lookaside/{hash}\n' "$forge"
} >"$platform.new" && mv "$platform.new" "$platform"
cat >"$demo/albs.yaml" <<YAML
# Loopback and local folders are refused unless they are named here.
master:
  egress: {allow: ["${forge#https://}", $allow], ca_files: ["$demo/forge/ca.pem"]}
node:
  egress: {allow: [$allow]}
tester:
  egress: {allow: [$allow]}
YAML
cat >"$demo/product.yaml" <<YAML
name: demo
title: Three packages
team: demo
platforms: [$PLATFORM]
key: demo
repositories:
  - {path: $PLATFORM/main/x86_64/os, platform: $PLATFORM, arch: x86_64, kind: rpm}
  - {path: $PLATFORM/main/x86_64/debug, platform: $PLATFORM, arch: x86_64, kind: debug}
  - {path: $PLATFORM/main/source, platform: $PLATFORM, arch: src, kind: source}
gate: {tests: required}
approvals: {count: 1, distinct: true}
YAML
[ "$(id -u)" != 0 ] || chown albs: "$demo"/*.yaml
"${as[@]}" "$demo/bin/albs" serve --role=all --data "$demo/data" --config "$demo/albs.yaml" --listen "127.0.0.1:$PORT" >"$demo/serve.log" 2>&1 &
pids+=($!)
export ALBS_URL=http://127.0.0.1:$PORT
token=
for _ in $(seq 600); do
	token=$(sed -n 's/^ *admin token: *\(albs_[a-z0-9]*\).*/\1/p' "$demo/serve.log")
	[ -n "$token" ] && curl -fs "$ALBS_URL/api/v1/openapi.json" >/dev/null 2>&1 && break
	kill -0 "${pids[1]}" || exit 1
	sleep 0.1
done
[ -n "$token" ] || exit 1
sed -n '1,/admin token/p' "$demo/serve.log" | sed 's/albs_[a-z0-9]*/albs_…/'
albs() { "$demo/bin/albs" "$@"; }

say "two people, one key, a platform and a product"
export ALBS_TOKEN=$token
run albs user add alice
run albs user grant alice contributor --team demo
run albs user grant alice signer --team demo
run albs user grant alice product_maintainer --team demo
run albs user add bob
run albs user grant bob product_maintainer --team demo
alice=$(albs token create --user alice --name demo --json | sed -n 's/.*"secret": *"\([^"]*\)".*/\1/p')
bob=$(albs token create --user bob --name demo --json | sed -n 's/.*"secret": *"\([^"]*\)".*/\1/p')
run albs key generate demo --user-id "albs demo <demo@example.org>" --wait
run albs platform apply "$platform"
run albs product apply "$demo/product.yaml"

say "alice builds: git commit → SRPM → RPMs in an isolated buildroot → notarized → installed as a test"
export ALBS_TOKEN=$alice
t=$SECONDS
run albs build create --platform "$PLATFORM" --arch x86_64 --product demo \
	--git "$forge/rpms/zlib.git#imports/zlib" \
	--git "$forge/rpms/pngcheck.git#main" \
	--git "$forge/rpms/perl-Try-Tiny.git#main" --wait
echo "build and tests took $((SECONDS - t)) s"

say "alice has it signed and plans a release, bob approves exactly that plan, alice publishes it"
run albs sign 1 --key demo --wait
run albs release plan --product demo --build 1 --wait # until the signed copies were installed as tests
ALBS_TOKEN=$bob run albs release approve 1
run albs release publish 1 --wait

say "what came of it"
run albs build show 1
run albs release show 1

say "the real dnf installs from the released repository"
public=$demo/data/releaser/public/demo/current
mkdir -p "$demo/client"
[ "$(id -u)" != 0 ] || chown albs: "$demo/client"
{
	cat <<CONF
[main]
reposdir=/dev/null
gpgcheck=1
assumeyes=1
plugins=0
install_weak_deps=0
cachedir=$demo/client/cache
logdir=$demo/client/log
persistdir=$demo/client/persist
varsdir=/dev/null
module_platform_id=$(sed -n 's/^module_id: *//p' "$platform")
CONF
	sed -n 's/^  - {id: \([a-z0-9-]*\), .*url: \([^,}]*\).*/[\1]\nname=\1\nbaseurl=\2\ngpgcheck=0/p' "$platform" | sed 's/\$arch/x86_64/'
	cat <<CONF
[demo]
name=demo
baseurl=file://$public/$PLATFORM/main/x86_64/os
gpgkey=file://$public/RPM-GPG-KEY-demo
gpgcheck=1
repo_gpgcheck=1
CONF
} | "${as[@]}" tee "$demo/client/dnf.conf" >/dev/null
sed -n '/^\[demo\]/,$p' "$demo/client/dnf.conf"
enter=()
[ "$(id -u)" = 0 ] || enter=(unshare --map-root-user --map-auto --mount)
dbpath=$(sed -n '/^rpmdb:/,/^[^ ]/s/^  path: *//p' "$platform")
mkdir -p "$demo/client/home"
echo "%_dbpath $dbpath" >"$demo/client/home/.rpmmacros"
packages="zlib pngcheck perl-Try-Tiny"
HOME=$demo/client/home "${enter[@]}" dnf -q -c "$demo/client/dnf.conf" --installroot "$demo/client/root" --releasever "$(sed -n 's/^releasever: *//p' "$platform" | tr -d '"')" \
	install system-release $packages
# shellcheck disable=SC2086 # a list of words
run rpm --root "$demo/client/root" --dbpath "$dbpath" -q --qf '%{NEVRA}  signed %{RSAHEADER:pgpsig}\n' $packages

say "its statements, the ledger's proof and that of the public log, and who verified it, lie beside each package"
rpm=$(find -L "$public/$PLATFORM/main/x86_64/os/Packages" -name 'pngcheck-[0-9]*.x86_64.rpm' | head -n 1)
for _ in $(seq 120); do
	[ ! -e "$rpm.vsa.json" ] || break # the last of them
	sleep 0.5
done
run ls "${rpm%/*}"
run albs transparency show

say "anyone checks a package offline: no server, one trust file"
run albs trust export --output "$demo/trust.json"
ALBS_URL=http://127.0.0.1:1 ALBS_TOKEN='' run albs verify "$rpm" --trust "$demo/trust.json"

say "done in $((SECONDS - began)) s"
echo "packages: $packages — built, tested, signed, released, installed with gpgcheck=1 and repo_gpgcheck=1, verified"
echo "the public repository lies in $public"
if [ "$keep" = --keep ]; then
	echo "look around:  $ALBS_URL   (as admin: export ALBS_URL=$ALBS_URL ALBS_TOKEN=$token; albs is $demo/bin/albs)"
	echo "Ctrl-C ends it."
	wait "${pids[1]}"
else
	echo "look around:  make run   keeps the server up at $ALBS_URL; its data is $demo/data"
fi
