package publish

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/rs/zerolog"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/errata"
	"albs/internal/master/mastertest"
	"albs/internal/master/product"
	"albs/internal/master/release"
	"albs/internal/master/release/plan"
	"albs/internal/master/sign"
	"albs/internal/repodata"
	"albs/internal/repodata/updateinfo"
	"albs/internal/rpm"
	"albs/internal/rpm/rpmtest"
)

// answers are what was chosen, by advisory.
type answers struct {
	chosen map[errata.Key][]Answer
	lacks  map[errata.Key][]Lack
}

func (a answers) Chosen(_ context.Context, k errata.Key) ([]Answer, []Lack, error) {
	return a.chosen[k], a.lacks[k], nil
}

// keys are two, one of them revoked.
type keys struct{}

func (keys) Key(_ context.Context, name string) (sign.Key, error) {
	switch name {
	case "demo":
		return sign.Key{Name: name, Fingerprint: strings.Repeat("AB", 20)}, nil
	case "revoked":
		return sign.Key{Name: name, Fingerprint: strings.Repeat("CD", 20), RevokedAt: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}, nil
	}
	return sign.Key{}, albs.Errorf(albs.NotFound, "there is no key %s", name)
}

type noBuilds struct{}

func (noBuilds) There(context.Context, db.Q, albs.BuildID) error { return nil }

// fixture is a product of two platforms, el9 and el8, that shows a tree. The test plays
// releases: it plans, and takes over what comes of it.
type fixture struct {
	*Publisher
	*mastertest.Modules
	t       testing.TB
	admin   context.Context
	answers answers
	product product.Product
	tree    repodata.Tree
	records map[string][]repodata.Record
	given   map[string][]repodata.Record
	holds   map[string][]release.Package // by repository
	at      time.Time
	release albs.ReleaseID
}

var key9, key8 = errata.Key{ID: "ALSA-2026:1", Platform: "el9"}, errata.Key{ID: "ALSA-2026:1", Platform: "el8"}

const os9, weak9, debug9, os8 = "9/x86_64/os", "9/aarch64/os", "9/x86_64/debug", "8/x86_64/os"

func open(t *testing.T, d *db.DB) *fixture {
	t.Helper()
	return openWith(t, d)
}

func openWith(t testing.TB, d *db.DB) *fixture {
	t.Helper()
	m := mastertest.Open(t, d, mastertest.Config{})
	f := &fixture{Modules: m, t: t, admin: as(t.Context(), auth.Admin, ""), answers: answers{map[errata.Key][]Answer{}, map[errata.Key][]Lack{}},
		holds: map[string][]release.Package{}, given: map[string][]repodata.Record{}, at: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}
	for _, p := range []string{"el9", "el8"} {
		_, err := m.Platforms.Apply(f.admin, mastertest.Errata(mastertest.Platform(p, albs.X8664, albs.AArch64), "core"))
		f.must(err)
	}
	f.product = product.Product{Spec: product.Spec{Name: "demo", Team: "core", Platforms: []string{"el9", "el8"}, Key: "demo", Repositories: []product.Repository{
		{Path: os9, Platform: "el9", Arch: albs.X8664, Kind: product.RPM}, {Path: weak9, Platform: "el9", Arch: albs.AArch64, Kind: product.RPM},
		{Path: debug9, Platform: "el9", Arch: albs.X8664, Kind: product.Debug}, {Path: os8, Platform: "el8", Arch: albs.X8664, Kind: product.RPM},
	}}}
	records := errata.New(errata.Parts{DB: d, Events: m.Events, Provenance: m.Provenance, Platforms: m.Platforms, Builds: noBuilds{}})
	f.Publisher = New(Parts{DB: d, Artifacts: m.Artifacts, Platforms: m.Platforms, Keys: keys{}, Errata: records, Answers: &f.answers, Dir: t.TempDir(), Log: zerolog.Nop()})
	return f
}

func as(ctx context.Context, r auth.Role, team string) context.Context {
	return auth.With(ctx, auth.Actor{Kind: auth.KindPerson, User: 1, Name: "olga", Grants: []auth.Grant{{Role: r, Team: team}}})
}

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func nevra(s string) rpm.NEVRA {
	n, err := rpm.ParseNEVRA(s)
	if err != nil {
		panic(err)
	}
	return n
}

