package product

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/event"
	"albs/internal/master/platform"
)

var _ Platforms = (*platform.Platforms)(nil)

const good = `
name: demo
title: A demonstration
team: core
platforms: [el, seed]
repositories:
  - {path: el/os/x86_64, platform: el, arch: x86_64, kind: rpm}
  - {path: el/os/aarch64, platform: el, arch: aarch64, kind: rpm}
  - {path: el/debug/x86_64, platform: el, arch: x86_64, kind: debug}
  - {path: el/source, platform: el, arch: src, kind: source}
  - {path: seed/x86_64, platform: seed, arch: x86_64, kind: rpm}
key: 0123456789ABCDEF0123456789ABCDEF01234567
gate: {tests: advisory}
approvals: {count: 2, distinct: false}
`

func parse(t *testing.T, s string) Spec {
	t.Helper()
	p, err := Parse(strings.NewReader(s))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestParse(t *testing.T) {
	t.Parallel()
	s := parse(t, good)
	if s.Gate.Tests != Advisory || s.Approvals != (Approvals{Count: 2}) {
		t.Errorf("policies are %v and %v", s.Gate, s.Approvals)
	}
	short, _, _ := strings.Cut(good, "key:")
	s = parse(t, short)
	if s.Gate.Tests != Required || s.Approvals != (Approvals{Count: 1, Distinct: true}) || s.Key != "" {
		t.Errorf("left out, the policies are %v and %v, the key %q; want strict ones and none", s.Gate, s.Approvals, s.Key)
	}
	s = parse(t, short+"approvals: {count: 3}\nkey: Example 9 <packager@example.org>\n")
	if s.Approvals != (Approvals{Count: 3, Distinct: true}) {
		t.Errorf("with count alone approvals are %v, want distinct ones", s.Approvals)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	// Each case changes one line of good.
	tests := []struct{ name, old, new, want string }{
		{"unknown key", "team: core", "team: core\ncolour: red", "line 5: there is no key colour"},
		{"unknown key of a repository", "path: seed/x86_64,", "path: seed/x86_64, url: x,", "there is no key url"},
		{"name", "name: demo", "name: Demo/1", "a product's name"},
		{"title of two lines", "title: A demonstration", `title: "a\nb"`, "title is one line"},
		{"no team", "team: core", "team: ''", "is not a team's name"},
		{"no platform", "platforms: [el, seed]", "platforms: []", "platforms has between 1"},
		{"platform twice", "platforms: [el, seed]", "platforms: [el, seed, el]", "names el twice"},
		{"platform without repository", "platforms: [el, seed]", "platforms: [el, seed, other]", "no repository of kind rpm for platform other"},
		{"platform not listed", "platforms: [el, seed]", "platforms: [el]", "is not among platforms"},
		{"platform's name", "platforms: [el, seed]", `platforms: [el, seed, "../x"]`, "is not a platform's name"},
		{"path absolute", "path: el/source", "path: /el/source", "is not a part of a path"},
		{"path upwards", "path: el/source", "path: el/../source", "is not a part of a path"},
		{"path with a blank", "path: el/source", `path: "el/so urce"`, "is not a part of a path"},
		{"path hidden", "path: el/source", "path: el/.source", "is not a part of a path"},
		{"path empty", "path: el/source", "path: ''", "is not a part of a path"},
		{"path with a slash at its end", "path: el/source", "path: el/source/", "is not a part of a path"},
		{"path too long", "path: el/source", "path: " + strings.Repeat("a/", 100) + "b", "more than 200 bytes"},
		{"path of the layout", "path: el/source", "path: el/repodata", "belongs to the layout"},
		{"path twice", "path: el/source", "path: el/os/x86_64", "lie within each other"},
		{"path within another", "path: el/source", "path: el/os/x86_64/source", "lie within each other"},
		{"path around others", "path: el/source", "path: el", "lie within each other"},
		{"kind", "kind: debug", "kind: debuginfo", "is not one of"},
		{"arch", "arch: aarch64", "arch: mips", "is not one of"},
		{"source for an arch", "arch: src", "arch: x86_64", "go together"},
		{"binary for src", "arch: aarch64", "arch: src", "go together"},
		{"two targets", "kind: debug", "kind: rpm", "must know where it goes"},
		{"two targets, one without a place", "path: el/debug/x86_64, platform: el, arch: x86_64, kind: debug", "path: x, platform: el, arch: x86_64, kind: rpm, place: CRB", "a place of its own"},
		{"a place with a slash", "kind: debug", "kind: debug, place: a/b", "repository el/debug/x86_64: place"},
		{"key in lower case", "key: 0123456789ABCDEF0123456789ABCDEF01234567", `key: "a\nb"`, "neither a fingerprint"},
		{"key as an option", "key: 0123456789ABCDEF0123456789ABCDEF01234567", `key: "--output"`, "neither a fingerprint"},
		{"metadata", "team: core", "team: core\nmetadata: xz", "metadata is compressed by gzip or zstd"},
		{"gate", "tests: advisory", "tests: none", "neither required nor advisory nor off"},
		{"gate of a stage", "tests: advisory", "tests: advisory, stages: {install: maybe}", "gate.stages.install"},
		{"gate of no stage", "tests: advisory", "tests: advisory, stages: {prayer: required}", "no stage of tests"},
		{"gate of what can't fail", "tests: advisory", "tests: advisory, stages: {system: off}", "no stage of tests that can fail"},
		{"closure", "gate: {tests: advisory}", "gate: {tests: advisory}\nclosure: always", "neither required nor advisory nor off"},
		{"sources", "gate: {tests: advisory}", "gate: {tests: advisory}\nsources: trusted", "neither verified nor any"},
		{"nobody approves", "count: 2", "count: 0", "approvals.count"},
		{"everybody approves", "count: 2", "count: 100", "approvals.count"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if strings.Count(good, tt.old) != 1 {
				t.Fatalf("%q is not in the good product once", tt.old)
			}
			_, err := Parse(strings.NewReader(strings.Replace(good, tt.old, tt.new, 1)))
			if albs.KindOf(err) != albs.Invalid || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Parse = %v, want an Invalid error with %q", err, tt.want)
			}
		})
	}
}

