package matching

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/errata"
	"albs/internal/master/mastertest"
	"albs/internal/master/product"
	"albs/internal/master/release"
	"albs/internal/master/release/plan"
	"albs/internal/master/repo"
	"albs/internal/repodata"
	"albs/internal/rpm"
	"albs/internal/rpm/rpmtest"
)

var (
	rpmsMu sync.Mutex
	rpms   = map[string]map[string][]byte{}
)

// rpmbuild makes NAME-1.0-REL for x86_64 and NAME-doc for noarch, once. label is that of a
// module, and word goes into the content.
func rpmbuild(t *testing.T, name, rel, label, word string) map[string][]byte {
	t.Helper()
	rpmsMu.Lock()
	defer rpmsMu.Unlock()
	key := strings.Join([]string{name, rel, label, word}, " ")
	if rpms[key] == nil {
		if label != "" {
			label = "ModularityLabel: " + label + "\n"
		}
		made, err := rpmtest.Build(fmt.Sprintf("%%define debug_package %%{nil}\nName: %[1]s\nVersion: 1.0\nRelease: %[2]s\nSummary: A\nLicense: MIT\n%[3]s%%description\n%[4]s\n%%package doc\nSummary: B\nBuildArch: noarch\n%%description doc\nB.\n%%files\n%%files doc\n", name, rel, label, word), "--target", "x86_64")
		if err != nil {
			t.Fatal(err)
		}
		rpms[key] = made
	}
	return rpms[key]
}

// fixture is matching over real modules but for builds and releases, which do as they are
// told.
type fixture struct {
	*Matching
	m     *mastertest.Modules
	t     *testing.T
	admin context.Context
	at    int64 // the last event that was followed
	seen  int   // how many were
	items map[albs.ItemID][]build.Artifact
	on    map[albs.ItemID]string
	gone  map[albs.BuildID]bool
	// snapshot is that of repository 9.
	snapshot albs.Digest
	added    map[albs.ReleaseID][]release.Added // what each was the first to show
	plans    map[albs.ReleaseID]plan.Plan
}

func (f *fixture) PackagesOfItem(_ context.Context, id albs.BuildID, item albs.ItemID) (string, []build.Artifact, error) {
	if f.gone[id] {
		return "", nil, albs.Errorf(albs.NotFound, "there is no build %d", id)
	}
	return f.on[item], f.items[item], nil
}

func (f *fixture) Get(_ context.Context, id albs.ReleaseID) (release.Release, error) {
	p, ok := f.plans[id]
	if !ok {
		return release.Release{}, albs.Errorf(albs.NotFound, "there is no release %d", id)
	}
	return release.Release{ID: id, Product: p.Product, Plan: p}, nil
}