var builtRPMs struct {
	sync.Mutex
	rpms map[string][]byte // by file name
}

// rpmOf returns the package name-1.0-rel.noarch, or of an arch, with a module's label if
// that isn't "".
func rpmOf(t testing.TB, name, arch, label string) []byte {
	t.Helper()
	builtRPMs.Lock()
	defer builtRPMs.Unlock()
	at := name + arch + label
	if builtRPMs.rpms[at] == nil {
		if builtRPMs.rpms == nil {
			builtRPMs.rpms = map[string][]byte{}
		}
		module := ""
		if label != "" {
			module = "%define modularitylabel " + label + "\nModularityLabel: " + label + "\n"
		}
		m, err := rpmtest.Build(fmt.Sprintf("%%define debug_package %%{nil}\n%sName: %s\nVersion: 1.0\nRelease: 1\nSummary: A\nLicense: MIT\n%s%%description\nA.\n%%files\n",
			module, name, map[bool]string{true: "BuildArch: noarch\n"}[arch == "noarch"]), "--target", arch)
		if err != nil {
			t.Fatal(err)
		}
		builtRPMs.rpms[at] = m[name+"-1.0-1."+arch+".rpm"]
	}
	return builtRPMs.rpms[at]
}

// hold puts a package, name.arch or name.arch@label, that was signed into repositories, and
// returns the answer that it is.
func (f *fixture) hold(what string, paths ...string) Answer {
	f.t.Helper()
	what, label, _ := strings.Cut(what, "@")
	name, arch, _ := strings.Cut(what, ".")
	b := rpmOf(f.t, name, arch, label)
	a, err := f.Modules.Artifacts.Save(f.t.Context(), bytes.NewReader(b), 1<<20, name+"-1.0-1."+arch+".rpm", artifact.RPM)
	f.must(err)
	a.Unsigned, a.SignedBy = albs.DigestOf([]byte("unsigned "+what)), "KEY"
	f.must(f.Modules.DB.InTx(f.t.Context(), func(tx db.Tx) error { return f.Modules.Artifacts.Add(f.t.Context(), tx, a) }))
	for _, p := range paths {
		f.holds[p] = append(f.holds[p], release.Package{NEVRA: a.NEVRA, Digest: a.Digest})
	}
	return Answer{Wanted: a.NEVRA, NEVRA: a.NEVRA, Unsigned: a.Unsigned}
}

// advise makes an advisory that wants what answers it.
func (f *fixture) advise(k errata.Key, chosen ...Answer) {
	f.t.Helper()
	issued := time.Date(2026, 2, 3, 0, 0, 0, 0, time.UTC)
	a := advisory.Advisory{
		ID: k.ID, Platform: k.Platform, Severity: advisory.Important, Title: "hello security update of " + k.Platform, Description: "A <b>bug</b> & more.", Issued: issued,
		CVEs: []advisory.CVE{{ID: "CVE-2026-10001"}},
	}
	for _, n := range chosen {
		if n.Wanted != (rpm.NEVRA{}) {
			a.Packages = append(a.Packages, advisory.Package{NEVRA: n.Wanted, Reboot: true})
		}
	}
	_, err := f.Errata.Create(f.admin, a, errata.CreateOptions{})
	f.must(err)
	f.answers.chosen[k] = chosen
}

func want(keys ...errata.Key) (out []plan.Wanted) {
	for _, k := range keys {
		out = append(out, plan.Wanted{Part: Name, Name: k.String()})
	}
	return out
}

func (f *fixture) ask(wanted ...plan.Wanted) release.Ask {
	return release.Ask{
		Product: f.product, Wanted: wanted, At: f.at, Key: "KEY", Serial: f.tree.Serial, Tree: f.tree, Given: f.given,
		Holds: func(_ context.Context, path string) ([]release.Package, error) { return f.holds[path], nil },
	}
}

func (f *fixture) share(wanted ...plan.Wanted) plan.Share {
	f.t.Helper()
	s, err := f.Share(f.t.Context(), f.ask(wanted...))
	f.must(err)
	return s
}

