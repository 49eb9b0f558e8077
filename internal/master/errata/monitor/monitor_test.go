package monitor

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"albs/internal/advisory"
	"albs/internal/advisory/update"
	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/mastertest"
	"albs/internal/master/product"
	"albs/internal/repodata"
	"albs/internal/repodata/updateinfo"
	"albs/internal/rpm"
)

const (
	root = "https://repo.example"
	base = "9/BaseOS/x86_64/os"
	weak = "9/BaseOS/aarch64/os"
)

// outside is the public place, a file at each path.
type outside struct {
	mu     sync.Mutex
	files  map[string][]byte
	closed bool // the master may not read it
	read   int
	asked  int             // for sizes
	busy   map[string]bool // whose size can't be told, by path
}

func (o *outside) Size(_ context.Context, url string) (int64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked++
	if o.busy[strings.TrimPrefix(url, root+"/")] {
		return 0, albs.Errorf(albs.Unavailable, "%s answered 503", url)
	}
	b, ok := o.files[strings.TrimPrefix(url, root+"/")]
	if !ok {
		return 0, albs.Errorf(albs.NotFound, "%s answered 404", url)
	}
	return int64(len(b)), nil
}

// releases are none, or one that is being published.
type releases struct{ now albs.ReleaseID }

func (r *releases) Publishing(context.Context, string) (albs.ReleaseID, error) { return r.now, nil }

func (o *outside) Get(_ context.Context, url string, _ int64) (io.ReadCloser, int64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.read++
	if o.closed {
		return nil, 0, albs.Errorf(albs.Forbidden, "%s is not allowed", url)
	}
	b, ok := o.files[strings.TrimPrefix(url, root+"/")]
	if !ok {
		return nil, 0, albs.Errorf(albs.NotFound, "%s answered 404", url)
	}
	return io.NopCloser(bytes.NewReader(b)), int64(len(b)), nil
}

func nevra(s string) rpm.NEVRA {
	n, err := rpm.ParseNEVRA(s)
	if err != nil {
		panic(err)
	}
	return n
}

func digest(s string) albs.Digest { return albs.DigestOf([]byte(s)) }

// pkg is a package of an advisory, as the repository has it.
func pkg(repository, what string, m *advisory.Module) advisory.Package {
	return advisory.Package{NEVRA: nevra(what), Repository: repository, Digest: digest(repository + what), Module: m}
}

func note(id string, packages ...advisory.Package) advisory.Advisory {
	at := time.Date(2026, 2, 3, 0, 0, 0, 0, time.UTC)
	return advisory.Advisory{
		ID: id, Platform: "el9", Version: 1, Type: advisory.Security, Title: "a fix", Description: "It was wrong.", Issued: at, Updated: at, Packages: packages,
	}.Normal()
}

const modulesText = `document: modulemd
version: 2
data:
  name: virt
  stream: "rhel"
  version: 9050
  context: abcd
  arch: x86_64
  summary: s
  description: d
  license: {module: [MIT]}
  artifacts: {rpms: ["virt-0:1-1.x86_64"]}
`

// repository makes the public repository that has these packages and notices.
func (o *outside) repository(t *testing.T, path string, packages []advisory.Package, as []advisory.Advisory, modules string) {
	t.Helper()
	var primary strings.Builder
	fmt.Fprintf(&primary, `<metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm" packages="%d">`, len(packages))
	for _, p := range packages {
		fmt.Fprintf(&primary, `<package type="rpm"><name>%s</name><arch>%s</arch><version epoch="%d" ver="%s" rel="%s"/><checksum type="sha256" pkgid="YES">%s</checksum>`+
			`<summary>s</summary><description>d</description><packager/><url/><time file="1" build="1"/><size package="1" installed="1" archive="1"/><location href="Packages/%s"/><format/></package>`,
			p.Name, p.Arch, p.Epoch, p.Version, p.Release, p.Digest, p.Filename())
		o.files[path+"/Packages/"+p.Filename()] = []byte("x")
	}
	primary.WriteString("</metadata>\n")
	var pieces []updateinfo.Piece
	for _, a := range as {
		u, ok := update.Of(a, path)
		if !ok {
			t.Fatalf("%s has nothing of %s", a.ID, path)
		}
		p, err := updateinfo.Make(u)
		if err != nil {
			t.Fatal(err)
		}
		pieces = append(pieces, p)
	}
	info, err := updateinfo.Join(pieces)
	if err != nil {
		t.Fatal(err)
	}
	md := `<repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>1</revision>`
	for _, f := range []struct {
		typ string
		b   []byte
	}{{"primary", []byte(primary.String())}, {"updateinfo", info.Bytes}, {"modules", []byte(modules)}} {
		if len(f.b) == 0 {
			continue
		}
		o.files[path+"/repodata/"+f.typ] = f.b
		md += fmt.Sprintf(`<data type="%s"><checksum type="sha256">%s</checksum><location href="repodata/%s"/><timestamp>1</timestamp><size>%d</size></data>`, f.typ, albs.DigestOf(f.b), f.typ, len(f.b))
	}
	o.files[path+"/repodata/repomd.xml"] = []byte(md + "</repomd>\n")
}