func (f *fixture) Holding(_ context.Context, d albs.Digest) ([]release.Held, error) {
	var out []release.Held
	for id, as := range f.added {
		for _, a := range as {
			if a.Digest == d {
				out = append(out, release.Held{Product: a.Product, Path: a.Path, Release: id})
			}
		}
	}
	return out, nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// as returns a context in which a person with a role in a team acts.
func as(ctx context.Context, name string, r auth.Role, team string) context.Context {
	return auth.With(ctx, auth.Actor{Kind: auth.KindPerson, User: 1, Name: name, Grants: []auth.Grant{{Role: r, Team: team}}})
}

// open returns matching over d, with the platforms el9 and el8 of team core, whose suffix
// is .alma, the product demo for both, and builds 1 to 9 with one item each, 10 times the
// build's number, of el9, and another, one more, of el8.
func open(t *testing.T, d *db.DB) *fixture {
	t.Helper()
	m := mastertest.Open(t, d, mastertest.Config{})
	f := &fixture{
		m: m, t: t, admin: as(t.Context(), "olga", auth.Admin, ""), items: map[albs.ItemID][]build.Artifact{}, on: map[albs.ItemID]string{},
		gone: map[albs.BuildID]bool{}, added: map[albs.ReleaseID][]release.Added{}, plans: map[albs.ReleaseID]plan.Plan{},
	}
	for _, name := range []string{"el9", "el8"} {
		p := mastertest.Errata(mastertest.Platform(name, albs.X8664), "core")
		p.Errata.Suffixes = []string{".alma"}
		_, err := m.Platforms.Apply(f.admin, p)
		must(t, err)
	}
	_, err := m.Products.Apply(f.admin, product.Spec{
		Name: "demo", Team: "core", Platforms: []string{"el8", "el9"}, Gate: product.Gate{Tests: product.Advisory}, Approvals: product.Approvals{Count: 1},
		Repositories: []product.Repository{{Path: "9", Platform: "el9", Arch: albs.X8664, Kind: product.RPM}, {Path: "8", Platform: "el8", Arch: albs.X8664, Kind: product.RPM}},
	})
	must(t, err)
	for id := range 9 {
		_, err := d.ExecContext(t.Context(), `INSERT INTO build (id, owner_id, owner, team, product, options, created_at) VALUES ($1, 1, 'olga', '', '', '{}', $2)`, id+1, db.Now())
		must(t, err)
		for i, on := range []string{"el9", "el8"} {
			item := 10*(id+1) + i
			_, err := d.ExecContext(t.Context(), `INSERT INTO build_item (id, build_id, place, platform, arches, url, ref, ref_type, commit_id, package) VALUES ($1, $2, $3, $4, '[]', '', '', '', '', '')`, item, id+1, i, on)
			must(t, err)
			f.on[albs.ItemID(item)] = on
		}
	}
	e := errata.New(errata.Parts{DB: d, Events: m.Events, Provenance: m.Provenance, Platforms: m.Platforms, Builds: there{}})
	f.Matching = New(Parts{
		DB: d, Events: m.Events, Artifacts: m.Artifacts, Platforms: m.Platforms, Products: m.Products, Repos: m.Repos,
		Builds: f, Releases: f, Errata: e, Log: zerolog.New(zerolog.NewTestWriter(t)),
	})
	return f
}

// there has every build.
type there struct{}

func (there) There(context.Context, db.Q, albs.BuildID) error { return nil }

// keep has the master hold packages, and returns them.
func (f *fixture) keep(files map[string][]byte, as ...func(*artifact.Artifact)) []artifact.Artifact {
	f.t.Helper()
	var out []artifact.Artifact
	for name, b := range files {
		kind := artifact.RPM
		if strings.HasSuffix(name, ".src.rpm") {
			kind = artifact.SRPM
		}
		a, err := f.m.Artifacts.Save(f.t.Context(), bytes.NewReader(b), 1<<20, path.Base(name), kind)
		must(f.t, err)
		for _, do := range as {
			do(&a)
		}
		must(f.t, f.DB.InTx(f.t.Context(), func(tx db.Tx) error { return f.m.Artifacts.Add(f.t.Context(), tx, a) }))
		out = append(out, a)
	}
	return out
}

// tell writes an event.
func (f *fixture) tell(kind, topic string, data any) {
	f.t.Helper()
	must(f.t, f.DB.InTx(f.t.Context(), func(tx db.Tx) error { return f.Events.Add(f.t.Context(), tx, kind, topic, "test", data) }))
}

// build has an item of a build have packages, none but these, as it tells.
func (f *fixture) build(item albs.ItemID, made ...map[string][]byte) {
	f.t.Helper()
	f.items[item] = nil
	id := albs.BuildID(item / 10)
	for _, files := range made {
		for _, a := range f.keep(files) {
			f.items[item] = append(f.items[item], build.Artifact{Item: item, Digest: a.Digest, Kind: string(a.Kind), Name: a.Name, Arch: albs.X8664})
		}
	}
	f.tell(build.EventBuilt, build.Topic(id), build.Built{Build: id, Item: item, Platform: f.on[item]})
	f.catchUp()
}

// catchUp follows all that has happened since it was called last. What was told a moment ago
// may have to wait for other transactions of the server.
func (f *fixture) catchUp() {
	f.t.Helper()
	ctx := auth.System(f.t.Context(), "match advisories")
	for deadline := time.Now().Add(time.Minute); ; {
		es, err := f.Events.Since(ctx, f.at, "", 100)
		must(f.t, err)
		for _, e := range es {
			must(f.t, f.follow(ctx, e))
			f.at, f.seen = e.ID, f.seen+1
		}
		var all int
		must(f.t, f.DB.GetContext(ctx, &all, `SELECT COUNT(*) FROM event`))
		switch {
		case f.seen == all:
			return
		case time.Now().After(deadline):
			f.t.Fatalf("%d of %d events are settled after a minute", f.seen, all)
		case len(es) == 0:
			time.Sleep(5 * time.Millisecond)
		}
	}
}

var issued = time.Date(2024, 5, 6, 0, 0, 0, 0, time.UTC)

func nevra(t *testing.T, s string) rpm.NEVRA {
	t.Helper()
	n, err := rpm.ParseNEVRA(s)
	must(t, err)
	return n
}

// create makes an advisory that wants packages, "NEVRA[ in NAME:STREAM]".
func (f *fixture) create(id, on string, want ...string) errata.Key {
	f.t.Helper()
	a := advisory.Advisory{ID: id, Platform: on, Title: "a security update", Description: "It was wrong.", Issued: issued, Updated: issued}
	for _, s := range want {
		s, module, _ := strings.Cut(s, " in ")
		p := advisory.Package{NEVRA: nevra(f.t, s)}
		if name, stream, ok := strings.Cut(module, ":"); ok {
			p.Module = &advisory.Module{Name: name, Stream: stream}
		}
		a.Packages = append(a.Packages, p)
	}
	_, err := f.Errata.Create(f.admin, a, errata.CreateOptions{})
	must(f.t, err)
	f.catchUp()
	return errata.Key{ID: id, Platform: on}
}

// told is what answers an advisory, in lines: its stage, then "WANTED: why nothing does" and
// "WANTED ← NEVRA of BUILD: STATUS[ by PERSON][: WHY]".
func (f *fixture) told(k errata.Key) []string {
	f.t.Helper()
	a, err := f.Of(f.t.Context(), k)
	must(f.t, err)
	out := []string{a.Standing.Stage.String()}
	for _, w := range a.Wanted {
		switch {
		case w.Excluded:
			out = append(out, fmt.Sprintf("%s: excluded by %s: %s", w.NEVRA, w.By, w.Why))
		case w.Lack != "":
			out = append(out, fmt.Sprintf("%s: %s", w.NEVRA, w.Lack))
		}
	}
	for _, m := range a.Matches {
		s := fmt.Sprintf("%s ← %s of %d: %s", m.Wanted, m.NEVRA, m.Build, m.Status)
		if m.Wanted == (rpm.NEVRA{}) {
			s = fmt.Sprintf("+ %s of %d: %s", m.NEVRA, m.Build, m.Status)
		}
		if m.By != "" {
			s += " by " + m.By
		}
		if m.Why != "" {
			s += ": " + m.Why
		}
		if m.Unsigned == "" {
			s += " (gone)"
		}
		if m.Key != k || m.Reason == "" {
			f.t.Errorf("a match of %s is for %s, because %q", k, m.Key, m.Reason)
		}
		out = append(out, s)
	}
	return out
}

func (f *fixture) want(k errata.Key, want ...string) {
	f.t.Helper()
	if got := f.told(k); !slices.Equal(got, want) {
		f.t.Errorf("%s has\n  %s\nwant\n  %s", k, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func (f *fixture) decide(k errata.Key, ds ...Decision) {
	f.t.Helper()
	if _, err := f.Decide(as(f.t.Context(), "mia", auth.ProductMaintainer, "core"), k, 0, ds); err != nil {
		f.t.Fatalf("Decide(%s) = %v", k, err)
	}
	f.catchUp()
}

func each(t *testing.T, run func(t *testing.T, f *fixture)) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) { run(t, open(t, d)) })
}

func wantKind(t *testing.T, what string, err error, want albs.Kind) {
	t.Helper()
	if albs.KindOf(err) != want {
		t.Errorf("%s = %v, want %s", what, err, want)
	}
}

// TestFollow has an advisory's matches come and go with builds, by themselves.
func TestFollow(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		k := f.create("ALSA-2024:1", "el9", "foo-1.0-9.el9.x86_64", "foo-doc-1.0-9.el9.noarch")
		other := f.create("ALSA-2024:1", "el8", "foo-1.0-9.el9.x86_64")
		nothing := []string{"needs build", "foo-1.0-9.el9.x86_64: nothing of foo was built for el9", "foo-doc-1.0-9.el9.noarch: nothing of foo-doc was built for el9"}
		f.want(k, nothing...)

		f.build(10, rpmbuild(t, "foo", "6.el9", "", ""))
		f.want(k, "needs build",
			"foo-1.0-9.el9.x86_64: the newest foo, of build 1, is 1.0-6.el9, older than 1.0-9.el9",
			"foo-doc-1.0-9.el9.noarch: the newest foo-doc, of build 1, is 1.0-6.el9, older than 1.0-9.el9")

		f.build(20, rpmbuild(t, "foo", "10.el9.alma.1", "", "")) // 10 is more than 9
		for what, tc := range map[string]struct {
			w    Wish
			want string
		}{
			"by name":  {Wish{Platform: "el9", Name: "foo"}, "foo-1.0-10.el9.alma.1.src of 2, foo-1.0-10.el9.alma.1.x86_64 of 2, foo-1.0-6.el9.src of 1, foo-1.0-6.el9.x86_64 of 1"},
			"by build": {Wish{Platform: "el9", Build: 1}, "foo-1.0-6.el9.src of 1, foo-1.0-6.el9.x86_64 of 1, foo-doc-1.0-6.el9.noarch of 1"},
			"by both":  {Wish{Platform: "el9", Name: "foo-doc", Build: 2}, "foo-doc-1.0-10.el9.alma.1.noarch of 2"},
			"of el8":   {Wish{Platform: "el8", Name: "foo"}, ""},
		} {
			ps, more, err := f.Packages(t.Context(), tc.w)
			must(t, err)
			var got []string
			for _, p := range ps {
				got = append(got, fmt.Sprintf("%s of %d", p.NEVRA, p.Build))
			}
			if s := strings.Join(got, ", "); s != tc.want || more {
				t.Errorf("packages %s: %s, %t", what, s, more)
			}
		}
		if _, _, err := f.Packages(t.Context(), Wish{Platform: "el9"}); albs.KindOf(err) != albs.Invalid {
			t.Errorf("all packages of a platform: %v", err)
		}
		f.want(k, "needs match",
			"foo-1.0-9.el9.x86_64 ← foo-1.0-10.el9.alma.1.x86_64 of 2: proposal",
			"foo-doc-1.0-9.el9.noarch ← foo-doc-1.0-10.el9.alma.1.noarch of 2: proposal")
		f.want(other, "needs build", "foo-1.0-9.el9.x86_64: nothing of foo was built for el8") // another platform is another advisory

		// The build is deleted.
		f.gone[2] = true
		f.tell(build.EventDeleted, build.Topic(2), nil)
		f.catchUp()
		f.tell(build.EventDeleted, build.Topic(1), nil)
		f.catchUp()
		f.want(k, nothing...)

		// An edit wants less; one that is frozen isn't touched.
		f.build(30, rpmbuild(t, "foo", "9.el9", "", ""))
		frozen := true
		_, err := f.Errata.Edit(f.admin, k, 1, errata.Edit{Packages: &[]advisory.Package{{NEVRA: nevra(t, "foo-1.0-9.el9.x86_64")}}, Frozen: &frozen})
		must(t, err)
		f.catchUp()
		ready := []string{"needs match", "foo-1.0-9.el9.x86_64 ← foo-1.0-9.el9.x86_64 of 3: proposal"}
		f.want(k, ready...)
		f.build(40, rpmbuild(t, "foo", "9.el9", "", ""))
		f.want(k, ready...)
		_, err = f.Reset(f.admin, k) // by a person it is
		must(t, err)
		f.want(k, append(ready[:1], "foo-1.0-9.el9.x86_64 ← foo-1.0-9.el9.x86_64 of 4: proposal", "foo-1.0-9.el9.x86_64 ← foo-1.0-9.el9.x86_64 of 3: proposal")...)
	})
}