// publish plays a release.
func (f *fixture) publish(wanted ...plan.Wanted) plan.Share {
	f.t.Helper()
	s := f.share(wanted...)
	if len(s.Refusals) > 0 {
		f.t.Fatalf("refused: %v", s.Refusals)
	}
	f.release++
	turn := release.Turn{Release: f.release, Product: "demo", Items: s.Items, From: f.tree}
	f.tx(func(tx db.Tx) error { return f.Start(f.admin, tx, turn) })
	changes := s.DiffFiles(f.tree.Files)
	turn.To = repodata.Tree{Product: "demo", Serial: f.tree.Serial + 1, Files: plan.ApplyFiles(f.tree.Files, changes)}
	for _, c := range changes {
		if c.Action == plan.Add && c.Sign { // as the signer does
			turn.To.Files = append(turn.To.Files, repodata.TreeFile{Path: c.Signature(), Digest: c.Digest})
		}
	}
	write, err := f.Released(f.t.Context(), turn)
	f.must(err)
	f.tx(func(tx db.Tx) error { return write(f.admin, tx) })
	f.tree, f.records, f.at = turn.To, s.Records, f.at.Add(time.Hour)
	return s
}

func (f *fixture) tx(do func(db.Tx) error) {
	f.t.Helper()
	f.must(f.Modules.DB.InTx(f.admin, do))
}

// stands wants an advisory to stand so: "state shows N".
func (f *fixture) stands(k errata.Key, want string) {
	f.t.Helper()
	r, err := f.Errata.Get(f.t.Context(), k)
	f.must(err)
	if got := fmt.Sprintf("%s shows %d", r.State, r.Shown); got != want {
		f.t.Errorf("advisory %s is %s, want %s", k, got, want)
	}
}

// file returns the contents of a file of the tree.
func (f *fixture) file(path string) string {
	f.t.Helper()
	i := slices.IndexFunc(f.tree.Files, func(t repodata.TreeFile) bool { return t.Path == path })
	if i < 0 {
		f.t.Fatalf("the tree has no %s", path)
	}
	return f.blob(f.tree.Files[i].Digest)
}

func (f *fixture) blob(d albs.Digest) string {
	f.t.Helper()
	b, err := f.bytes(f.t.Context(), d)
	f.must(err)
	return string(b)
}

// notices returns what the updateinfo of a repository says: ID version, with name@digest and
// module of each package.
func (f *fixture) notices(path string) []string {
	f.t.Helper()
	if len(f.records[path]) == 0 {
		return nil
	}
	z, err := gzip.NewReader(strings.NewReader(f.blob(f.records[path][0].Digest)))
	f.must(err)
	b, err := io.ReadAll(z)
	f.must(err)
	var out []string
	f.must(updateinfo.Read(bytes.NewReader(b), func(u updateinfo.Update) error {
		line := u.ID + " " + u.Version
		for _, c := range u.Collections {
			for _, p := range c.Packages {
				line += " " + p.Name + "@" + p.Sum[:6]
				if c.Module != nil {
					line += "@" + c.Module.Name + ":" + c.Module.Stream + ":" + c.Module.Arch
				}
				if p.Reboot {
					line += "!"
				}
			}
		}
		out = append(out, line)
		return nil
	}))
	return out
}

func (f *fixture) held(path, name string) string {
	for _, h := range f.holds[path] {
		if h.Name == name {
			return name + "@" + string(h.Digest)[:6]
		}
	}
	f.t.Fatalf("%s has no %s", path, name)
	return ""
}

func paths(s plan.Share) (out []string) {
	for _, file := range s.Files {
		out = append(out, file.Path)
	}
	slices.Sort(out)
	return out
}

