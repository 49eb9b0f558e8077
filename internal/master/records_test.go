package master

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/client"
	"albs/internal/egress"
	"albs/internal/git/gittest"
	"albs/internal/master/auth"
	"albs/internal/master/mastertest"
	"albs/internal/master/provenance"
	"albs/internal/rpm/rpmtest"
	"albs/internal/sbom"
	"albs/internal/worker"
	"albs/internal/worker/releaser"
	"albs/internal/worker/signer"
	"albs/internal/worker/workertest"
)

// farm is a whole master with a signer and a releaser, all real; the test plays the
// people, by the API, and those who build and test.
type farm struct {
	*Master
	t          *testing.T
	forge      *gittest.Server
	alice, bob *client.Client
	east, west worker.Master // nodes
	tester     worker.Master
	public     string                       // the public place, which site serves
	site       string                       // its URL
	made       map[string]map[string][]byte // packages by name and word
	hooks      hooks                        // what is told
}

const farmRepo = "el/x86_64/os"

// newFarm starts one with a platform, a product and its key.
func newFarm(t *testing.T) *farm {
	t.Helper()
	for _, tool := range []string{"rpmbuild", "rpmkeys", "bwrap"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	f := &farm{t: t, forge: gittest.NewServer(t), made: map[string]map[string][]byte{}}
	mirror, cache, spool := mastertest.Mirror(t), t.TempDir(), t.TempDir()
	f.public = filepath.Join(spool, "public")
	files := http.FileServer(http.Dir(f.public))
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			f.hooks.ServeHTTP(w, r)
			return
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(site.Close)
	f.site = site.URL
	f.must(os.WriteFile(filepath.Join(cache, string(albs.DigestOf([]byte(lookaside)))), []byte(lookaside), 0o644))
	var err error
	f.Master, err = Open(t.Context(), Config{
		Dir: t.TempDir(), Listen: "127.0.0.1:0", Version: "test",
		Egress: egress.Policy{Allow: []string{f.forge.Addr(), site.URL, "file://" + mirror, "file://" + cache}, CAFiles: []string{f.forge.CAFile()}},
	}, zerolog.Nop())
	f.must(err)
	t.Cleanup(func() { f.must(f.Close()) })
	ready := make(chan struct{})
	mastertest.Run(t, func(ctx context.Context) error { return f.Run(ctx, ready) })
	<-ready

	f.alice = f.client(f.AdminToken)
	bob := of(f, func() (client.Doc[client.User], error) { return f.alice.CreateUser(t.Context(), "bob") })
	of(f, func() (client.Doc[client.User], error) {
		return f.alice.Grant(t.Context(), bob.ID, string(auth.ProductMaintainer), "core")
	})
	f.bob = f.client(of(f, func() (client.Doc[client.Token], error) {
		return f.alice.CreateToken(t.Context(), client.NewToken{User: bob.ID})
	}).Secret)
	of(f, func() (client.Doc[client.Platform], error) {
		return f.alice.ApplyPlatform(t.Context(), fmt.Appendf(nil, `
name: el
dist: .el9
releasever: "9"
arches: [x86_64]
repositories: [{id: base, url: "file://%s"}]
lookaside: ["file://%s/{hash}"]
rpmdb: {path: /var/lib/rpm, backend: sqlite}
packages: [bash]
test_packages: [bash]
os: {id: almalinux, name: AlmaLinux OS, version: "9"}
errata:
  team: core
  ids: {security: "ALSA-{year}:{serial}", bugfix: "ALBA-{year}:{serial}"}
  own: A
  url: %s/demo/current/errata/el
  vendor: AlmaLinux
  namespace: https://almalinux.example
  contact: security@almalinux.example
  ecosystem: AlmaLinux:9
  cpe: cpe:/o:almalinux:almalinux:9
`, mirror, cache, f.site))
	})
	of(f, func() (client.Doc[client.Product], error) {
		return f.alice.ApplyProduct(t.Context(), []byte(`
name: demo
team: core
platforms: [el]
key: demo
repositories:
  - {path: `+farmRepo+`, platform: el, arch: x86_64, kind: rpm}
  - {path: el/source, platform: el, arch: src, kind: source}
gate: {tests: required}
approvals: {count: 1, distinct: true}
`))
	})

	f.east, f.west, f.tester = f.worker("east", albs.RoleNode), f.worker("west", albs.RoleNode), f.worker("tester", albs.RoleTester)
	trust, err := f.Trust(t.Context(), "", false)
	f.must(err)
	s, r := f.worker("signer", albs.RoleSigner), f.worker("releaser", albs.RoleReleaser)
	mastertest.Run(t, func(ctx context.Context) error {
		return signer.Run(ctx, signer.Config{Dir: filepath.Join(spool, "keys"), Spool: filepath.Join(spool, "signer"), Trust: &trust}, "test", s, zerolog.Nop())
	}, func(ctx context.Context) error {
		c := releaser.Config{
			Public: f.public, Dir: filepath.Join(spool, "own"), Spool: filepath.Join(spool, "releaser"),
			Trust: func(ctx context.Context, product string) (attest.Trust, error) { return f.Trust(ctx, product, true) },
		}
		return releaser.Run(ctx, c, "test", r, zerolog.Nop())
	})
	key := of(f, func() (client.Doc[client.Keygen], error) {
		return f.alice.GenerateKey(t.Context(), client.NewKey{Name: "demo", UserID: "Demo <demo@example.org>", Algorithm: "ed25519", Products: []string{"demo"}})
	})
	f.until("the key is there", func() bool {
		got := of(f, func() (client.Doc[client.Keygen], error) { return f.alice.Keygen(t.Context(), key.Task) })
		f.not(got.State == albs.TaskFailed, got.Reason)
		if got.Fingerprint != "" { // it signs files only where its operator says so
			policy := fmt.Appendf(nil, "keys: {%s: {kinds: [packages, repomd, files]}}\n", got.Fingerprint)
			f.must(os.WriteFile(filepath.Join(spool, "keys/policy.yaml"), policy, 0o600))
		}
		return got.Fingerprint != ""
	})
	return f
}

func (f *farm) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// not ends the test if something failed, for that reason.
func (f *farm) not(failed bool, reason string) {
	f.t.Helper()
	if failed {
		f.t.Fatal(reason)
	}
}

// of returns what the API answered.
func of[T any](f *farm, ask func() (client.Doc[T], error)) T {
	f.t.Helper()
	d, err := ask()
	f.must(err)
	return d.Value
}

func (f *farm) client(token string) *client.Client {
	f.t.Helper()
	c, err := client.New(f.URL(), token, nil)
	f.must(err)
	return c
}

// worker is the master as a worker of its own has it.
func (f *farm) worker(name string, role albs.Role) worker.Master {
	f.t.Helper()
	n := auth.NewWorker{Name: name, Role: role}
	if role == albs.RoleNode || role == albs.RoleTester {
		n.Arches = []albs.Arch{albs.X8664}
	}
	me, err := f.auth.LocalWorker(f.t.Context(), n)
	f.must(err)
	return workertest.As(f.queue, func(ctx context.Context) context.Context { return auth.With(ctx, me) })
}

func (f *farm) until(what string, ok func() bool) {
	f.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(5 * time.Minute); !ok(); <-tick.C {
		if time.Now().After(end) {
			f.t.Fatalf("waited in vain until %s", what)
		}
	}
}

const lookaside = "a look-aside file"

func farmSpec(name, word string) string {
	return fmt.Sprintf(`Name: %[1]s
Version: 1
Release: 1
Summary: A
License: MIT
%%description
A.
%%install
mkdir -p %%{buildroot}/usr/share/%[1]s
echo %[2]s > %%{buildroot}/usr/share/%[1]s/word
%%files
/usr/share/%[1]s/word
`, name, word)
}

// rpms are a source package and the one built of it.
func (f *farm) rpms(name, word string) map[string][]byte {
	f.t.Helper()
	if f.made[name+word] == nil {
		m, err := rpmtest.Build(farmSpec(name, word), "--target", "x86_64")
		f.must(err)
		f.made[name+word] = m
	}
	return f.made[name+word]
}

func srpmOf(name string) string { return name + "-1-1.src.rpm" }
func rpmOf(name string) string  { return name + "-1-1.x86_64.rpm" }

// claim waits for a task of some kinds.
func (f *farm) claim(w worker.Master, kinds ...albs.TaskKind) *worker.Lease {
	f.t.Helper()
	o := worker.Offer{Version: "test", Labels: []string{"arch:x86_64"}, Wait: 20}
	for _, k := range kinds {
		o.Labels = append(o.Labels, "kind:"+string(k))
	}
	for range 6 {
		l, err := w.Claim(f.t.Context(), o)
		f.must(err)
		if l != nil {
			return l
		}
	}
	f.t.Fatalf("there is no task of %v", kinds)
	return nil
}

func (f *farm) upload(w worker.Master, l *worker.Lease, name string, b []byte) albs.File {
	f.t.Helper()
	file := albs.File{Name: name, Digest: albs.DigestOf(b), Size: int64(len(b))}
	_, err := w.Put(f.t.Context(), l.Token, file.Digest, 0, bytes.NewReader(b))
	f.must(err)
	return file
}

// logs uploads the logs of an attempt.
func (f *farm) logs(w worker.Master, l *worker.Lease) []albs.File {
	f.t.Helper()
	var out []albs.File
	for _, name := range []string{"build.log", "mock.cfg"} {
		out = append(out, f.upload(w, l, name, fmt.Appendf(nil, "%s of task %d\nerror: no\n", name, l.Token.Task)))
	}
	return out
}

// root uploads the record of a buildroot, which is one for each package.
func (f *farm) root(w worker.Master, l *worker.Lease, name string) albs.File {
	f.t.Helper()
	b, err := json.Marshal(map[string]any{
		"format": "albs-buildroot/v1", "target": "x86_64", "input": albs.File{Name: name, Digest: albs.DigestOf([]byte(name))}, "macro_file": albs.DigestOf([]byte("macros")),
		"packages": []any{map[string]any{"name": "bash", "version": "5", "release": "1", "arch": "x86_64", "header_sha256": albs.DigestOf([]byte("h")), "sha256": albs.DigestOf([]byte("f"))}},
	})
	f.must(err)
	return f.upload(w, l, "buildroot.json", b)
}

// given asks for a build of a source package that is given.
func (f *farm) given(name string) albs.BuildID {
	f.t.Helper()
	b := f.rpms(name, "one")[srpmOf(name)]
	s, err := f.alice.UploadSRPM(f.t.Context(), srpmOf(name), bytes.NewReader(b), int64(len(b)))
	f.must(err)
	return f.create(client.BuildSource{SRPM: s.Digest})
}

func (f *farm) create(s client.BuildSource) albs.BuildID {
	f.t.Helper()
	return of(f, func() (client.Doc[client.Build], error) {
		return f.alice.CreateBuild(f.t.Context(), client.NewBuild{
			Platforms: []client.BuildTarget{{Platform: "el"}}, Packages: []client.BuildSource{s}, Product: "demo",
		}, "")
	}).ID
}

// begun plays the node east until it has the task that builds the package.
func (f *farm) begun(name string) *worker.Lease {
	f.t.Helper()
	for {
		l := f.claim(f.east, albs.KindSource, albs.KindBuild)
		if l.Spec.Source == nil {
			return l
		}
		r := albs.Result{Logs: f.logs(f.east, l), Source: &albs.SourceResult{Record: f.root(f.east, l, name)}}
		if l.Spec.Source.SRPM == nil {
			r.Source.SRPM = f.upload(f.east, l, srpmOf(name), f.rpms(name, "one")[srpmOf(name)])
		}
		f.must(f.east.Complete(f.t.Context(), l.Token, albs.OutcomeOK, r))
	}
}

// built ends a task that builds the package, or builds it again, with what has the word.
func (f *farm) built(w worker.Master, l *worker.Lease, name, word string) {
	f.t.Helper()
	f.must(w.Complete(f.t.Context(), l.Token, albs.OutcomeOK, albs.Result{Logs: f.logs(w, l), Build: &albs.BuildResult{
		Packages: []albs.File{f.upload(w, l, rpmOf(name), f.rpms(name, word)[rpmOf(name)])}, Record: f.root(w, l, name),
	}}))
}

// tested ends the test of what was built last.
func (f *farm) tested(ok bool) {
	f.t.Helper()
	l := f.claim(f.tester, albs.KindTest)
	r := albs.Result{Logs: f.logs(f.tester, l), Test: mastertest.Tested(l.Spec.Test, func(_ string, stage albs.TestStage) string {
		if ok || stage != albs.StageInstall {
			return ""
		}
		return "said so"
	})}
	f.must(f.tester.Complete(f.t.Context(), l.Token, albs.OutcomeOK, r))
}

// released has a build signed and published.
func (f *farm) released(id albs.BuildID, advisories ...client.Advised) albs.ReleaseID {
	f.t.Helper()
	f.signed(id)
	return f.publish([]albs.BuildID{id}, advisories...)
}

// signed has a build signed, and its signed copies tested.
func (f *farm) signed(id albs.BuildID) {
	f.t.Helper()
	ctx := f.t.Context()
	task := of(f, func() (client.Doc[client.SignTask], error) { return f.alice.SignBuild(ctx, id, "demo") })
	f.until("the build is signed", func() bool {
		task = of(f, func() (client.Doc[client.SignTask], error) { return f.alice.SignTask(ctx, task.ID) })
		f.not(task.Status == client.SignFailed, task.Reason)
		return task.Status == client.SignCompleted
	})
	f.tested(true)
}

// publish releases builds and advisories.
func (f *farm) publish(builds []albs.BuildID, advisories ...client.Advised) albs.ReleaseID {
	f.t.Helper()
	ctx := f.t.Context()
	var r client.Release
	f.until("the release can be planned", func() bool { // the signature is on its way to the ledger
		d, err := f.alice.PlanRelease(ctx, "demo", builds, advisories...)
		if errors.Is(err, albs.Unavailable) {
			return false
		}
		f.must(err)
		r = d.Value
		return true
	})
	f.goes(r)
	return r.ID
}

// goes has a release that was planned approved and waits until it is public.
func (f *farm) goes(r client.Release) {
	f.t.Helper()
	ctx := f.t.Context()
	f.not(len(r.Plan.Refusals) > 0, fmt.Sprint(r.Plan.Refusals))
	of(f, func() (client.Doc[client.Release], error) { return f.bob.ApproveRelease(ctx, r.ID, r.Digest) })
	of(f, func() (client.Doc[client.Release], error) { return f.alice.PublishRelease(ctx, r.ID) })
	f.until("the release is public", func() bool {
		r = of(f, func() (client.Doc[client.Release], error) { return f.alice.Release(ctx, r.ID) })
		f.not(r.Status == client.ReleaseFailed, r.Reason)
		return r.Status == client.ReleaseCompleted
	})
}

// unrecorded are the files of which the ledger has no record of their own, each for its
// reason; named tells that a proven statement names such a file by its digest.
var unrecorded = []struct {
	kind, name string // pattern
	named      bool
	why        string
}{
	{"tree", "*.tar", true, "git has it, and the source statement names the commit and the tree"},
	{"source", "foo.txt", true, "a look-aside cache gave it, and the source statement names it"},
	{"document", "repomd.xml", true, "a mirror gave it, and the statement of each build in such a root names it"},
	{"document", "*" + attest.EnvelopesSuffix, false, "it holds statements, each of which the ledger has"},
	{"document", "*" + attest.ProofSuffix, false, "it holds the ledger's own proofs: no record could come before it"},
	{"document", "*" + attest.LogProofSuffix, false, "it is the public log's proof, which readers verify by the log's key"},
}

// TestRecords: of all that a farm keeps from builds that go the whole way and from those
// that fail, the ledger has a record.
func TestRecords(t *testing.T) {
	t.Parallel()
	f := newFarm(t)
	ctx := t.Context()

	f.forge.AddRepo("foo", map[string]string{"foo.spec": farmSpec("foo", "one"), "sources": string(albs.DigestOf([]byte(lookaside))) + " foo.txt\n"})
	good := f.create(client.BuildSource{URL: f.forge.URL("foo"), Ref: "main"})
	f.built(f.east, f.begun("foo"), "foo", "one")
	f.tested(true)

	f.given("bar")
	l := f.begun("bar")
	f.must(f.east.Complete(ctx, l.Token, albs.OutcomeFailed, albs.Result{Reason: "no", Logs: f.logs(f.east, l)}))

	f.given("baz")
	f.built(f.east, f.begun("baz"), "baz", "one")
	f.tested(false)

	gone := f.given("qux")
	l = f.begun("qux")
	logs := f.logs(f.east, l) // from now on nothing of it is taken
	of(f, func() (client.Doc[client.Build], error) { return f.alice.CancelBuild(ctx, gone) })
	f.must(f.east.Complete(ctx, l.Token, albs.OutcomeStopped, albs.Result{Logs: logs}))

	of(f, func() (client.Doc[[]client.Record], error) {
		return f.alice.SetRecord(ctx, "demo", farmRepo, "group", []byte("<comps><group><id>one</id></group></comps>"))
	})
	release := f.released(good)
	of(f, func() (client.Doc[[]client.AllowedFile], error) {
		return f.alice.AllowFile(ctx, "demo", "words.txt", albs.DigestOf([]byte("words\n")), "")
	})
	file := of(f, func() (client.Doc[client.SignedFile], error) {
		return f.alice.SignFile(ctx, client.NewSignedFile{Name: "words.txt", Key: "demo", Content: []byte("words\n")})
	})
	f.until("the file is signed", func() bool {
		got := of(f, func() (client.Doc[client.SignedFile], error) { return f.alice.SignedFile(ctx, file.Task) })
		f.not(got.State == albs.TaskFailed, got.Reason)
		return got.Signed
	})

	_, err := f.west.Claim(ctx, worker.Offer{Version: "test", Labels: []string{"arch:x86_64", "kind:rebuild"}}) // it is heard of
	f.must(err)
	for range 2 { // one comes out otherwise, one fails
		r := of(f, func() (client.Doc[client.Rebuild], error) {
			return f.alice.CreateRebuild(ctx, client.NewRebuild{Of: string(albs.DigestOf(f.rpms("foo", "one")[rpmOf("foo")]))})
		})
		l = f.claim(f.west, albs.KindRebuild)
		if r.ID == 1 {
			f.built(f.west, l, "foo", "other")
			got := of(f, func() (client.Doc[client.Rebuild], error) { return f.alice.Rebuild(ctx, r.ID) })
			f.not(got.Verdict != client.RebuiltDiffers, got.Verdict+" "+got.Reason)
			continue
		}
		f.must(f.west.Complete(ctx, l.Token, albs.OutcomeFailed, albs.Result{Reason: "no", Logs: f.logs(f.west, l)}))
	}

	f.until("there are bills of build and release", func() bool {
		_, err := f.bills.OfBuild(ctx, good, sbom.CycloneDXJSON)
		if err == nil {
			_, err = f.bills.OfRelease(ctx, release, sbom.CycloneDXJSON)
		}
		return err == nil
	})
	count := func(query string, args ...any) (n int) {
		t.Helper()
		f.must(f.db.GetContext(ctx, &n, query, args...))
		return n
	}
	f.until("what is public is in the public log", func() bool {
		return count(`SELECT count(*) FROM artifact WHERE name LIKE $1`, "%"+attest.LogProofSuffix) == 2
	})
	f.until("the releaser has verified it", func() bool {
		return count(`SELECT count(*) FROM statement WHERE predicate = $1`, attest.VSA) == 2
	})
	f.until("the ledger has all", func() bool {
		n, err := f.prov.Pending(ctx)
		f.must(err)
		return n == 0
	})

	var all []struct {
		Digest     albs.Digest
		Kind, Name string
		Signed     bool
	}
	f.must(f.db.SelectContext(ctx, &all, `SELECT digest, kind, name, unsigned IS NOT NULL AS signed FROM artifact ORDER BY id`))
	said := f.said()
	kept, used := map[string]int{}, map[int]bool{}
	for _, a := range all {
		e, err := f.prov.Examine(ctx, a.Digest)
		f.must(err)
		what := a.Kind
		if a.Signed {
			what = "signed " + what
		}
		if e.Record == provenance.Verified {
			kept[what]++
			continue
		}
		excepted := -1
		for i, x := range unrecorded {
			if ok, err := path.Match(x.name, a.Name); ok && err == nil && x.kind == a.Kind {
				excepted = i
			}
		}
		switch {
		case excepted < 0:
			t.Errorf("%s %s is kept, and its record is %s %s", what, a.Name, e.Record, e.Trouble)
		case unrecorded[excepted].named && !strings.Contains(said, string(a.Digest)):
			t.Errorf("%s %s has neither a record nor a statement that names it", what, a.Name)
		default:
			used[excepted] = true
		}
	}
	for i, x := range unrecorded {
		if !used[i] {
			t.Errorf("no %s %s is kept without a record (%s)", x.kind, x.name, x.why)
		}
	}
	// That nothing was kept at all would be no proof.
	for what, want := range map[string]int{"rpm": 2, "srpm": 4, "signed rpm": 1, "signed srpm": 1, "log": 16, "record": 2, "source": 2, "document": 20} {
		if kept[what] < want {
			t.Errorf("%d files of the kind %s have a record, want %d at least; all: %v", kept[what], what, want, kept)
		}
	}
	t.Logf("%d files, with a record %v", len(all), kept)
}

// said are all statements that the ledger proves.
func (f *farm) said() string {
	f.t.Helper()
	var subjects []albs.Digest
	f.must(f.db.SelectContext(f.t.Context(), &subjects, `SELECT DISTINCT subject FROM statement`))
	var out strings.Builder
	for _, d := range subjects {
		e, err := f.prov.Examine(f.t.Context(), d)
		f.must(err)
		for _, s := range e.Statements {
			if s.Standing != provenance.Verified {
				f.t.Errorf("%s of %s is %s: %s", s.Predicate, d.Short(), s.Standing, s.Trouble)
				continue
			}
			out.Write(s.Statement.Predicate)
		}
	}
	return out.String()
}