// TestModules: packages of a module answer what is wanted of its stream.
func TestModules(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.build(10, rpmbuild(t, "pg", "1.module_el9+10+abcd.alma", "pg:12:9:abcd", ""))
		a := f.create("ALSA-2024:1", "el9", "pg-1.0-1.module+el9+77+ffff.x86_64 in pg:12")
		b := f.create("ALSA-2024:2", "el9", "pg-1.0-1.module+el9+77+ffff.x86_64 in pg:13")
		f.want(a, "needs match", "pg-1.0-1.module+el9+77+ffff.x86_64 ← pg-1.0-1.module_el9+10+abcd.alma.x86_64 of 1: proposal")
		f.want(b, "needs build", "pg-1.0-1.module+el9+77+ffff.x86_64: pg was built in the module pg:12, and is wanted in the module pg:13")
		got, err := f.Of(t.Context(), a)
		must(t, err)
		if m := got.Matches[0]; m.Label != "pg:12:9:abcd" || m.Module != "pg:12" || m.Source != "pg" || m.Unsigned == "" || !m.Pick {
			t.Errorf("match = %+v", m)
		}
	})
}

// TestReleases: what is public answers, until it is taken back.
func TestReleases(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.build(10, rpmbuild(t, "foo", "9.el9", "", ""))
		f.build(20, rpmbuild(t, "foo", "9.el9", "", ""))
		f.build(30, rpmbuild(t, "foo", "11.el9", "", "third"))
		k := f.create("ALSA-2024:1", "el9", "foo-1.0-9.el9.x86_64")
		proposals := []string{"needs match",
			"foo-1.0-9.el9.x86_64 ← foo-1.0-9.el9.x86_64 of 2: proposal",
			"foo-1.0-9.el9.x86_64 ← foo-1.0-9.el9.x86_64 of 1: proposal",
			"foo-1.0-9.el9.x86_64 ← foo-1.0-11.el9.x86_64 of 3: proposal"}
		f.want(k, proposals...)

		// Build 3 is signed and released: other bytes with another name than what was matched.
		f.release(5, 1, 30, "foo-1.0-11.el9.x86_64.rpm", rpmbuild(t, "foo", "11.el9", "", "signed"))
		f.want(k, "ready", "foo-1.0-9.el9.x86_64 ← foo-1.0-11.el9.x86_64 of 3: released")

		// A person may have it otherwise all the same, and take that back.
		f.decide(k, Decision{Action: Replace, Wanted: nevra(t, "foo-1.0-9.el9.x86_64"), NEVRA: nevra(t, "foo-1.0-9.el9.x86_64"), Build: 1, Why: "the notice means this one"})
		f.want(k, "ready",
			"foo-1.0-9.el9.x86_64 ← foo-1.0-11.el9.x86_64 of 3: skipped: foo-1.0-9.el9.x86_64 of build 1 was chosen",
			"foo-1.0-9.el9.x86_64 ← foo-1.0-9.el9.x86_64 of 1: approved by mia: the notice means this one")
		f.decide(k, Decision{Action: Propose, Build: 1})
		f.want(k, "ready", "foo-1.0-9.el9.x86_64 ← foo-1.0-11.el9.x86_64 of 3: released")

		// The release is taken back, and what it had is released again: by a release that isn't
		// the first one to show it.
		shown := f.plans[5]
		f.show(6, 2, plan.Plan{Repositories: []plan.Repository{{Path: "9", Platform: "el9", Packages: []plan.Change{{Action: plan.Remove, NEVRA: "foo-1.0-11.el9.x86_64"}}}}})
		f.want(k, proposals...)
		f.show(7, 3, shown, repodata.TreeRepo{Path: "9", Snapshot: f.snapshot})
		f.want(k, "ready", "foo-1.0-9.el9.x86_64 ← foo-1.0-11.el9.x86_64 of 3: released")
	})
}