// TestPublish: what a release shows of advisories, as they are published, issued anew, taken
// back, and brought back; of two platforms each has its own.
func TestPublish(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := open(t, d)
		if s := f.share(); len(s.Folders)+len(s.Types)+len(s.Files)+len(s.Refusals) > 0 || s.Records != nil {
			t.Errorf("without advisories it has %+v", s)
		}
		hello, doc := f.hold("hello.x86_64", os9), f.hold("hello-doc.noarch", os9, weak9)
		virt := f.hold("virt.x86_64@virt:rhel:9050:abcd", os9)
		old := f.hold("old.x86_64", os8)
		f.advise(key9, hello, doc, virt)
		f.advise(key8, old)

		s := f.publish(want(key9)...)
		f.stands(key9, "released shows 1")
		f.stands(key8, "not released shows 0")
		if diff := cmp.Diff([]string{"ALSA-2026:1 1 " + f.held(os9, "hello") + "! " + f.held(os9, "hello-doc") + "! " + f.held(os9, "virt") + "@virt:rhel:x86_64!"}, f.notices(os9)); diff != "" {
			t.Errorf("updateinfo of %s (-want +got):\n%s", os9, diff)
		}
		if diff := cmp.Diff([]string{"ALSA-2026:1 1 " + f.held(weak9, "hello-doc") + "!"}, f.notices(weak9)); diff != "" {
			t.Errorf("updateinfo of %s (-want +got):\n%s", weak9, diff)
		}
		if len(f.records) != 2 {
			t.Errorf("repositories with an updateinfo: %v", slices.Sorted(maps.Keys(f.records)))
		}
		a, err := advisory.Parse([]byte(f.file("errata/el9/advisories/ALSA-2026-1.json")))
		if err != nil || a.Version != 1 || !a.Updated.Equal(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)) || len(a.Packages) != 4 || a.Packages[0].Repository == "" {
			t.Errorf("the advisory is %+v, %v", a, err)
		}
		i, err := f.Errata.Issue(t.Context(), key9, 1)
		if err != nil || string(i.Document) != f.file("errata/el9/advisories/ALSA-2026-1.json") {
			t.Errorf("the record has other bytes than the tree: %v", err)
		}
		first := f.tree
		var signed []string
		for _, file := range s.Files {
			if file.Sign {
				signed = append(signed, file.Path)
			}
		}
		if diff := cmp.Diff([]string{"errata/el9/csaf/2026/alsa-2026_1.json"}, signed); diff != "" {
			t.Errorf("signed files (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{
			".well-known/csaf/provider-metadata.json", "errata/el9/advisories/ALSA-2026-1.json", "errata/el9/csaf/2026/alsa-2026_1.json", "errata/el9/csaf/2026/alsa-2026_1.json.sha256",
			"errata/el9/csaf/2026/alsa-2026_1.json.sha512", "errata/el9/csaf/changes.csv", "errata/el9/csaf/csaf-feed-tlp-white.json", "errata/el9/csaf/index.txt", "errata/el9/csaf/provider-metadata.json",
			"errata/el9/errata.full.json", "errata/el9/errata.json", "errata/el9/errata.rss", "errata/el9/html/ALSA-2026-1.html", "errata/el9/html/errata.css", "errata/el9/html/errata.js",
			"errata/el9/html/index.html", "errata/el9/osv/ALSA-2026-1.json", "errata/el9/oval/example.almalinux.errata-9.xml.gz",
		}, paths(s)); diff != "" {
			t.Errorf("files (-want +got):\n%s", diff)
		}
		pf, err := f.Publisher.Platforms.Get(t.Context(), "el9")
		f.must(err)
		dist, err := errata.Distribution(pf)
		f.must(err)
		addresses := Addresses(a, dist)
		for _, at := range addresses { // who follows one finds what was published
			f.file("errata/el9/" + strings.TrimPrefix(at.URL, dist.URL+"/"))
		}
		if len(addresses) != 8 {
			t.Errorf("it is read at %v", addresses)
		}

		// The same id on another platform is another advisory.
		f.publish(want(key8)...)
		f.stands(key8, "released shows 1")
		if got := f.file("errata/el8/advisories/ALSA-2026-1.json"); !strings.Contains(got, "of el8") || !strings.Contains(got, "old-1.0-1.x86_64") && !strings.Contains(got, `"old"`) {
			t.Errorf("the advisory of el8 is %s", got)
		}
		if got := f.file("errata/el9/osv/ALSA-2026-1.json"); strings.Contains(got, "of el8") {
			t.Errorf("the advisory of el9 has become %s", got)
		}
		if diff := cmp.Diff([]string{"ALSA-2026:1 1 " + f.held(os8, "old") + "!"}, f.notices(os8)); diff != "" {
			t.Errorf("updateinfo of %s (-want +got):\n%s", os8, diff)
		}

		// Nothing changes by what isn't wanted, nor by asking twice.
		s = f.share()
		if d := s.DiffFiles(f.tree.Files); len(d) > 0 || len(s.Records) != 3 {
			t.Errorf("a release of something else changes %v", d)
		}
		if x := f.share(want(key9)...); len(x.Refusals) != 1 || !strings.Contains(x.Refusals[0].Reason, "shown already") {
			t.Errorf("what is shown as it is: %v", x.Refusals)
		}

		// Issued anew it is the next version, and the former one stays on record.
		r, err := f.Errata.Get(t.Context(), key9)
		f.must(err)
		title := "hello security and bug fix update"
		_, err = f.Errata.Edit(f.admin, key9, r.Revision, errata.Edit{Title: &title, Reason: "more was fixed"})
		f.must(err)
		one, two := f.share(want(key9)...), f.share(want(key9)...)
		if diff := cmp.Diff(one, two); diff != "" {
			t.Errorf("asked twice it has (-first +second):\n%s", diff)
		}
		f.publish(want(key9)...)
		f.stands(key9, "released shows 2")
		if got := f.notices(os9); len(got) != 1 || !strings.HasPrefix(got[0], "ALSA-2026:1 2 ") {
			t.Errorf("updateinfo has %v", got)
		}
		if i, err := f.Errata.Issue(t.Context(), key9, 1); err != nil || !strings.Contains(string(i.Document), "of el9") {
			t.Errorf("version 1 is %s, %v", i.Document, err)
		}

		// Taken back it is shown as such, and no updateinfo has it.
		_, err = f.Errata.Withdraw(f.admin, key9, "it was no bug")
		f.must(err)
		s = f.publish(want(key9)...)
		f.stands(key9, "withdrawn shows 3")
		if len(s.Items) != 1 || !s.Items[0].Withdraws {
			t.Errorf("the items are %+v", s.Items)
		}
		if got := f.notices(os9); len(got) > 0 {
			t.Errorf("updateinfo has %v", got)
		}
		if got := f.file("errata/el9/osv/ALSA-2026-1.json"); !strings.Contains(got, `"withdrawn"`) {
			t.Errorf("OSV has %s", got)
		}

		// A rollback shows what was shown.
		write, err := f.Reverted(t.Context(), release.Turn{Release: 9, Product: "demo", From: f.tree, To: first})
		f.must(err)
		f.tx(func(tx db.Tx) error { return write(f.admin, tx) })
		f.tree = first
		f.stands(key9, "withdrawn shows 1") // it is to be taken back by the next release
		f.stands(key8, "not released shows 0")
		_, err = f.Errata.Restore(f.admin, key9, "it was one")
		f.must(err)
		f.publish(want(key9, key8)...)
		f.stands(key9, "released shows 4")
		f.stands(key8, "released shows 2")
	})
}

