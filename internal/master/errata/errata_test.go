package errata_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/errata"
	"albs/internal/master/mastertest"
	"albs/internal/rpm"
)

// builds are those of the tests: 1 to 9 are there.
type builds struct{}

func (builds) There(_ context.Context, _ db.Q, id albs.BuildID) error {
	if id < 1 || id > 9 {
		return albs.Errorf(albs.NotFound, "there is no build %d", id)
	}
	return nil
}

type fixture struct {
	*errata.Errata
	*mastertest.Modules
	t     *testing.T
	admin context.Context
}

// open returns advisories over d, with the platforms el9 and el8 of team core, the
// platform bare without advisories, and builds 1 to 9.
func open(t *testing.T, d *db.DB) *fixture {
	t.Helper()
	m := mastertest.Open(t, d, mastertest.Config{})
	f := &fixture{Modules: m, t: t, admin: as(t.Context(), auth.Admin, "")}
	f.Errata = errata.New(errata.Parts{DB: d, Events: m.Events, Provenance: m.Provenance, Platforms: m.Platforms, Builds: builds{}})
	for _, p := range []string{"el9", "el8"} {
		if _, err := m.Platforms.Apply(f.admin, mastertest.Errata(mastertest.Platform(p, albs.X8664), "core")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := m.Platforms.Apply(f.admin, mastertest.Platform("bare", albs.X8664)); err != nil {
		t.Fatal(err)
	}
	for id := range 9 {
		_, err := d.ExecContext(t.Context(), `INSERT INTO build (id, owner_id, owner, team, product, options, created_at) VALUES ($1, 1, 'olga', '', '', '{}', $2)`, id+1, db.Now())
		if err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// as returns a context in which a person with a role acts.
func as(ctx context.Context, r auth.Role, team string) context.Context {
	return auth.With(ctx, auth.Actor{Kind: auth.KindPerson, User: 1, Name: "olga", Grants: []auth.Grant{{Role: r, Team: team}}})
}

func each(t *testing.T, run func(t *testing.T, f *fixture)) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) { run(t, open(t, d)) })
}

var issued = time.Date(2024, 5, 6, 0, 0, 0, 0, time.UTC)

func nevra(s string) rpm.NEVRA {
	n, err := rpm.ParseNEVRA(s)
	if err != nil {
		panic(err)
	}
	return n
}

// note returns an advisory of el9.
func note(id string) advisory.Advisory {
	return advisory.Advisory{
		ID: id, Platform: "el9", Severity: advisory.Moderate, Title: "bash security update", Description: "Bash was wrong.",
		Issued: issued, Updated: issued,
		CVEs:       []advisory.CVE{{ID: "CVE-2024-1111"}},
		References: []advisory.Reference{{Kind: advisory.ToCVE, ID: "CVE-2024-1111", URL: "https://cve.example/CVE-2024-1111"}},
		Packages:   []advisory.Package{{NEVRA: nevra("bash-5.1-2.el9.x86_64")}, {NEVRA: nevra("bash-doc-5.1-2.el9.noarch")}},
	}
}

func (f *fixture) create(a advisory.Advisory, o errata.CreateOptions) errata.Record {
	f.t.Helper()
	r, err := f.Create(f.admin, a, o)
	if err != nil {
		f.t.Fatalf("Create(%s) = %v", a.ID, err)
	}
	return r
}

func (f *fixture) tx(do func(tx db.Tx) error) error { return f.DB().InTx(f.admin, do) }

// DB is the database, which both of what the fixture is made of have.
func (f *fixture) DB() *db.DB { return f.Modules.DB }

func wantKind(t *testing.T, what string, err error, want albs.Kind) {
	t.Helper()
	if albs.KindOf(err) != want {
		t.Errorf("%s = %v, want kind %q", what, err, want)
	}
}

func ptr[T any](v T) *T { return &v }

func TestCreate(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		r := f.create(note("ALSA-2024:1"), errata.CreateOptions{Builds: []albs.BuildID{3, 1, 3}, Reason: "we were told"})
		if r.Revision != 1 || r.State != errata.NotReleased || r.Own || !r.Pending || r.Shown != 0 || r.Advisory.Type != advisory.Security || r.Advisory.Version != 1 {
			t.Errorf("Create = %+v", r)
		}
		if diff := cmp.Diff([]albs.BuildID{1, 3}, r.Builds); diff != "" {
			t.Error(diff)
		}
		if r.Advisory.Rights != "Copyright 2024 AlmaLinux" || r.Advisory.From != "packager@almalinux.example" {
			t.Errorf("the platform's words are missing: %+v", r.Advisory)
		}
		self := r.Advisory.References[0]
		if self.Kind != advisory.ToSelf || self.URL != "https://repo.example/errata/el9/html/ALSA-2024-1.html" {
			t.Errorf("the reference to its own page is %+v", self)
		}
		got, err := f.Get(t.Context(), r.Key) // anyone may read
		if diff := cmp.Diff(r, got); diff != "" || err != nil {
			t.Errorf("Get (-want +got): %v\n%s", err, diff)
		}
		hist, err := f.History(t.Context(), r.Key, 0)
		if err != nil || len(hist) != 1 || hist[0].Kind != errata.Created || hist[0].Actor != "user:olga" || hist[0].Reason != "we were told" {
			t.Errorf("History = %+v, %v", hist, err)
		}

		// The same id on another platform is another advisory.
		other := note("ALSA-2024:1")
		other.Platform, other.Title = "el8", "another"
		if o := f.create(other, errata.CreateOptions{}); o.Advisory.Title != "another" {
			t.Errorf("on el8 it is %+v", o)
		}
		if again, err := f.Get(t.Context(), r.Key); err != nil || again.Advisory.Title != "bash security update" {
			t.Errorf("on el9 it became %+v, %v", again, err)
		}
		_, err = f.Create(f.admin, note("ALSA-2024:1"), errata.CreateOptions{})
		wantKind(t, "the same once more", err, albs.Conflict)
	})
}

