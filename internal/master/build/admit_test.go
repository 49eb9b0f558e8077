package build

import (
	"errors"
	"strings"
	"testing"

	"albs/internal/albs"
	"albs/internal/rpm"
)

func proposed(name, arch, source string) Proposed {
	return Proposed{rpm.NEVRA{Name: name, Version: "1", Release: "2.el9", Arch: arch}, source, albs.DigestOf([]byte(name + arch))}
}

func TestCheckPackages(t *testing.T) {
	t.Parallel()
	const srpm = "foo-1-2.el9.src.rpm"
	foo := proposed("foo", "x86_64", srpm)
	other := foo
	other.Digest = albs.DigestOf([]byte("another build of foo"))
	for _, c := range []struct {
		name string
		ps   []Proposed
		held []Proposed
		err  string
	}{
		{"arch and noarch", []Proposed{foo, proposed("foo-doc", "noarch", srpm)}, nil, ""},
		{"beside an earlier package", []Proposed{foo}, []Proposed{proposed("bar", "x86_64", "bar-1-2.el9.src.rpm")}, ""},
		{"nothing", nil, nil, "left no package"},
		{"of another source", []Proposed{foo, proposed("bash", "x86_64", "bash-5-1.src.rpm")}, nil, "comes from"},
		{"of no source", []Proposed{proposed("foo", "x86_64", "")}, nil, "comes from"},
		{"of another arch", []Proposed{proposed("foo", "aarch64", srpm)}, nil, "has arch aarch64"},
		{"a source package", []Proposed{proposed("foo", "src", srpm)}, nil, "has arch src"},
		{"twice", []Proposed{foo, other}, nil, "there twice"},
		{"collides with the build's own", []Proposed{foo}, []Proposed{other}, "there twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			wantInvalid(t, CheckPackages(c.ps, srpm, albs.X8664, c.held), c.err)
		})
	}
}

func TestCheckSRPM(t *testing.T) {
	t.Parallel()
	wantInvalid(t, CheckSRPM(proposed("foo", "src", ""), "foo"), "")
	wantInvalid(t, CheckSRPM(proposed("foo", "src", ""), ""), "")
	wantInvalid(t, CheckSRPM(proposed("foo", "src", ""), "bar"), "spec file's name")
	wantInvalid(t, CheckSRPM(proposed("foo", "nosrc", ""), "foo"), "not a source package")
	wantInvalid(t, CheckSRPM(proposed("foo", "x86_64", ""), "foo"), "not a source package")
}

func wantInvalid(t *testing.T, err error, text string) {
	t.Helper()
	if text == "" {
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	if !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), text) {
		t.Fatalf("error %v, want Invalid with %q", err, text)
	}
}