type fixture struct {
	*Monitor
	*mastertest.Modules
	place *outside
	runs  *releases
	t     *testing.T
	admin context.Context
	tree  repodata.Tree
}

func open(t *testing.T, d *db.DB) *fixture {
	t.Helper()
	m := mastertest.Open(t, d, mastertest.Config{})
	f := &fixture{Modules: m, place: &outside{files: map[string][]byte{}}, runs: &releases{}, t: t, tree: repodata.Tree{Product: "demo"},
		admin: auth.With(t.Context(), auth.Actor{Kind: auth.KindPerson, User: 1, Name: "olga", Grants: []auth.Grant{{Role: auth.Admin}}})}
	spec := mastertest.Errata(mastertest.Platform("el9", albs.X8664, albs.AArch64), "core")
	spec.Errata.URL = root + "/errata/el9"
	_, err := m.Platforms.Apply(f.admin, spec)
	f.must(err)
	_, err = m.Products.Apply(f.admin, product.Spec{Name: "demo", Team: "core", Platforms: []string{"el9"}, Repositories: []product.Repository{
		{Path: base, Platform: "el9", Arch: albs.X8664, Kind: product.RPM}, {Path: weak, Platform: "el9", Arch: albs.AArch64, Kind: product.RPM},
	}, Gate: product.Gate{Tests: product.Advisory}, Approvals: product.Approvals{Count: 1}})
	f.must(err)
	f.Monitor = New(Parts{DB: d, Events: m.Events, Artifacts: m.Artifacts, Platforms: m.Platforms, Products: m.Products, Repos: m.Repos, Releases: f.runs, Outside: f.place, Log: zerolog.Nop()}, Config{})
	mastertest.Run(t, m.Events.Run)
	return f
}

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// shows has the product show advisories in its two repositories.
func (f *fixture) shows(as ...advisory.Advisory) {
	f.t.Helper()
	from := f.tree.Serial
	f.tree.Serial++
	f.tree.Files, f.tree.Repositories = nil, nil
	for _, a := range as {
		b := a.Encode()
		_, err := f.Modules.Blobs.Put(f.t.Context(), albs.DigestOf(b), bytes.NewReader(b))
		f.must(err)
		f.tree.Files = append(f.tree.Files, repodata.TreeFile{Path: "errata/el9/advisories/" + advisory.FileName(a.ID) + ".json", Digest: albs.DigestOf(b), Size: int64(len(b))})
	}
	empty, err := repodata.Empty(f.t.Context(), f.Modules.Repos.Blobs(), 1)
	f.must(err)
	for _, path := range []string{base, weak} {
		f.tree.Repositories = append(f.tree.Repositories, repodata.TreeRepo{Path: path, Snapshot: empty.Digest()})
	}
	d, err := f.Modules.Repos.SaveTree(f.t.Context(), f.tree)
	f.must(err)
	tree, err := f.Modules.Repos.ReadTree(f.t.Context(), d)
	f.must(err)
	f.must(f.Modules.DB.InTx(f.admin, func(tx db.Tx) error {
		return f.Modules.Repos.AdvanceTree(f.admin, tx, "demo", from, tree, d)
	}))
}

// finds checks the product and wants these troubles, each "kind: repository advisory package".
func (f *fixture) finds(when string, want ...string) Result {
	f.t.Helper()
	r, err := f.Check(f.admin, "demo")
	f.must(err)
	got := []string{}
	for _, t := range r.Troubles {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s: %s %s %s", t.Kind, t.Repository, t.Advisory, t.Package)))
	}
	if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
		f.t.Errorf("%s (-want +got):\n%s", when, diff)
	}
	last, err := f.Last(f.t.Context(), "demo")
	if err != nil || !slices.Equal(last.Troubles, r.Troubles) || !last.Since.Equal(r.Since) {
		f.t.Errorf("%s: kept is %+v, %v", when, last, err)
	}
	return r
}