func TestTargets(t *testing.T) {
	t.Parallel()
	two := strings.NewReplacer("aarch64, kind: rpm}", "aarch64, kind: rpm, place: BaseOS}\n  - {path: el/crb/aarch64, platform: el, arch: aarch64, kind: rpm, place: CRB}")
	s := parse(t, two.Replace(good))
	tests := []struct {
		platform string
		arch     albs.Arch
		kind     Kind
		want     string // "" for none
	}{
		{"el", albs.X8664, RPM, "el/os/x86_64"},
		{"el", albs.AArch64, RPM, "el/os/aarch64 el/crb/aarch64"},
		{"el", albs.X8664, Debug, "el/debug/x86_64"},
		{"el", albs.AArch64, Debug, ""},
		{"el", albs.Src, Source, "el/source"},
		{"el", albs.X8664, Source, "el/source"},
		{"seed", albs.X8664, RPM, "seed/x86_64"},
		{"seed", albs.Src, Source, ""},
		{"other", albs.X8664, RPM, ""},
	}
	for _, tt := range tests {
		rs, err := s.Targets(tt.platform, tt.arch, tt.kind)
		var paths []string
		for _, r := range rs {
			paths = append(paths, r.Path)
		}
		got := strings.Join(paths, " ")
		if got != tt.want || (tt.want == "") != (albs.KindOf(err) == albs.NotFound) {
			t.Errorf("Targets(%s, %s, %s) = %q, %v, want %q", tt.platform, tt.arch, tt.kind, got, err, tt.want)
		}
	}
}

// platforms has el for two arches and seed for one.
type platforms struct{}

func (platforms) Get(_ context.Context, name string) (platform.Platform, error) {
	switch name {
	case "el":
		return platform.Platform{Spec: platform.Spec{Name: name, Arches: []albs.Arch{albs.X8664, albs.AArch64}}}, nil
	case "seed":
		return platform.Platform{Spec: platform.Spec{Name: name, Arches: []albs.Arch{albs.X8664}}}, nil
	}
	return platform.Platform{}, albs.Errorf(albs.NotFound, "there is no platform %s", name)
}

func setup(d *db.DB) *Products { return New(d, event.New(d, zerolog.Nop()), platforms{}) }

func as(t *testing.T, name string, grants ...auth.Grant) context.Context {
	return auth.With(t.Context(), auth.Actor{Kind: auth.KindPerson, User: 1, Name: name, Grants: grants})
}

func maintainer(t *testing.T, teams ...string) context.Context {
	var grants []auth.Grant
	for _, team := range teams {
		grants = append(grants, auth.Grant{Role: auth.ProductMaintainer, Team: team})
	}
	return as(t, "mia", grants...)
}

func wantKind(t *testing.T, what string, err error, want albs.Kind) {
	t.Helper()
	if albs.KindOf(err) != want {
		t.Errorf("%s = %v, want kind %q", what, err, want)
	}
}