// TestTwoKeys: a package that was signed with two keys is one match, and released as long as
// either copy is public, whichever.
func TestTwoKeys(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		const name = "foo-1.0-9.el9.x86_64.rpm"
		f.build(10, rpmbuild(t, "foo", "9.el9", "", ""))
		k := f.create("ALSA-2024:1", "el9", "foo-1.0-9.el9.x86_64")
		proposal, released := []string{"needs match", "foo-1.0-9.el9.x86_64 ← foo-1.0-9.el9.x86_64 of 1: proposal"}, []string{"ready", "foo-1.0-9.el9.x86_64 ← foo-1.0-9.el9.x86_64 of 1: released"}
		old, anew := f.sign(10, name, rpmbuild(t, "foo", "9.el9", "", "by the old key"), "old"), f.sign(10, name, rpmbuild(t, "foo", "9.el9", "", "by the new key"), "new")
		only := func(id albs.ReleaseID, serial int64, a artifact.Artifact) {
			t.Helper()
			f.snapshot = "" // in place of the other
			f.add(id, serial, a)
		}
		f.want(k, proposal...)
		only(5, 1, old)
		f.want(k, released...)
		is, err := f.Of(t.Context(), k)
		must(t, err)
		if is.Matches[0].Unsigned != old.Unsigned || old.Digest == anew.Digest {
			t.Errorf("the match is %+v", is.Matches[0])
		}
		only(6, 2, anew)
		f.want(k, released...)
		f.show(7, 3, plan.Plan{Repositories: []plan.Repository{{Path: "9", Platform: "el9", Packages: []plan.Change{{Action: plan.Remove, NEVRA: "foo-1.0-9.el9.x86_64"}}}}})
		f.want(k, proposal...)

		// What a person decides is of both.
		f.decide(k, Decision{Action: Skip, NEVRA: nevra(t, "foo-1.0-9.el9.x86_64"), Why: "it crashes"})
		only(8, 4, old)
		f.want(k, "needs build", "foo-1.0-9.el9.x86_64 ← foo-1.0-9.el9.x86_64 of 1: skipped by mia: it crashes")
	})
}

// sign has the master hold a package of an item as a key signed it: other bytes of the same
// name.
func (f *fixture) sign(item albs.ItemID, name string, copies map[string][]byte, key string) artifact.Artifact {
	f.t.Helper()
	var unsigned albs.Digest
	for _, a := range f.items[item] {
		if a.Name == name {
			unsigned = a.Digest
		}
	}
	return f.keep(map[string][]byte{name: copies[name]}, func(a *artifact.Artifact) { a.Unsigned, a.SignedBy = unsigned, key })[0]
}

// release has a release show, in repository 9 and as a serial, the signed copy of a package
// of an item.
func (f *fixture) release(id albs.ReleaseID, serial int64, item albs.ItemID, name string, copies map[string][]byte) {
	f.t.Helper()
	f.add(id, serial, f.sign(item, name, copies, "key"))
}

// add has a release show a signed package, in repository 9 and as a serial.
func (f *fixture) add(id albs.ReleaseID, serial int64, signed artifact.Artifact) {
	f.t.Helper()
	snapshot, err := f.m.Repos.ExtendSnapshot(f.admin, f.snapshot, repo.Change{Add: []artifact.Artifact{signed}})
	must(f.t, err)
	f.snapshot = snapshot
	f.added[id] = []release.Added{{Release: id, Product: "demo", Path: "9", File: signed.Name, Digest: signed.Digest}}
	f.show(id, serial, plan.Plan{Repositories: []plan.Repository{{Path: "9", Platform: "el9", Packages: []plan.Change{
		{Action: plan.Add, NEVRA: strings.TrimSuffix(signed.Name, ".rpm"), File: signed.Name, Digest: signed.Digest},
	}}}}, repodata.TreeRepo{Path: "9", Snapshot: snapshot})
}