// TestBadCreate: what can't be an advisory isn't kept.
func TestBadCreate(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		for name, tt := range map[string]struct {
			change func(a *advisory.Advisory, o *errata.CreateOptions)
			want   albs.Kind
		}{
			"an unknown platform":    {func(a *advisory.Advisory, _ *errata.CreateOptions) { a.Platform = "nowhere" }, albs.NotFound},
			"a platform without":     {func(a *advisory.Advisory, _ *errata.CreateOptions) { a.Platform = "bare" }, albs.Invalid},
			"an id of another form":  {func(a *advisory.Advisory, _ *errata.CreateOptions) { a.ID = "RHSA-2024:1" }, albs.Invalid},
			"an id as a path":        {func(a *advisory.Advisory, _ *errata.CreateOptions) { a.ID = "../../x" }, albs.Invalid},
			"a type that isn't its":  {func(a *advisory.Advisory, _ *errata.CreateOptions) { a.Type = advisory.Bugfix }, albs.Invalid},
			"no title":               {func(a *advisory.Advisory, _ *errata.CreateOptions) { a.Title = "" }, albs.Invalid},
			"a description of bytes": {func(a *advisory.Advisory, _ *errata.CreateOptions) { a.Description = "\x00" }, albs.Invalid},
			"an update before it":    {func(a *advisory.Advisory, _ *errata.CreateOptions) { a.Updated = issued.AddDate(0, 0, -1) }, albs.Invalid},
			"an unknown build":       {func(_ *advisory.Advisory, o *errata.CreateOptions) { o.Builds = []albs.BuildID{10} }, albs.NotFound},
			"too many builds": {func(_ *advisory.Advisory, o *errata.CreateOptions) {
				o.Builds = make([]albs.BuildID, errata.MaxBuilds+1)
			}, albs.TooLarge},
			"a bad reason": {func(_ *advisory.Advisory, o *errata.CreateOptions) { o.Reason = "\x1b" }, albs.Invalid},
		} {
			a, o := note("ALSA-2024:1"), errata.CreateOptions{}
			tt.change(&a, &o)
			_, err := f.Create(f.admin, a, o)
			wantKind(t, name, err, tt.want)
		}
		if n, err := f.Count(t.Context(), errata.Query{}); n != 0 || err != nil {
			t.Errorf("%d advisories are there, %v", n, err)
		}
	})
}

// TestOwn: the server gives the ids of the distribution's own series.
func TestOwn(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		a := note("")
		a.Type = advisory.Security
		one := f.create(a, errata.CreateOptions{})
		a.Platform = "el8"
		two := f.create(a, errata.CreateOptions{})
		a.ID = "ALSA-2024:A041"
		f.create(a, errata.CreateOptions{})
		a.ID, a.Platform = "", "el9"
		next := f.create(a, errata.CreateOptions{})
		a.Type = advisory.Bugfix
		bug := f.create(a, errata.CreateOptions{})
		got := []string{one.ID, two.ID, next.ID, bug.ID}
		if diff := cmp.Diff([]string{"ALSA-2024:A001", "ALSA-2024:A002", "ALSA-2024:A042", "ALBA-2024:A001"}, got); diff != "" || !one.Own {
			t.Errorf("own %v: %s", one.Own, diff)
		}
		a.Type = advisory.NewPackage
		_, err := f.Create(f.admin, a, errata.CreateOptions{})
		wantKind(t, "a type without ids", err, albs.Invalid)
	})
}