// told returns the kinds of the events, once there are n.
func (f *fixture) told(n int) (out []string) {
	f.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		out = nil
		es, err := f.Modules.Events.Since(f.t.Context(), 0, Topic("demo"), 100)
		f.must(err)
		for _, e := range es {
			if strings.HasPrefix(e.Kind, "errata.") {
				out = append(out, e.Kind)
			}
		}
		if len(out) >= n {
			return out
		}
	}
	return out
}

// TestCheck: what the public sees otherwise than is shown is found, told, and cleared: also
// where only packages have changed.
func TestCheck(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := open(t, d)
		if _, err := f.Last(t.Context(), "demo"); albs.KindOf(err) != albs.NotFound {
			t.Errorf("before any check: %v", err)
		}
		hello, far := pkg(base, "hello-1-1.x86_64", nil), pkg(weak, "hello-1-1.aarch64", nil)
		virt := pkg(base, "virt-1-1.x86_64", &advisory.Module{Name: "virt", Stream: "rhel", Version: 9050, Context: "abcd", Arch: "x86_64"})
		one, two := note("ALSA-2026:1", hello, far), note("ALSA-2026:2", virt)
		gone := note("ALSA-2026:3", hello)
		gone.Withdrawn = &advisory.Withdrawal{At: gone.Updated, Reason: "it was no bug"}
		f.shows(one, two, gone)
		f.place.repository(t, base, []advisory.Package{hello, virt}, []advisory.Advisory{one, two}, modulesText)
		f.place.repository(t, weak, []advisory.Package{far}, []advisory.Advisory{one}, "")
		if r := f.finds("all is well"); r.Advisories != 3 || r.Serial != 1 || len(r.Unchecked) > 0 {
			t.Errorf("all is well: %+v", r)
		}
		reads := f.place.read
		f.all(f.admin)
		if f.place.read != reads+2 {
			t.Errorf("nothing has changed, and %d files are read for it", f.place.read-reads)
		}
		// A file is lost beside its repomd.xml: who asks is told, and who doesn't in a day.
		lost := f.place.files[weak+"/repodata/updateinfo"]
		delete(f.place.files, weak+"/repodata/updateinfo")
		f.all(f.admin)
		if r, err := f.Last(t.Context(), "demo"); err != nil || len(r.Troubles) > 0 {
			t.Errorf("what was read a moment ago is read again: %+v, %v", r, err)
		}
		for at, k := range f.known {
			k.at = k.at.Add(-anew)
			f.known[at] = k
		}
		f.all(f.admin)
		if r, err := f.Last(t.Context(), "demo"); err != nil || len(r.Troubles) != 1 || r.Troubles[0].Kind != Unread {
			t.Errorf("a day later a lost file is found as %+v, %v", r, err)
		}
		f.place.files[weak+"/repodata/updateinfo"] = lost
		f.finds("the file is back")
		delete(f.place.files, weak+"/repodata/updateinfo")
		f.finds("the file is lost again", "unread: "+weak)
		f.all(f.admin)
		if r, err := f.Last(t.Context(), "demo"); err != nil || len(r.Troubles) != 1 {
			t.Errorf("what was found is forgotten: %+v, %v", r, err)
		}
		f.place.files[weak+"/repodata/updateinfo"] = lost
		f.finds("asked again")

		// The advisories stay as they are, and a package goes.
		f.place.repository(t, base, []advisory.Package{virt}, []advisory.Advisory{one, two}, modulesText)
		r := f.finds("a package is gone", "missing package: "+base+" ALSA-2026:1 hello-1-1.x86_64")
		if again := f.finds("still", "missing package: "+base+" ALSA-2026:1 hello-1-1.x86_64"); !again.Since.Equal(r.Since) {
			t.Errorf("the same trouble is a new one: %v, %v", r.Since, again.Since)
		}
		f.place.repository(t, base, []advisory.Package{hello, virt}, []advisory.Advisory{one, two}, modulesText)
		f.finds("it is back")
		if diff := cmp.Diff([]string{Found, Cleared, Found, Cleared, Found, Cleared}, f.told(6)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}

		other := hello
		other.Digest = digest("other")
		f.place.repository(t, base, []advisory.Package{other, virt}, []advisory.Advisory{one, two}, modulesText)
		f.finds("other bytes", "wrong digest: "+base+" ALSA-2026:1 hello-1-1.x86_64")
		f.place.repository(t, base, []advisory.Package{hello, virt}, []advisory.Advisory{one, two}, "")
		f.finds("no modules", "missing module: "+base+" ALSA-2026:2 virt-1-1.x86_64")
		f.place.repository(t, base, []advisory.Package{hello, virt}, []advisory.Advisory{one, two}, strings.Replace(modulesText, "9050", "9060", 1))
		f.finds("another build of the module", "missing module: "+base+" ALSA-2026:2 virt-1-1.x86_64")
		f.place.repository(t, base, []advisory.Package{hello, virt}, []advisory.Advisory{two}, modulesText)
		f.finds("no advisory", "missing advisory: "+base+" ALSA-2026:1")
		less := note("ALSA-2026:1", pkg(base, "more-1-1.noarch", nil))
		f.place.repository(t, base, []advisory.Package{hello, virt}, []advisory.Advisory{less, two}, modulesText)
		f.finds("an advisory without the package", "missing advisory: "+base+" ALSA-2026:1 hello-1-1.x86_64")
		old := one
		old.Version, old.Packages = 7, []advisory.Package{other}
		f.place.repository(t, base, []advisory.Package{hello, virt}, []advisory.Advisory{old, two}, modulesText)
		f.finds("another version of it", "wrong advisory: "+base+" ALSA-2026:1", "wrong advisory: "+base+" ALSA-2026:1 hello-1-1.x86_64")
		back := gone
		back.Withdrawn = nil
		f.place.repository(t, base, []advisory.Package{hello, virt}, []advisory.Advisory{one, two, back}, modulesText)
		f.finds("one that was taken back", "wrong advisory: "+base+" ALSA-2026:3")

		f.place.repository(t, base, []advisory.Package{hello, virt}, []advisory.Advisory{one, two}, modulesText)
		f.place.files[base+"/repodata/primary"] = bytes.Replace(f.place.files[base+"/repodata/primary"], []byte("<summary>s<"), []byte("<summary>x<"), 1)
		f.finds("what isn't what repomd.xml says", "unread: "+base)
		delete(f.place.files, base+"/repodata/repomd.xml")
		f.finds("nothing there", "unread: "+base)
		f.place.closed = true
		if r := f.finds("what the master may not read"); len(r.Unchecked) != 1 || !strings.Contains(r.Unchecked[0], "egress.allow") {
			t.Errorf("what the master may not read: %+v", r)
		}
		// What was wrong then isn't said any more once it is right.
		f.place.closed = false
		f.place.repository(t, base, []advisory.Package{hello, virt}, []advisory.Advisory{one, two}, modulesText)
		if r := f.finds("all is well again"); len(r.Unchecked) > 0 {
			t.Errorf("all is well again: %+v", r)
		}
	})
}