// show has the product show repositories by a release with that plan.
func (f *fixture) show(id albs.ReleaseID, serial int64, p plan.Plan, repositories ...repodata.TreeRepo) {
	f.t.Helper()
	p.Product = "demo"
	f.plans[id] = p
	tree := repodata.Tree{Product: "demo", Serial: serial, Repositories: repositories}
	doc, err := f.m.Repos.SaveTree(f.admin, tree)
	must(f.t, err)
	must(f.t, f.DB.InTx(f.admin, func(tx db.Tx) error { return f.m.Repos.AdvanceTree(f.admin, tx, "demo", serial-1, tree, doc) }))
	f.tell(release.EventPublished, release.Topic(id), release.Event{Release: id, Product: "demo"})
	f.catchUp()
}

// TestCompatible: packages of builds for a platform that the advisory's names as compatible
// answer once a release has put them into a repository for it; before, a person may choose
// them.
func TestCompatible(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		p := mastertest.Errata(mastertest.Platform("el9", albs.X8664), "core")
		p.Compatible = []string{"el8"}
		_, err := f.m.Platforms.Apply(f.admin, p)
		must(t, err)
		foo := "foo-1.0-9.el9.x86_64"
		k := f.create("ALSA-2024:1", "el9", foo)
		back := f.create("ALSA-2024:1", "el8", foo)
		f.build(31, rpmbuild(t, "foo", "9.el9", "", "")) // of el8
		f.want(k, "needs build", foo+": nothing of foo was built for el9")
		f.want(back, "needs match", foo+" ← "+foo+" of 3: proposal")

		f.decide(k, Decision{Action: Replace, Wanted: nevra(t, foo), NEVRA: nevra(t, foo), Build: 3, Why: "it is built there"})
		chosen := foo + " ← " + foo + " of 3: approved by mia: it is built there"
		f.want(k, "ready", foo+": nothing of foo was built for el9", chosen)
		f.items[31] = nil
		f.tell(build.EventRenewed, build.Topic(3), build.Renewed{Item: 31})
		f.catchUp()
		f.want(k, "ready", foo+": nothing of foo was built for el9", chosen+" (gone)")
		f.build(31, rpmbuild(t, "foo", "9.el9", "", "again"))
		f.want(k, "ready", foo+": nothing of foo was built for el9", chosen)
		f.decide(k, Decision{Action: Propose, Build: 3})

		f.release(5, 1, 31, "foo-1.0-9.el9.x86_64.rpm", rpmbuild(t, "foo", "9.el9", "", "signed"))
		f.want(k, "ready", foo+" ← "+foo+" of 3: released")
		f.want(back, "needs match", foo+" ← "+foo+" of 3: proposal") // it isn't in a repository for el8
	})
}

// TestForeignArches: what is wanted for an arch that the platform hasn't needs no answer.
func TestForeignArches(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		foo, power := "foo-1.0-9.el9.x86_64", "foo-1.0-9.el9.ppc64le"
		f.build(10, rpmbuild(t, "foo", "9.el9", "", ""))
		k := f.create("ALSA-2024:1", "el9", foo, power, "foo-doc-1.0-9.el9.noarch")
		f.want(k, "needs match", power+": excluded by : el9 isn't built for ppc64le", foo+" ← "+foo+" of 1: proposal", "foo-doc-1.0-9.el9.noarch ← foo-doc-1.0-9.el9.noarch of 1: proposal")
		_, err := f.Decide(f.admin, k, 0, []Decision{{Action: Include, Wanted: nevra(t, power)}})
		wantKind(t, "include what the platform isn't built for", err, albs.Conflict)
		f.decide(k, Decision{Action: Approve})
		if got := f.told(k); got[0] != "ready" {
			t.Errorf("with all that the platform has:\n%s", strings.Join(got, "\n"))
		}

		// The platform comes to have it.
		_, err = f.m.Platforms.Apply(f.admin, mastertest.Errata(mastertest.Platform("el9", albs.X8664, albs.PPC64LE), "core"))
		must(t, err)
		f.catchUp()
		if got := f.told(k); got[0] != "needs build" || !slices.Contains(got, power+": foo was built for src and x86_64, not for ppc64le") {
			t.Errorf("with ppc64le:\n%s", strings.Join(got, "\n"))
		}
	})
}

// TestOneBroken: an advisory that can't be matched keeps no other one from it.
func TestOneBroken(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		foo := "foo-1.0-9.el9.x86_64"
		f.create("ALSA-2024:1", "el9", foo)
		k := f.create("ALSA-2024:2", "el9", foo)
		_, err := f.DB.ExecContext(t.Context(), `UPDATE errata_matching SET document = '?' WHERE advisory = 'ALSA-2024:1'`)
		must(t, err)
		f.build(10, rpmbuild(t, "foo", "9.el9", "", ""))
		f.want(k, "needs match", foo+" ← "+foo+" of 1: proposal")
	})
}

// TestWithdrawn: an advisory that is taken back waits for no package.
func TestWithdrawn(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		foo := "foo-1.0-9.el9.x86_64"
		k := f.create("ALSA-2024:1", "el9", foo)
		rec, err := f.Errata.Get(t.Context(), k)
		must(t, err)
		must(t, f.DB.InTx(f.admin, func(tx db.Tx) error {
			if err := f.Errata.Begin(f.admin, tx, []errata.Key{k}, 7); err != nil {
				return err
			}
			return f.Errata.Publish(f.admin, tx, []advisory.Advisory{rec.Advisory}, "demo", 7)
		}))
		f.catchUp()
		_, err = f.Errata.Withdraw(f.admin, k, "it was wrong")
		must(t, err)
		f.catchUp()
		f.want(k, "ready", foo+": nothing of foo was built for el9")
		if list, _, err := f.Queue(t.Context(), Filter{Stage: Ready}); err != nil || len(list) != 1 || list[0].Key != k {
			t.Errorf("Queue = %+v, %v", list, err)
		}
	})
}