func TestApply(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		p := setup(d)
		ctx := maintainer(t, "core")
		first, err := p.Apply(ctx, parse(t, good))
		if err != nil {
			t.Fatal(err)
		}
		if first.Revision != 1 || first.Actor != "user:mia" || first.Object() != (auth.Object{Team: "core"}) {
			t.Errorf("Apply = %+v", first)
		}
		again, err := p.Apply(ctx, parse(t, good))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(first, again); diff != "" {
			t.Errorf("the same once more (-first +again):\n%s", diff)
		}
		second, err := p.Apply(ctx, parse(t, strings.Replace(good, "count: 2", "count: 1", 1)))
		if err != nil || second.Revision != 2 {
			t.Fatalf("a change gave %+v, %v", second, err)
		}
		var n int
		if err := d.GetContext(t.Context(), &n, `SELECT COUNT(*) FROM event WHERE kind = 'product.applied' AND topic = 'product:demo' AND actor = 'user:mia'`); err != nil || n != 2 {
			t.Errorf("%d events, %v, want one for each revision", n, err)
		}
	})
}

func TestApplyRefuses(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		p := setup(d)
		s := parse(t, good)
		_, err := p.Apply(t.Context(), s)
		wantKind(t, "anonymous", err, albs.Unauthenticated)
		_, err = p.Apply(maintainer(t, "other"), s)
		wantKind(t, "another team's maintainer", err, albs.Forbidden)
		ctx := maintainer(t, "core")
		bad := s
		bad.Approvals.Count = 0
		_, err = p.Apply(ctx, bad)
		wantKind(t, "a fault", err, albs.Invalid)
		_, err = p.Apply(ctx, parse(t, strings.ReplaceAll(good, "seed", "unheard")))
		wantKind(t, "no such platform", err, albs.Invalid)
		_, err = p.Apply(ctx, parse(t, strings.Replace(good, "platform: seed, arch: x86_64, kind: rpm}", "platform: seed, arch: x86_64, kind: rpm}\n  - {path: seed/s390x, platform: seed, arch: s390x, kind: rpm}", 1)))
		wantKind(t, "an arch that the platform hasn't", err, albs.Invalid)
		_, err = p.Get(ctx, "demo")
		wantKind(t, "Get after refusals", err, albs.NotFound)

		// A product can't be taken from its team by naming another one.
		if _, err := p.Apply(ctx, s); err != nil {
			t.Fatal(err)
		}
		s.Team = "other"
		_, err = p.Apply(maintainer(t, "other"), s)
		wantKind(t, "taking a product over", err, albs.Forbidden)
		_, err = p.Apply(ctx, s)
		wantKind(t, "giving it to a team that one isn't in", err, albs.Forbidden)
		if _, err := p.Apply(maintainer(t, "core", "other"), s); err != nil {
			t.Errorf("a maintainer of both teams: %v", err)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(good)
	f.Fuzz(func(t *testing.T, in string) {
		s, err := Parse(strings.NewReader(in))
		if err != nil {
			if k := albs.KindOf(err); k != albs.Invalid && k != albs.TooLarge {
				t.Fatalf("kind %q: %v", k, err)
			}
			return
		}
		for _, r := range s.Repositories {
			if strings.HasPrefix(r.Path, "/") || strings.Contains(r.Path, "..") && strings.Contains("/"+r.Path+"/", "/../") || strings.ContainsAny(r.Path, " \n\\") {
				t.Fatalf("path %q was accepted", r.Path)
			}
		}
	})
}

func TestGate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		gate                       string
		requires                   bool
		install, upgrade, ofSystem Tests
	}{
		{"tests: required", true, Required, Required, Required},
		{"tests: off", false, Off, Off, Off},
		{"tests: advisory, stages: {install: required}", true, Required, Advisory, Advisory},
		{"tests: required, stages: {upgrade: off}", true, Required, Off, Required},
		{"tests: required, stages: {install: off, integrity: off, upgrade: advisory, downgrade: off, package: off, remove: off, reinstall: off, signed: off}", false, Off, Advisory, Required},
	} {
		g := parse(t, strings.Replace(good, "tests: advisory", tt.gate, 1)).Gate
		if g.Requires() != tt.requires || g.Of(albs.StageInstall) != tt.install || g.Of(albs.StageUpgrade) != tt.upgrade || g.Of(albs.StageSystem) != tt.ofSystem {
			t.Errorf("%s: requires %v, install %s, upgrade %s", tt.gate, g.Requires(), g.Of(albs.StageInstall), g.Of(albs.StageUpgrade))
		}
	}
}