// TestFiles: a package's file that goes, or becomes another one, is found, though no metadata
// says so.
func TestFiles(t *testing.T) {
	t.Parallel()
	f := open(t, dbtest.Open(t, dbtest.SQLite(t)))
	hello, more := pkg(base, "hello-1-1.x86_64", nil), pkg(base, "more-1-1.noarch", nil)
	one, two := note("ALSA-2026:1", hello), note("ALSA-2026:2", hello, more)
	f.shows(one, two)
	f.place.repository(t, base, []advisory.Package{hello, more}, []advisory.Advisory{one, two}, "")
	f.place.repository(t, weak, nil, nil, "")
	f.finds("all is well")
	if f.place.asked != 2 {
		t.Errorf("of two files %d are asked for", f.place.asked)
	}
	at := base + "/Packages/hello-1-1.x86_64.rpm"
	delete(f.place.files, at)
	f.finds("a file is gone", "missing file: "+base+" ALSA-2026:1 hello-1-1.x86_64")
	f.place.files[at] = []byte("xy")
	f.finds("another file", "wrong file: "+base+" ALSA-2026:1 hello-1-1.x86_64")
	f.place.busy = map[string]bool{at: true}
	f.finds("it can't be asked for", "wrong file: "+base+" ALSA-2026:1 hello-1-1.x86_64")
	f.place.busy[base+"/Packages/more-1-1.noarch.rpm"] = true
	f.finds("none can be asked for", "unread: "+base)
	f.place.busy = nil
	f.place.files[at] = []byte("x")
	f.finds("it is back")
}