// TestDecide: what people decide holds, whatever is found later, until they take it back.
func TestDecide(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		foo, doc := "foo-1.0-9.el9.x86_64", "foo-doc-1.0-9.el9.noarch"
		f.build(10, rpmbuild(t, "foo", "9.el9", "", ""))
		f.build(20, rpmbuild(t, "foo", "9.el9", "", ""))
		f.build(30, rpmbuild(t, "bar", "1", "", ""))
		k := f.create("ALSA-2024:1", "el9", foo, doc)

		f.decide(k, Decision{Action: Approve, Build: 1, Source: "foo", Why: "it was tested"})
		approved := []string{"ready",
			foo + " ← " + foo + " of 2: skipped: " + foo + " of build 1 was chosen", foo + " ← " + foo + " of 1: approved by mia: it was tested",
			doc + " ← " + doc + " of 2: skipped: " + doc + " of build 1 was chosen", doc + " ← " + doc + " of 1: approved by mia: it was tested"}
		f.want(k, approved...)

		// The build makes it again: other bytes, the same match. While it does, there are none.
		before, err := f.Of(t.Context(), k)
		must(t, err)
		f.items[10] = nil
		f.tell(build.EventRenewed, build.Topic(1), build.Renewed{Item: 10})
		f.catchUp()
		f.want(k, "ready",
			foo+" ← "+foo+" of 2: skipped: "+foo+" of build 1 was chosen", foo+" ← "+foo+" of 1: approved by mia: it was tested (gone)",
			doc+" ← "+doc+" of 2: skipped: "+doc+" of build 1 was chosen", doc+" ← "+doc+" of 1: approved by mia: it was tested (gone)")
		f.build(10, rpmbuild(t, "foo", "9.el9", "", "rebuilt"))
		f.want(k, approved...)
		after, err := f.Of(t.Context(), k)
		must(t, err)
		if a, b := before.Matches[1], after.Matches[1]; a.Unsigned == b.Unsigned || a.Build != b.Build || b.Unsigned == "" {
			t.Errorf("the match has %s of build %d, it had %s of build %d", b.Unsigned.Short(), b.Build, a.Unsigned.Short(), a.Build)
		}

		// A newer build changes nothing by itself; a person may take it.
		f.build(40, rpmbuild(t, "foo", "9.el9", "", "fourth"))
		if got := f.told(k); got[0] != "ready" || !slices.Contains(got, foo+" ← "+foo+" of 4: skipped: "+foo+" of build 1 was chosen") {
			t.Errorf("with another build:\n%s", strings.Join(got, "\n"))
		}
		f.decide(k, Decision{Action: Approve, Build: 4})
		if got := f.told(k); got[0] != "ready" || !slices.Contains(got, foo+" ← "+foo+" of 4: approved by mia") || !slices.Contains(got, foo+" ← "+foo+" of 1: skipped: "+foo+" of build 4 was chosen") {
			t.Errorf("with another build, approved:\n%s", strings.Join(got, "\n"))
		}

		// Exclude, add, skip.
		bar := "bar-1.0-1.x86_64"
		f.decide(k, Decision{Action: Exclude, Wanted: nevra(t, doc), Why: "words aren't vulnerable"}, Decision{Action: Add, NEVRA: nevra(t, bar), Build: 3, Why: "it has a copy"},
			Decision{Action: Skip, Build: 2, Why: "it is broken"})
		want := []string{"ready", doc + ": excluded by mia: words aren't vulnerable"}
		for _, s := range []string{"of 4: approved by mia", "of 2: skipped by mia: it is broken", "of 1: skipped: " + foo + " of build 4 was chosen"} {
			want = append(want, foo+" ← "+foo+" "+s)
		}
		f.want(k, append(want, "+ "+bar+" of 3: approved by mia: it has a copy")...)
		a, err := f.Of(t.Context(), k)
		must(t, err)
		if want := (Standing{Key: k, Stage: Ready, Wanted: 2, Settled: 2}); a.Standing != want {
			t.Errorf("standing = %+v, want %+v", a.Standing, want)
		}

		// And back.
		f.decide(k, Decision{Action: Include, Wanted: nevra(t, doc)}, Decision{Action: Propose, NEVRA: nevra(t, bar)})
		if got := f.told(k); got[0] != "needs match" || strings.Contains(strings.Join(got, "\n"), "bar") || !slices.Contains(got, doc+" ← "+doc+" of 4: proposal") {
			t.Errorf("taken back:\n%s", strings.Join(got, "\n"))
		}
		f.decide(k, Decision{Action: Approve}) // what is proposed
		if got := f.told(k); got[0] != "ready" || !slices.Contains(got, doc+" ← "+doc+" of 4: approved by mia") {
			t.Errorf("approved:\n%s", strings.Join(got, "\n"))
		}
		_, err = f.Reset(f.admin, k)
		must(t, err)
		if got := strings.Join(f.told(k), "\n"); strings.Contains(got, " by ") || strings.Contains(got, "skipped") {
			t.Errorf("after a reset:\n%s", got)
		}

		// All of it is in the history.
		changes, err := f.Errata.History(t.Context(), k, 0)
		must(t, err)
		var kinds []string
		for _, c := range changes {
			kinds = append(kinds, c.Kind)
		}
		if want := append(slices.Repeat([]string{errata.Matched}, 6), errata.Created); !slices.Equal(kinds, want) {
			t.Errorf("history = %v, want %v", kinds, want)
		}
		if c := changes[5]; c.Reason != "it was tested" || c.Actor != "user:mia" || !slices.Contains(c.Differences, errata.Difference{Field: foo + " of build 1", Was: "proposal", Is: "approved: it was tested"}) {
			t.Errorf("the first decision is in history as %+v", c)
		}
	})
}

