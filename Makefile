# make demo [PLATFORM=almalinux-9]  a commit becomes a released package, before your eyes
# make run  [PLATFORM=almalinux-9]  the same, and the server stays up
# make test                         all checks and the fast tests
# make test-long                    those that repeat or wait, too
# make bench [ONLY=publish]         measures against the peers, into bench.json
# make release [VERSION=1.0]        static programs for four arches, with SBOMs and checksums, into dist/
#
# Each installs the host's packages that it lacks, says so, and works on Debian 12
# and on EL or Fedora with nothing but Go, git and make.

.PHONY: help demo run test test-long bench release setup

help:
	@sed -n '/^# /s/^# //p; /^$$/q' Makefile

demo: setup
	PLATFORM='$(PLATFORM)' testdata/demo.sh

run: setup
	PLATFORM='$(PLATFORM)' testdata/demo.sh --keep

test: setup
	.ci/test -short

test-long:
	@testdata/setup.sh --long
	.ci/test

bench: setup
	testdata/postgres.sh go run ./testdata/bench -only '$(ONLY)'

release:
	testdata/release/release.sh dist '$(VERSION)'

setup:
	@testdata/setup.sh