// TestTurn: of many files each has its turn, and those that are missing have it each time.
func TestTurn(t *testing.T) {
	t.Parallel()
	var all []file
	for _, s := range strings.Split("abcdefg", "") {
		all = append(all, file{held: held{path: s}})
	}
	for _, tc := range []struct {
		after, lost string
		n           int
		want        string
	}{
		{"", "", 3, "abc"}, {"c", "", 3, "def"}, {"f", "", 3, "gab"}, {"g", "", 3, "abc"}, {"z", "", 2, "ab"}, {"bb", "", 2, "cd"}, {"", "", 9, "abcdefg"},
		{"a", "ag", 2, "bcga"}, {"a", "c", 2, "bc"}, {"a", "defg", 2, "bcde"},
	} {
		lost := map[string]Trouble{}
		for _, s := range strings.Split(tc.lost, "") {
			lost[s] = Trouble{}
		}
		got := ""
		for _, f := range turn(all, tc.after, tc.n, lost) {
			got += f.path
		}
		if got != tc.want {
			t.Errorf("%d after %q, with %q lost: %q, want %q", tc.n, tc.after, tc.lost, got, tc.want)
		}
	}
	if got := turn(nil, "a", 3, nil); got != nil {
		t.Errorf("of none: %v", got)
	}
}

// TestPublishing: what differs while a release is being published is no trouble.
func TestPublishing(t *testing.T) {
	t.Parallel()
	f := open(t, dbtest.Open(t, dbtest.SQLite(t)))
	hello := pkg(base, "hello-1-1.x86_64", nil)
	one := note("ALSA-2026:1", hello)
	f.shows(one)
	f.place.repository(t, weak, nil, nil, "")
	f.place.repository(t, base, []advisory.Package{hello}, nil, "")
	f.runs.now = 7
	if _, err := f.Check(f.admin, "demo"); albs.KindOf(err) != albs.Conflict || !strings.Contains(err.Error(), "release 7") {
		t.Errorf("while release 7 is being published: %v", err)
	}
	if _, err := f.Last(t.Context(), "demo"); albs.KindOf(err) != albs.NotFound {
		t.Errorf("something is kept of it: %v", err)
	}
	f.place.repository(t, base, []advisory.Package{hello}, []advisory.Advisory{one}, "")
	f.finds("all is well, and the release still runs")
	f.runs.now = 0
	f.place.repository(t, base, []advisory.Package{hello}, nil, "")
	f.finds("it has ended", "missing advisory: "+base+" ALSA-2026:1")
	// What can't be read is not what is sound again.
	f.place.closed = true
	f.finds("what the master may not read")
	if got := f.told(1); len(got) != 1 || got[0] != Found {
		t.Errorf("told is %v", got)
	}
}

func TestCheckMay(t *testing.T) {
	t.Parallel()
	f := open(t, dbtest.Open(t, dbtest.SQLite(t)))
	for name, tc := range map[string]struct {
		as      context.Context
		product string
		want    albs.Kind
	}{
		"nobody":             {t.Context(), "demo", albs.Unauthenticated},
		"of an unknown one":  {f.admin, "other", albs.NotFound},
		"what shows nothing": {f.admin, "demo", ""},
	} {
		if _, err := f.Check(tc.as, tc.product); albs.KindOf(err) != tc.want {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

func TestRootOf(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{root + "/errata/el9": root, root + "/x/errata/el9": root + "/x", root + "/el9": "", root + "/errata/el8": ""} {
		got, err := rootOf(advisory.Distribution{Platform: "el9", URL: url})
		if got != want || (err != nil) != (want == "") {
			t.Errorf("of %s: %q, %v", url, got, err)
		}
	}
	if err := (Config{Every: time.Millisecond}).Check(); albs.KindOf(err) != albs.Invalid {
		t.Errorf("every millisecond: %v", err)
	}
}

// TestRun: it checks by itself.
func TestRun(t *testing.T) {
	t.Parallel()
	f := open(t, dbtest.Open(t, dbtest.SQLite(t)))
	f.shows(note("ALSA-2026:1", pkg(base, "hello-1-1.x86_64", nil)))
	mastertest.Run(t, f.Monitor.Run)
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		r, err := f.Last(t.Context(), "demo")
		if err == nil && len(r.Troubles) == 2 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("nothing was found: %+v, %v", r, err)
		}
	}
}
