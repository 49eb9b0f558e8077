package record_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/mastertest"
	"albs/internal/master/product"
)

const (
	comps   = "<comps><group><id>core</id></group></comps>"
	other   = "<comps><group><id>other</id></group></comps>"
	modules = "document: modulemd-defaults\nversion: 1\ndata: {module: a}\n"
	path    = "el/x86_64/os"
)

func file(typ, text string) map[string]io.Reader {
	return map[string]io.Reader{typ: strings.NewReader(text)}
}

// open returns a master's modules with a product demo of team core, and an admin.
func open(t *testing.T, d *db.DB) (*mastertest.Modules, context.Context) {
	t.Helper()
	m := mastertest.Open(t, d, mastertest.Config{})
	token, err := m.Auth.Bootstrap(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	a, err := m.Auth.Authenticate(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	admin := auth.With(t.Context(), a)
	if _, err := m.Platforms.Apply(admin, mastertest.Platform("el", albs.X8664)); err != nil {
		t.Fatal(err)
	}
	_, err = m.Products.Apply(admin, product.Spec{
		Name: "demo", Team: "core", Platforms: []string{"el"},
		Repositories: []product.Repository{{Path: path, Platform: "el", Arch: albs.X8664, Kind: product.RPM}},
		Gate:         product.Gate{Tests: product.Advisory}, Approvals: product.Approvals{Count: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	return m, admin
}

// held lists what the product has, as "type file…", and checks that the bytes are there.
func held(t *testing.T, m *mastertest.Modules) []string {
	t.Helper()
	all, err := m.Records.Of(t.Context(), "demo")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, g := range all {
		line := g.Type + " " + g.Digest.Short()
		for _, f := range g.Files {
			line += " " + f.Name
			a, err := m.Artifacts.Find(t.Context(), f.Digest)
			if err != nil || a.Size != f.Size || a.Name != f.Name {
				t.Errorf("%s is kept as %+v, %v", f.Name, a, err)
			}
		}
		out = append(out, line)
	}
	return out
}

// events lists what was told of the product's records, once there are n: another
// test's transaction in the same cluster may hold them back for a moment.
func events(t *testing.T, m *mastertest.Modules, n int) []string {
	t.Helper()
	wake, stop := m.Events.Wake("product:demo")
	defer stop()
	late := time.After(time.Minute)
	for {
		all, err := m.Events.Since(t.Context(), 0, "product:demo", 100)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, e := range all {
			if strings.HasPrefix(e.Kind, "record.") {
				out = append(out, e.Kind)
			}
		}
		if len(out) >= n {
			return out
		}
		select {
		case <-wake:
		case <-time.After(20 * time.Millisecond):
		case <-late:
			return out
		}
	}
}

func TestSet(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		m, admin := open(t, d)
		name := func(s string) string { return albs.DigestOf([]byte(s)).Short() }
		group, mods := "group "+name(comps)+" comps.xml comps.xml.gz", "modules "+name(modules)+" modules.yaml.gz"
		for _, step := range []struct {
			name         string
			do           func() error
			want, events []string
		}{
			{"give one", func() error { _, err := m.Records.Set(admin, "demo", path, file("group", comps)); return err }, []string{group}, []string{"record.set"}},
			{"the same again, and another", func() error {
				files := file("group", comps)
				files["modules"] = strings.NewReader(modules)
				_, err := m.Records.Set(admin, "demo", path, files)
				return err
			}, []string{group, mods}, []string{"record.set", "record.set"}},
			{"another in its place", func() error { _, err := m.Records.Set(admin, "demo", path, file("group", other)); return err },
				[]string{"group " + name(other) + " comps.xml comps.xml.gz", mods}, []string{"record.set", "record.set", "record.set"}},
			{"take one away", func() error { return m.Records.Remove(admin, "demo", path, "group") },
				[]string{mods}, []string{"record.set", "record.set", "record.set", "record.removed"}},
		} {
			if err := step.do(); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
			if diff := cmp.Diff(step.want, held(t, m)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", step.name, diff)
			}
			if diff := cmp.Diff(step.events, events(t, m, len(step.events))); diff != "" {
				t.Errorf("%s: events (-want +got):\n%s", step.name, diff)
			}
		}
		// Every file has its record for the ledger, by the transaction that gave it.
		n, err := m.Provenance.Pending(t.Context())
		if err != nil || n != 5 {
			t.Errorf("%d records wait for the ledger, %v, want those of 5 files", n, err)
		}
	})
}

func TestSetRefuses(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		m, admin := open(t, d)
		u, err := m.Auth.CreateUser(admin, "eve")
		if err != nil {
			t.Fatal(err)
		}
		eve := auth.With(t.Context(), auth.Actor{Kind: auth.KindPerson, User: u.ID, Name: "eve", Grants: []auth.Grant{{Role: auth.ProductMaintainer, Team: "elsewhere"}}})
		set := func(ctx context.Context, name, path string, files map[string]io.Reader) error {
			_, err := m.Records.Set(ctx, name, path, files)
			return err
		}
		both := file("group", comps)
		both["modules"] = strings.NewReader("no modules")
		for name, tc := range map[string]struct {
			err  error
			want albs.Kind
		}{
			"nobody":                       {set(t.Context(), "demo", path, file("group", comps)), albs.Unauthenticated},
			"a stranger":                   {set(eve, "demo", path, file("group", comps)), albs.Forbidden},
			"a stranger removes":           {m.Records.Remove(eve, "demo", path, "group"), albs.Forbidden},
			"another product":              {set(admin, "none", path, file("group", comps)), albs.NotFound},
			"another repository":           {set(admin, "demo", "el/../x", file("group", comps)), albs.Invalid},
			"nothing":                      {set(admin, "demo", path, nil), albs.Invalid},
			"another type":                 {set(admin, "demo", path, file("primary", comps)), albs.Invalid},
			"a broken file":                {set(admin, "demo", path, file("group", comps[:20])), albs.Invalid},
			"a broken file beside another": {set(admin, "demo", path, both), albs.Invalid},
			"remove what isn't there":      {m.Records.Remove(admin, "demo", path, "group"), albs.NotFound},
		} {
			if albs.KindOf(tc.err) != tc.want {
				t.Errorf("%s: %v, want %s", name, tc.err, tc.want)
			}
		}
		if got := held(t, m); len(got) > 0 {
			t.Errorf("what was refused has left %v", got)
		}
	})
}