// TestRefusals: an advisory is publishable only if every package that it names is in the
// product afterwards, and signed.
func TestRefusals(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := open(t, d)
		hello, doc := f.hold("hello.x86_64", os9), f.hold("hello-doc.noarch", weak9)
		old := f.hold("old.x86_64", os8)
		gone := f.hold("gone.x86_64")
		for name, tc := range map[string]struct {
			chosen []Answer
			lacks  []Lack
			force  string
			want   string // in the refusal; "" is none
			items  int
		}{
			"all is there":           {chosen: []Answer{hello, doc}, items: 1},
			"nothing was chosen":     {want: "names no package"},
			"something was not":      {chosen: []Answer{hello}, lacks: []Lack{{gone.NEVRA, "nobody built it"}}, want: "gone-1.0-1.x86_64 has no answer that was approved (nobody built it)"},
			"in no repository":       {chosen: []Answer{hello, gone}, want: "gone-1.0-1.x86_64 is answered by gone-1.0-1.x86_64, which no repository of the product will have"},
			"in another platform's":  {chosen: []Answer{hello, old}, want: "old-1.0-1.x86_64"},
			"of another build":       {chosen: []Answer{{hello.Wanted, hello.NEVRA, albs.DigestOf([]byte("x"))}}, want: "another build"},
			"of another arch's copy": {chosen: []Answer{{doc.Wanted, doc.NEVRA, albs.DigestOf([]byte("x"))}}, items: 1},
			"by force":               {chosen: []Answer{hello, gone}, force: "it takes long", items: 1},
			"by force with nothing":  {chosen: []Answer{gone}, force: "it takes long", want: "names no package"},
			"added by hand":          {chosen: []Answer{{NEVRA: hello.NEVRA, Unsigned: hello.Unsigned}}, items: 1},
		} {
			k := errata.Key{ID: fmt.Sprintf("ALBA-2026:%d", len(f.answers.chosen)+100), Platform: "el9"}
			f.advise(k, tc.chosen...)
			f.answers.lacks[k] = tc.lacks
			w := want(k)
			w[0].Force = tc.force
			s := f.share(w...)
			switch {
			case tc.want == "" && len(s.Refusals) > 0, tc.want != "" && (len(s.Refusals) != 1 || !strings.Contains(s.Refusals[0].Reason, tc.want) || !strings.Contains(s.Refusals[0].Reason, k.String())):
				t.Errorf("%s: refusals are %v, want %q", name, s.Refusals, tc.want)
			case len(s.Items) != tc.items:
				t.Errorf("%s: items are %+v", name, s.Items)
			case tc.force != "" && tc.items == 1 && (s.Items[0].Force != tc.force || !slices.Equal(s.Items[0].Missing, []string{"gone-1.0-1.x86_64"}) || len(s.Notes) != 1):
				t.Errorf("%s: the item is %+v, the notes %v", name, s.Items[0], s.Notes)
			}
		}
		bad, good := errata.Key{ID: "ALBA-2026:200", Platform: "el9"}, errata.Key{ID: "ALBA-2026:201", Platform: "el9"}
		f.advise(bad, gone)
		f.advise(good, hello)
		all := want(bad, good)
		all[0].Optional, all[1].Optional = true, true
		if s := f.share(all...); len(s.Refusals) > 0 || len(s.Items) != 1 || s.Items[0].Name != good.String() || len(s.Skipped) != 1 || s.Skipped[0].Name != bad.String() || !strings.Contains(s.Skipped[0].Reason, "gone-1.0-1") {
			t.Errorf("of two that nobody insists on it has %+v, and leaves out %+v: %v", s.Items, s.Skipped, s.Refusals)
		}
		open := mastertest.Errata(mastertest.Platform("el8", albs.X8664, albs.AArch64), "core")
		open.Errata.URL = "http://repo.example/errata/el8"
		_, err := f.Platforms.Apply(f.admin, open)
		f.must(err)
		plain := errata.Key{ID: "ALBA-2026:202", Platform: "el8"}
		f.advise(plain, old)
		if s := f.share(want(plain)...); len(s.Items) != 1 || len(s.Notes) != 1 || !strings.Contains(s.Notes[0], "errata.url of platform el8 is not https") {
			t.Errorf("where CSAF's lists can't lead to the documents: %+v, notes %q", s.Items, s.Notes)
		}
		f.advise(key9, hello)
		_, err = f.Errata.Withdraw(f.admin, key9, "never mind")
		f.must(err)
		if s := f.share(want(key9)...); len(s.Refusals) != 1 || !strings.Contains(s.Refusals[0].Reason, "nothing to take back") {
			t.Errorf("of what was never shown and is withdrawn: %v", s.Refusals)
		}
		f.advise(key8, old)
		f.given[os9] = []repodata.Record{{Type: "updateinfo"}}
		if s := f.share(want(key8)...); len(s.Refusals) != 1 || !strings.Contains(s.Refusals[0].Reason, os9) {
			t.Errorf("beside an updateinfo that was given: %v", s.Refusals)
		}
		if s := f.share(); len(s.Refusals) > 0 || len(s.Types) > 0 {
			t.Errorf("without any advisory, what was given is refused: %v", s.Refusals)
		}
	})
}