// TestDecideRefuses: what can't be meant leaves everything as it is.
func TestDecideRefuses(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		foo := nevra(t, "foo-1.0-9.el9.x86_64")
		f.build(10, rpmbuild(t, "foo", "9.el9", "", ""))
		f.build(20, rpmbuild(t, "foo", "9.el9", "", ""))
		f.build(31, rpmbuild(t, "bar", "1", "", "")) // of el8
		k := f.create("ALSA-2024:1", "el9", foo.String())
		was := f.told(k)
		for _, tt := range []struct {
			name string
			d    Decision
			want albs.Kind
		}{
			{"unknown action", Decision{Action: "bless"}, albs.Invalid},
			{"skip of nothing", Decision{Action: Skip}, albs.Invalid},
			{"two builds", Decision{Action: Approve, Wanted: foo}, albs.Invalid},
			{"no such build", Decision{Action: Approve, Build: 7}, albs.NotFound},
			{"replace without reason", Decision{Action: Replace, Wanted: foo, NEVRA: foo, Build: 1}, albs.Invalid},
			{"reason of two lines", Decision{Action: Skip, Build: 1, Why: "a\nb"}, albs.Invalid},
			{"replace what isn't wanted", Decision{Action: Replace, Wanted: nevra(t, "baz-1-1.noarch"), NEVRA: foo, Build: 1, Why: "so"}, albs.NotFound},
			{"add of another platform", Decision{Action: Add, NEVRA: nevra(t, "bar-1.0-1.x86_64"), Build: 3, Why: "so"}, albs.NotFound},
			{"exclude what isn't wanted", Decision{Action: Exclude, Wanted: nevra(t, "baz-1-1.noarch"), Why: "so"}, albs.NotFound},
			{"add what is no package", Decision{Action: Add, NEVRA: rpm.NEVRA{Name: "../x"}, Build: 1, Why: "so"}, albs.Invalid},
		} {
			_, err := f.Decide(f.admin, k, 0, []Decision{{Action: Skip, Build: 1}, tt.d})
			wantKind(t, tt.name, err, tt.want)
		}
		skip := []Decision{{Action: Skip, Build: 1}}
		_, err := f.Decide(as(t.Context(), "eve", auth.Contributor, "core"), k, 0, skip)
		wantKind(t, "a contributor", err, albs.Forbidden)
		_, err = f.Decide(as(t.Context(), "eve", auth.ProductMaintainer, "other"), k, 0, skip)
		wantKind(t, "a maintainer of another team", err, albs.Forbidden)
		_, err = f.Reset(as(t.Context(), "eve", auth.ProductMaintainer, "other"), k)
		wantKind(t, "reset by a maintainer of another team", err, albs.Forbidden)
		_, err = f.Decide(f.admin, k, 9, skip)
		wantKind(t, "another revision", err, albs.Conflict)
		_, err = f.Decide(f.admin, errata.Key{ID: "ALSA-2024:2", Platform: "el9"}, 0, skip)
		wantKind(t, "unknown advisory", err, albs.NotFound)
		_, err = f.Decide(f.admin, k, 0, nil)
		wantKind(t, "no decision", err, albs.Invalid)
		must(t, f.DB.InTx(f.admin, func(tx db.Tx) error { return f.Errata.Begin(f.admin, tx, []errata.Key{k}, 7) }))
		_, err = f.Decide(f.admin, k, 0, skip)
		wantKind(t, "in progress", err, albs.Conflict)
		f.build(40, rpmbuild(t, "foo", "9.el9", "", "")) // nor does it change by itself then
		f.want(k, was...)
		must(t, f.DB.InTx(f.admin, func(tx db.Tx) error { return f.Errata.Fail(f.admin, tx, []errata.Key{k}, "it failed") }))
		f.catchUp()
		if got := f.told(k); len(got) != len(was)+1 {
			t.Errorf("after the release failed:\n%s", strings.Join(got, "\n"))
		}
	})
}

// TestOwn: an advisory of the distribution's own takes what it names at once.
func TestOwn(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.build(10, rpmbuild(t, "foo", "9.el9.alma", "", ""))
		f.build(20, rpmbuild(t, "foo", "9.el9.alma", "", ""))
		f.build(30, rpmbuild(t, "bar", "9.el9", "", ""))
		k := f.create("ALSA-2024:A001", "el9", "foo-1.0-9.el9.alma.x86_64", "bar-1.0-9.el9.alma.x86_64")
		f.want(k, "needs build", "bar-1.0-9.el9.alma.x86_64: the newest bar, of build 3, is 1.0-9.el9, older than 1.0-9.el9.alma",
			"foo-1.0-9.el9.alma.x86_64 ← foo-1.0-9.el9.alma.x86_64 of 2: approved",
			"foo-1.0-9.el9.alma.x86_64 ← foo-1.0-9.el9.alma.x86_64 of 1: skipped: foo-1.0-9.el9.alma.x86_64 of build 2 was chosen")

		// Who approves what albs has taken decides all the same: it stays with another build.
		f.decide(k, Decision{Action: Approve, Build: 2})
		f.build(40, rpmbuild(t, "foo", "9.el9.alma", "", ""))
		if got := f.told(k); !slices.Contains(got, "foo-1.0-9.el9.alma.x86_64 ← foo-1.0-9.el9.alma.x86_64 of 2: approved by mia") {
			t.Errorf("with another build:\n%s", strings.Join(got, "\n"))
		}
		changes, err := f.Errata.History(t.Context(), k, 0)
		must(t, err)
		if want := (errata.Difference{Field: "foo-1.0-9.el9.alma.x86_64 of build 2", Was: "approved by itself", Is: "approved"}); !slices.Contains(changes[0].Differences, want) {
			t.Errorf("the decision is in history as %+v, want %+v", changes[0].Differences, want)
		}
	})
}