// TestEdit: an edit needs the revision that it rests on, keeps the original and tells
// what it changed.
func TestEdit(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		r := f.create(note("ALSA-2024:1"), errata.CreateOptions{})
		e := errata.Edit{
			Reason: "it is worse", Severity: ptr(advisory.Critical), Title: ptr("bash is bad"), Builds: &[]albs.BuildID{2}, Frozen: ptr(true),
			Packages: &[]advisory.Package{{NEVRA: nevra("bash-5.1-2.el9.x86_64"), Reboot: true, Repository: "somewhere", Digest: albs.DigestOf([]byte("x"))}},
		}
		got, err := f.Edit(f.admin, r.Key, 1, e)
		if err != nil || got.Revision != 2 || got.Advisory.Title != "bash is bad" || got.Original.Title != "bash security update" || !got.Frozen || len(got.Builds) != 1 {
			t.Fatalf("Edit = %+v, %v", got, err)
		}
		if p := got.Advisory.Packages; len(p) != 1 || p[0].Repository != "" || p[0].Digest != "" {
			t.Errorf("the packages that are wanted are %+v", p)
		}
		_, err = f.Edit(f.admin, r.Key, 1, errata.Edit{Title: ptr("another")})
		wantKind(t, "an edit of the revision before", err, albs.Conflict)
		same, err := f.Edit(f.admin, r.Key, 2, e)
		if err != nil || same.Revision != 2 {
			t.Errorf("the same edit once more = revision %d, %v", same.Revision, err)
		}
		_, err = f.Edit(f.admin, r.Key, 2, errata.Edit{Title: ptr("")})
		wantKind(t, "an edit to no title", err, albs.Invalid)
		_, err = f.Edit(f.admin, errata.Key{ID: "ALSA-2024:2", Platform: "el9"}, 1, e)
		wantKind(t, "an edit of nothing", err, albs.NotFound)

		hist, err := f.History(t.Context(), r.Key, 0)
		if err != nil || len(hist) != 2 {
			t.Fatalf("History = %+v, %v", hist, err)
		}
		want := []errata.Difference{
			{"severity", "moderate", "critical"},
			{"title", "bash security update", "bash is bad"},
			{Field: "packages", Was: "bash-5.1-2.el9.x86_64"},
			{Field: "packages", Was: "bash-doc-5.1-2.el9.noarch"},
			{Field: "packages", Is: "bash-5.1-2.el9.x86_64, reboot"},
			{"frozen", "no", "yes"},
			{Field: "builds", Is: "2"},
		}
		if diff := cmp.Diff(want, hist[0].Differences); diff != "" || hist[0].Reason != "it is worse" {
			t.Errorf("the edit's differences (-want +got):\n%s", diff)
		}
	})
}