// TestFail: a publication that ends in vain leaves nothing in progress.
func TestFail(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := open(t, d)
		f.advise(key9, f.hold("hello.x86_64", os9))
		s := f.share(want(key9)...)
		turn := release.Turn{Release: 5, Product: "demo", Items: s.Items}
		f.tx(func(tx db.Tx) error { return f.Start(f.admin, tx, turn) })
		f.stands(key9, "in progress shows 0")
		f.tx(func(tx db.Tx) error { return f.Fail(f.admin, tx, turn, "the disk is full") })
		f.stands(key9, "failed shows 0")
		r, err := f.Errata.Get(t.Context(), key9)
		if err != nil || r.Reason != "the disk is full" {
			t.Errorf("the reason is %q, %v", r.Reason, err)
		}
		f.publish(want(key9)...)
		f.stands(key9, "released shows 1")
	})
}

// TestChangedMeanwhile: what people change of an advisory while its release is made isn't
// taken for published.
func TestChangedMeanwhile(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := open(t, d)
		f.advise(key9, f.hold("hello.x86_64", os9))
		turn := release.Turn{Release: 5, Product: "demo", Items: f.share(want(key9)...).Items}
		title := "hello security and bug fix update"
		_, err := f.Errata.Edit(f.admin, key9, 1, errata.Edit{Title: &title})
		f.must(err)
		err = f.Modules.DB.InTx(f.admin, func(tx db.Tx) error { return f.Start(f.admin, tx, turn) })
		if albs.KindOf(err) != albs.Conflict || !strings.Contains(err.Error(), key9.String()) {
			t.Errorf("the release begins with %v", err)
		}
		f.stands(key9, "not released shows 0")
		f.publish(want(key9)...)
		if r, err := f.Errata.Get(t.Context(), key9); err != nil || r.Pending || !strings.Contains(f.file("errata/el9/advisories/ALSA-2026-1.json"), title) {
			t.Errorf("pending is %v, %v", r.Pending, err)
		}
	})
}