// TestQueue: one id on two platforms is two advisories, in lists and in bulk.
func TestQueue(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		foo := "foo-1.0-9.el9.x86_64"
		nine := f.create("ALSA-2024:1", "el9", foo)
		eight := f.create("ALSA-2024:1", "el8", foo)
		f.create("ALSA-2024:2", "el9", "bar-1.0-1.x86_64")
		f.build(10, rpmbuild(t, "foo", "9.el9", "", ""))
		f.build(11, rpmbuild(t, "foo", "9.el9", "", ""))
		count := func(on string, want map[Stage]int) {
			t.Helper()
			got, err := f.Counts(t.Context(), on)
			must(t, err)
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("Counts(%q) = %v, want %v", on, got, want)
			}
		}
		count("", map[Stage]int{NeedsBuild: 1, NeedsMatch: 2})
		res, err := f.DecideEach(f.admin, []Request{
			{Key: eight, Decisions: []Decision{{Action: Approve, Build: 1}}},
			{Key: errata.Key{ID: "ALSA-2024:9", Platform: "el8"}, Decisions: []Decision{{Action: Approve, Build: 1}}},
		})
		must(t, err)
		if len(res) != 2 || res[0].Err != nil || res[0].Key != eight || albs.KindOf(res[1].Err) != albs.NotFound {
			t.Errorf("DecideEach = %+v", res)
		}
		count("el8", map[Stage]int{Ready: 1})
		count("el9", map[Stage]int{NeedsBuild: 1, NeedsMatch: 1})
		var got []errata.Key
		for page := (Filter{Limit: 1}); ; {
			list, more, err := f.Queue(t.Context(), page)
			must(t, err)
			for _, s := range list {
				got = append(got, s.Key)
				page.After = s.Key
			}
			if !more {
				break
			}
		}
		if want := []errata.Key{eight, nine, {ID: "ALSA-2024:2", Platform: "el9"}}; !slices.Equal(got, want) {
			t.Errorf("Queue = %v, want %v", got, want)
		}
		list, _, err := f.Queue(t.Context(), Filter{Platform: "el9", Stage: NeedsMatch})
		must(t, err)
		if len(list) != 1 || list[0] != (Standing{Key: nine, Stage: NeedsMatch, Wanted: 1, Open: 1}) {
			t.Errorf("Queue of one stage = %+v", list)
		}
		for _, tt := range []struct {
			stage Stage
			on    string
			want  int
		}{{NeedsMatch, "el9", 1}, {NeedsMatch, "el8", 0}, {Ready, "", 1}} {
			n, err := f.Errata.Count(t.Context(), errata.Query{Platform: tt.on, Only: Waiting(tt.stage)})
			must(t, err)
			if n != tt.want {
				t.Errorf("%d of platform %q are %s, want %d", n, tt.on, tt.stage, tt.want)
			}
		}
		of, err := f.OfBuild(t.Context(), 1)
		must(t, err)
		if !slices.Equal(of, []errata.Key{eight, nine}) {
			t.Errorf("OfBuild = %v", of)
		}
		known, err := f.Standings(t.Context(), []errata.Key{nine, eight, {ID: "none", Platform: "el9"}})
		must(t, err)
		if len(known) != 2 || known[eight].Stage != Ready {
			t.Errorf("Standings = %v", known)
		}

		// A reset since a day is for the platforms of those who ask for it.
		none, err := f.ResetSince(as(t.Context(), "eve", auth.ProductMaintainer, "other"), issued)
		wantKind(t, "reset by a maintainer of another team", err, albs.Forbidden)
		if none != nil {
			t.Errorf("reset by another team = %v", none)
		}
		all, err := f.ResetSince(f.admin, issued)
		must(t, err)
		if len(all) != 3 || slices.ContainsFunc(all, func(r Result) bool { return r.Err != nil }) {
			t.Errorf("ResetSince = %+v", all)
		}
		count("el8", map[Stage]int{NeedsMatch: 1})
		if late, err := f.ResetSince(f.admin, issued.Add(time.Second)); err != nil || late != nil {
			t.Errorf("ResetSince a later day = %v, %v", late, err)
		}

		// What is published waits no more.
		rec, err := f.Errata.Get(t.Context(), eight)
		must(t, err)
		must(t, f.DB.InTx(f.admin, func(tx db.Tx) error {
			if err := f.Errata.Begin(f.admin, tx, []errata.Key{eight}, 7); err != nil {
				return err
			}
			return f.Errata.Publish(f.admin, tx, []advisory.Advisory{rec.Advisory}, "demo", 7)
		}))
		f.catchUp()
		count("el8", map[Stage]int{})
	})
}

// TestRun: what happens while nobody looks is found by the follower, and an event that can't
// be read stops nobody.
func TestRun(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, dbtest.SQLite(t))
	f := open(t, d)
	f.tell(build.EventBuilt, "build:x", json.RawMessage(`{"item":"?"}`))
	mastertest.Run(t, f.Run)
	wake, stop := f.Events.Wake("errata:ALSA-2024:1/el9")
	defer stop()
	_, err := f.Errata.Create(f.admin, advisory.Advisory{
		ID: "ALSA-2024:1", Platform: "el9", Title: "a", Description: "b", Packages: []advisory.Package{{NEVRA: nevra(t, "foo-1-1.x86_64")}},
	}, errata.CreateOptions{})
	must(t, err)
	for deadline := time.After(time.Minute); ; {
		a, err := f.Of(t.Context(), errata.Key{ID: "ALSA-2024:1", Platform: "el9"})
		must(t, err)
		if a.Wanted[0].Lack == "nothing of foo was built for el9" {
			return
		}
		if a.Wanted[0].Lack != lackUnseen {
			t.Fatalf("wanted = %+v", a.Wanted)
		}
		select {
		case <-wake:
		case <-deadline:
			t.Fatal("the advisory wasn't matched within a minute")
		}
	}
}
