package admit

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

func TestPackages(t *testing.T) {
	t.Parallel()
	const srpm = "foo-1-2.el9.src.rpm"
	foo := proposed("foo", "x86_64", srpm)
	other := foo
	other.Digest = albs.DigestOf([]byte("another build of foo"))
	epoch := other
	epoch.Epoch = 1
	for _, c := range []struct {
		name string
		ps   []Proposed
		held []Proposed
		err  string
	}{
		{"arch and noarch", []Proposed{foo, proposed("foo-doc", "noarch", srpm)}, nil, ""},
		{"beside an earlier package", []Proposed{foo}, []Proposed{proposed("bar", "x86_64", "bar-1-2.el9.src.rpm")}, ""},
		{"beside itself of another arch", []Proposed{foo}, []Proposed{proposed("foo", "noarch", srpm)}, ""},
		{"nothing", nil, nil, "left no package"},
		{"of another source", []Proposed{foo, proposed("bash", "x86_64", "bash-5-1.src.rpm")}, nil, "comes from"},
		{"of no source", []Proposed{proposed("foo", "x86_64", "")}, nil, "comes from"},
		{"of another arch", []Proposed{proposed("foo", "aarch64", srpm)}, nil, "has arch aarch64"},
		{"a source package", []Proposed{proposed("foo", "src", srpm)}, nil, "has arch src"},
		{"twice", []Proposed{foo, other}, nil, "there twice"},
		{"twice with the same bytes", []Proposed{foo, foo}, nil, "there twice"},
		{"twice, of two epochs", []Proposed{foo, epoch}, nil, "there twice"},
		{"collides with the build's own", []Proposed{foo}, []Proposed{other}, "there twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			wantInvalid(t, Packages(c.ps, srpm, albs.X8664, held(c.held...)), c.err)
		})
	}
}

// held is what a repository with these packages has.
func held(ps ...Proposed) map[string]albs.Digest {
	m := map[string]albs.Digest{}
	for _, p := range ps {
		m[p.Filename()] = p.Digest
	}
	return m
}

func TestSRPM(t *testing.T) {
	t.Parallel()
	foo := proposed("foo", "src", "")
	for _, c := range []struct {
		name string
		p    Proposed
		spec string
		held []Proposed
		err  string
	}{
		{"as its spec file", foo, "foo", nil, ""},
		{"given", foo, "", nil, ""},
		{"beside another", foo, "foo", []Proposed{proposed("bar", "src", "")}, ""},
		{"not as its spec file", foo, "bar", nil, "spec file's name"},
		{"without its sources", proposed("foo", "nosrc", ""), "foo", nil, "not a source package"},
		{"of an arch", proposed("foo", "x86_64", ""), "foo", nil, "not a source package"},
		{"a second time", foo, "foo", []Proposed{foo}, "there twice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			wantInvalid(t, SRPM(c.p, c.spec, held(c.held...)), c.err)
		})
	}
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