// TestRevokedKey: what a key has signed that was revoked since is still looked for on systems,
// and nobody is told to trust it.
func TestRevokedKey(t *testing.T) {
	t.Parallel()
	f := open(t, dbtest.Open(t, dbtest.SQLite(t)))
	f.product.Keys = []string{"revoked"}
	f.advise(key9, f.hold("hello.x86_64", os9))
	f.publish(want(key9)...)
	z, err := gzip.NewReader(strings.NewReader(f.file("errata/el9/oval/example.almalinux.errata-9.xml.gz")))
	f.must(err)
	oval, err := io.ReadAll(z)
	f.must(err)
	for _, key := range []string{"abababababababab", "cdcdcdcdcdcdcdcd"} {
		if !strings.Contains(string(oval), "<signature_keyid>"+key) {
			t.Errorf("definitions are true of no package that was signed with %s", key)
		}
	}
	got := f.file("errata/el9/csaf/provider-metadata.json")
	if !strings.Contains(got, strings.Repeat("AB", 20)) || strings.Contains(got, strings.Repeat("CD", 20)) {
		t.Errorf("the provider's keys are in %s", got)
	}
}

// TestPlatformGivenUp: a product that has a platform no more shows none of its advisories.
func TestPlatformGivenUp(t *testing.T) {
	t.Parallel()
	f := open(t, dbtest.Open(t, dbtest.SQLite(t)))
	f.advise(key9, f.hold("hello.x86_64", os9))
	f.advise(key8, f.hold("old.x86_64", os8))
	f.publish(want(key9, key8)...)
	f.stands(key8, "released shows 1")
	f.product.Platforms, f.product.Repositories = []string{"el9"}, f.product.Repositories[:3]
	f.publish()
	f.stands(key8, "not released shows 0")
	f.stands(key9, "released shows 1")
	for _, file := range f.tree.Files {
		if strings.HasPrefix(file.Path, "errata/el8/") {
			t.Errorf("the tree has %s", file.Path)
		}
	}
}

func TestMay(t *testing.T) {
	t.Parallel()
	f := open(t, dbtest.Open(t, dbtest.SQLite(t)))
	f.advise(key9, f.hold("hello.x86_64", os9))
	forced := want(key9)
	forced[0].Force = "why not"
	for name, tc := range map[string]struct {
		as     context.Context
		wanted []plan.Wanted
		want   albs.Kind
	}{
		"a maintainer":           {as(t.Context(), auth.ProductMaintainer, "core"), forced, ""},
		"one of another team":    {as(t.Context(), auth.ProductMaintainer, "other"), want(key9), albs.Forbidden},
		"nobody":                 {t.Context(), want(key9), albs.Unauthenticated},
		"another platform":       {f.admin, want(errata.Key{ID: "ALSA-2026:1", Platform: "el7"}), albs.Invalid},
		"an unknown advisory":    {f.admin, want(errata.Key{ID: "ALSA-2026:2", Platform: "el9"}), albs.NotFound},
		"no name of an advisory": {f.admin, []plan.Wanted{{Part: Name, Name: "../x/el9"}}, albs.Invalid},
	} {
		if err := f.May(tc.as, f.product, tc.wanted); albs.KindOf(err) != tc.want {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}