func TestList(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		for i := range 5 {
			a := note(fmt.Sprintf("ALSA-2024:%d", i+1))
			a.Issued = issued.AddDate(0, 0, i/2)
			a.Updated = a.Issued
			if i == 3 {
				a.Platform, a.Title, a.CVEs, a.Severity = "el8", "ZSH_is 100% Bad", []advisory.CVE{{ID: "CVE-2023-9999"}}, advisory.None
			}
			f.create(a, errata.CreateOptions{Builds: []albs.BuildID{albs.BuildID(i + 1)}})
		}
		ids := func(q errata.Query) []string {
			t.Helper()
			var out []string
			for {
				p, err := f.List(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range p.Records {
					out = append(out, r.ID[len("ALSA-2024:"):])
					if len(r.Builds) != 1 {
						t.Errorf("%s has the builds %v", r.ID, r.Builds)
					}
				}
				if p.Next == (errata.Place{}) {
					return out
				}
				q.Before, q.Skip = p.Next, 0
			}
		}
		for name, tt := range map[string]struct {
			q    errata.Query
			want []string
		}{
			"all":         {errata.Query{}, []string{"5", "4", "3", "2", "1"}},
			"by pages":    {errata.Query{Limit: 2}, []string{"5", "4", "3", "2", "1"}},
			"skipping":    {errata.Query{Limit: 2, Skip: 3}, []string{"2", "1"}},
			"by platform": {errata.Query{Platform: "el8"}, []string{"4"}},
			"by title":    {errata.Query{Title: "zsh_IS 100%"}, []string{"4"}},
			"no pattern":  {errata.Query{Title: "b%h"}, nil},
			"by CVE":      {errata.Query{CVE: "CVE-2024-1111"}, []string{"5", "3", "2", "1"}},
			"by ids":      {errata.Query{IDs: []string{"ALSA-2024:1", "ALSA-2024:5", "ALSA-2024:9"}}, []string{"5", "1"}},
			"by build":    {errata.Query{Only: errata.Only{SQL: "EXISTS (SELECT 1 FROM advisory_build x JOIN advisory y ON y.id = x.advisory_id WHERE y.name = a.name AND y.platform = a.platform AND x.build_id > $%d)", Arg: 2}, Platform: "el9"}, []string{"5", "3"}},
			"by state":    {errata.Query{State: errata.Released}, nil},
			"by type":     {errata.Query{Type: advisory.Bugfix}, nil},
			"since a day": {errata.Query{Since: issued.AddDate(0, 0, 1)}, []string{"5", "4", "3"}},
			"until a day": {errata.Query{Since: issued, Until: issued.AddDate(0, 0, 1)}, []string{"2", "1"}},
			"of none":     {errata.Query{Severity: ptr(advisory.None)}, []string{"4"}},
			"that wait":   {errata.Query{Pending: true, Platform: "el9", Type: advisory.Security}, []string{"5", "3", "2", "1"}},
		} {
			if diff := cmp.Diff(tt.want, ids(tt.q)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
			if tt.q.Skip == 0 {
				if n, err := f.Count(t.Context(), tt.q); n != len(tt.want) || err != nil {
					t.Errorf("%s: Count = %d, %v", name, n, err)
				}
			}
		}
		_, err := f.List(t.Context(), errata.Query{Limit: errata.MaxPage + 1})
		wantKind(t, "a list of too many", err, albs.Invalid)

		var waiting []string
		for after := (errata.Key{}); ; {
			rs, err := f.Unreleased(t.Context(), "", after, 2)
			if err != nil {
				t.Fatal(err)
			}
			if len(rs) == 0 {
				break
			}
			for _, r := range rs {
				waiting = append(waiting, r.Key.String())
				after = r.Key
			}
		}
		if diff := cmp.Diff([]string{"ALSA-2024:1/el9", "ALSA-2024:2/el9", "ALSA-2024:3/el9", "ALSA-2024:4/el8", "ALSA-2024:5/el9"}, waiting); diff != "" {
			t.Error(diff)
		}
		var all []string
		if err := f.Summaries(t.Context(), "el9", func(s errata.Summary) error { all = append(all, s.ID); return nil }); err != nil || len(all) != 4 || !slices.IsSorted(all) {
			t.Errorf("Summaries = %v, %v", all, err)
		}
	})
}

// TestPermissions: whoever isn't of the platform's team changes nothing, and what is
// published is not for contributors.
func TestPermissions(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		r := f.create(note("ALSA-2024:1"), errata.CreateOptions{})
		try := map[string]func(ctx context.Context) error{
			"create": func(ctx context.Context) error {
				_, err := f.Create(ctx, note("ALSA-2024:1"), errata.CreateOptions{})
				return err
			},
			"edit": func(ctx context.Context) error {
				_, err := f.Edit(ctx, r.Key, 99, errata.Edit{})
				return err
			},
			"withdraw": func(ctx context.Context) error {
				_, err := f.Withdraw(ctx, errata.Key{ID: "ALSA-2024:9", Platform: "el9"}, "no")
				return err
			},
			"restore": func(ctx context.Context) error { _, err := f.Restore(ctx, r.Key, "no"); return err },
		}
		for who, tt := range map[string]struct {
			ctx context.Context
			may string // what gets as far as another error
			not albs.Kind
		}{
			"nobody":                    {t.Context(), "", albs.Unauthenticated},
			"a verified person":         {auth.With(t.Context(), auth.Actor{Kind: auth.KindPerson, User: 7, Name: "eve"}), "", albs.Forbidden},
			"a maintainer of another":   {as(t.Context(), auth.ProductMaintainer, "games"), "", albs.Forbidden},
			"an operator":               {as(t.Context(), auth.Operator, ""), "", albs.Forbidden},
			"a signer":                  {as(t.Context(), auth.Signer, "core"), "", albs.Forbidden},
			"a contributor of the team": {as(t.Context(), auth.Contributor, "core"), "create edit", albs.Forbidden},
			"a maintainer of the team":  {as(t.Context(), auth.ProductMaintainer, "core"), "create edit withdraw restore", albs.Forbidden},
		} {
			for what, do := range try {
				kind := albs.KindOf(do(tt.ctx))
				if may := slices.Contains(strings.Fields(tt.may), what); may == (kind == tt.not) || may && kind == "" {
					t.Errorf("%s of %s is %q", what, who, kind)
				}
			}
		}
	})
}
