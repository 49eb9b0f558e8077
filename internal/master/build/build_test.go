package build

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/egress"
	"albs/internal/git/gittest"
	"albs/internal/master/auth"
	"albs/internal/master/build/status"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/mastertest"
	"albs/internal/master/platform"
	"albs/internal/master/queue"
	"albs/internal/worker"
)

// fixture is a master's building side over a fresh database, all of it real, with
// a git server; the test plays the node.
type fixture struct {
	*Builds
	t      *testing.T
	forge  *gittest.Server
	person context.Context // alice, who may build
	other  context.Context // bob, who may too
	node   context.Context // the node's identity
	local  context.Context // that of a node in the master's process
	me     auth.Actor      // the master's own, for imports and graphs
	cache  string          // directory of the look-aside cache of el9-open
}

const platformYAML = `
name: el9
dist: .el9
releasever: "9"
arches: [x86_64]
repositories: [{id: base, url: "file://%s"}]
rpmdb: {path: /var/lib/rpm, backend: sqlite}
packages: [bash]
test_packages: [bash]
`

// openYAML turns el9 into a platform of two arches, whose builds reach the network
// and have a compiler cache.
const openYAML = `
lookaside: ["file://%s/{hash}"]
network: true
ccache: true
`

func setup(t *testing.T, d *db.DB) *fixture {
	t.Helper()
	f := idle(t, d)
	mastertest.Run(t, func(ctx context.Context) error { return f.Run(ctx, f.me) })
	return f
}

// idle is setup without the master's own tasks being done.
func idle(t *testing.T, d *db.DB) *fixture {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	forge, mirror := gittest.NewServer(t), mastertest.Mirror(t)
	f := &fixture{t: t, forge: forge, cache: t.TempDir()}
	out, err := egress.New(egress.Policy{Allow: []string{forge.Addr(), "file://" + mirror, "file://" + f.cache}, CAFiles: []string{forge.CAFile()}})
	must(err)
	m := mastertest.Open(t, d, mastertest.Config{Outside: out, Queue: queue.Config{Backoff: time.Millisecond}})
	f.Builds = New(Parts{
		DB: d, Events: m.Events, Queue: m.Queue, Artifacts: m.Artifacts, Provenance: m.Provenance,
		Sources: m.Sources(t, out), Platforms: m.Platforms, Products: m.Products, Repos: m.Repos, Log: zerolog.Nop(),
	}, Config{})

	system := auth.System(t.Context(), "test")
	el9 := fmt.Sprintf(platformYAML, mirror)
	for _, yaml := range []string{el9, strings.NewReplacer("name: el9", "name: el9-open", "[x86_64]", "[x86_64, aarch64]").Replace(el9) + fmt.Sprintf(openYAML, f.cache)} {
		spec, err := platform.Parse(strings.NewReader(yaml))
		must(err)
		_, err = m.Platforms.Apply(system, spec)
		must(err)
	}
	me, err := m.Auth.LocalWorker(system, auth.NewWorker{Name: "master", Role: albs.RoleMaster})
	must(err)
	node, err := m.Auth.LocalWorker(system, auth.NewWorker{Name: "node-1", Role: albs.RoleNode, Arches: []albs.Arch{albs.X8664, albs.AArch64}})
	must(err)
	local, err := m.Auth.LocalWorker(system, auth.NewWorker{Name: "local-node", Role: albs.RoleNode, Arches: []albs.Arch{albs.X8664, albs.AArch64}, Labels: []string{LabelTogether, albs.EmulatedLabel(albs.X8664)}})
	must(err)
	contributor := func(name string) context.Context {
		u, err := m.Auth.CreateUser(system, name)
		must(err)
		must(m.Auth.Grant(system, u.ID, auth.Contributor, "core"))
		return auth.With(t.Context(), auth.Actor{Kind: auth.KindPerson, User: u.ID, Name: name, Grants: []auth.Grant{{Role: auth.Contributor, Team: "core"}}})
	}
	f.person, f.other = contributor("alice"), contributor("bob")
	f.me = me
	f.node, f.local = auth.With(t.Context(), node), auth.With(t.Context(), local)

	mastertest.Run(t, m.Events.Run, m.Queue.Run, m.Provenance.Run)
	return f
}

// each runs f on every database.
func each(t *testing.T, f func(t *testing.T, f *fixture)) {
	t.Parallel()
	if _, err := exec.LookPath("rpmbuild"); err != nil {
		t.Skip("rpmbuild is not installed")
	}
	dbtest.Each(t, func(t *testing.T, d *db.DB) { f(t, setup(t, d)) })
}

// claim waits for the next task of the node.
func (f *fixture) claim() *worker.Lease {
	f.t.Helper()
	for range 4 { // a busy machine may need longer than one claim waits
		l, err := f.queue.Claim(f.node, worker.Offer{Labels: []string{"kind:source", "kind:build", "arch:x86_64", "arch:aarch64"}, Wait: 20})
		if err != nil {
			f.t.Fatal(err)
		}
		if l != nil {
			return l
		}
	}
	f.t.Fatal("no task can be claimed")
	return nil
}

// upload sends bytes as the node does.
func (f *fixture) upload(l *worker.Lease, name string, b []byte) albs.File {
	f.t.Helper()
	file := albs.File{Name: name, Digest: albs.DigestOf(b), Size: int64(len(b))}
	if _, err := f.queue.Put(f.node, l.Token, file.Digest, 0, bytes.NewReader(b)); err != nil {
		f.t.Fatal(err)
	}
	return file
}

const spec = `Name: foo
Version: 1
Release: 2%{?dist}
Summary: foo
License: MIT
BuildArch: noarch
%description
foo
%install
mkdir -p %{buildroot}/usr/share; echo NAME > %{buildroot}/usr/share/NAME
%files
/usr/share/NAME
`

// rpms makes an SRPM and an RPM of a package with the host's rpmbuild; change are
// pairs of old and new text of its spec file. What was made once is made no more.
func rpms(t *testing.T, name string, change ...string) (srpm, rpm string) {
	t.Helper()
	text := strings.ReplaceAll(strings.Replace(spec, "Name: foo", "Name: "+name, 1), "NAME", name)
	text = strings.NewReplacer(change...).Replace(text)
	build, _ := madeRPMs.LoadOrStore(text, sync.OnceValues(func() ([2][]byte, error) { return rpmbuild(name, text) }))
	b, err := build.(func() ([2][]byte, error))()
	must(t, err)
	dir := t.TempDir()
	srpm, rpm = filepath.Join(dir, name+"-1-2.el9.src.rpm"), filepath.Join(dir, name+"-1-2.el9.noarch.rpm")
	must(t, os.WriteFile(srpm, b[0], 0o644))
	must(t, os.WriteFile(rpm, b[1], 0o644))
	return srpm, rpm
}

// madeRPMs has what rpms made, by the text of the spec file.
var madeRPMs sync.Map

func rpmbuild(name, text string) (b [2][]byte, err error) {
	dir, err := os.MkdirTemp("", "rpmbuild-")
	if err != nil {
		return b, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, name+".spec")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return b, err
	}
	cmd := exec.Command("rpmbuild", "-ba", "--define", "_topdir "+dir, "--define", "dist .el9", file)
	cmd.Env = append(os.Environ(), "HOME="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return b, fmt.Errorf("rpmbuild: %w: %s", err, out)
	}
	for i, path := range []string{"SRPMS/" + name + "-1-2.el9.src.rpm", "RPMS/noarch/" + name + "-1-2.el9.noarch.rpm"} {
		if b[i], err = os.ReadFile(filepath.Join(dir, path)); err != nil {
			return b, err
		}
	}
	return b, nil
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (f *fixture) complete(l *worker.Lease, r albs.Result) error {
	r.Logs = append(r.Logs, f.upload(l, "build", []byte(fmt.Sprintf("log of task %d\n", l.Token.Task))))
	return f.queue.Complete(f.node, l.Token, albs.OutcomeOK, r)
}

func (f *fixture) create(n NewBuild) Build {
	f.t.Helper()
	if n.Platforms == nil {
		n.Platforms = []Target{{Platform: "el9"}}
	}
	b, err := f.Create(f.person, n)
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

// TestFromCommitToRepository takes two packages the whole way: the second sees the
// first in the build's repository, and everything is stated and recorded.
func TestFromCommitToRepository(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		commit := f.forge.AddRepo("foo", map[string]string{"SPECS/foo.spec": spec}, "imports/foo")
		f.forge.AddRepo("bar", map[string]string{"bar.spec": strings.ReplaceAll(spec, "foo", "bar")})
		b := f.create(NewBuild{Packages: []Package{{URL: f.forge.URL("foo"), Ref: "imports/foo"}, {URL: f.forge.URL("bar"), Ref: "main"}}})
		if len(b.Items) != 2 || b.Items[0].Commit != commit || b.Items[0].RefType != "git_tag" || b.Items[1].RefType != "git_branch" || b.Items[0].Package != "foo" {
			t.Fatalf("build has items %+v", b.Items)
		}

		var last *worker.Lease
		for range 4 { // two sources, two rebuilds, in whatever order they become ready
			l := f.claim()
			name := "foo"
			if s := l.Spec.Source; s != nil {
				if strings.HasPrefix(s.Spec, "bar") {
					name = "bar"
				}
				tree := f.get(l, s.Tree)
				if !tarHas(t, tree, s.Spec) {
					t.Errorf("the tree of %s has no %s", name, s.Spec)
				}
				srpm, _ := rpms(t, name)
				must(t, f.complete(l, albs.Result{Source: &albs.SourceResult{
					SRPM: f.upload(l, filepath.Base(srpm), read(t, srpm)), Record: f.upload(l, "buildroot.json", []byte(`{"of":"`+name+`"}`)),
				}}))
				continue
			}
			name = strings.TrimSuffix(l.Spec.Build.SRPM.Name, "-1-2.el9.src.rpm")
			_, rpm := rpms(t, name)
			must(t, f.complete(l, albs.Result{Build: &albs.BuildResult{
				Packages: []albs.File{f.upload(l, filepath.Base(rpm), read(t, rpm))}, Record: f.upload(l, "buildroot.json", []byte(`{"rpms":"`+name+`"}`)),
			}}))
			last = l
		}
		if r := last.Spec.Build.Root.Repos; len(r) != 2 || !r[0].Own || r[0].Priority != 1 || r[0].Snapshot == "" || r[1].Repomd == "" {
			t.Errorf("the second rebuild had repositories %+v, want the build's own and the pinned mirror", r)
		}

		b, err := f.Get(t.Context(), b.ID)
		must(t, err)
		if b.Status.State != status.Succeeded || b.Status.Done != 6 {
			t.Errorf("status %+v, want 6 tasks succeeded", b.Status)
		}
		own, err := f.own.Of(t.Context(), b.ID, "el9", albs.X8664)
		must(t, err)
		s, err := f.repos.Open(t.Context(), own.Snapshot)
		must(t, err)
		if s.Len() != 2 {
			t.Errorf("the build's repository has %d packages, want 2", s.Len())
		}
		packages, err := f.Packages(t.Context(), b.ID)
		must(t, err)
		for _, a := range packages {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			must(t, f.provenance.WaitNotarized(ctx, a.Digest))
			cancel()
		}
		if len(packages) != 4 {
			t.Errorf("build has packages %+v, want 2 SRPMs and 2 RPMs", packages)
		}
	})
}

func (f *fixture) get(l *worker.Lease, d albs.Digest) []byte {
	f.t.Helper()
	r, err := f.queue.Get(f.node, l.Token, d, 0, -1)
	must(f.t, err)
	defer r.Close()
	b, err := io.ReadAll(r)
	must(f.t, err)
	return b
}

func tarHas(t *testing.T, b []byte, name string) bool {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(b))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return false
		}
		must(t, err)
		if h.Name == name {
			return true
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestForeignPackages: what a task was not asked for is refused, the attempt ends
// as failed with the reason, and nothing of it is shown (T49).
func TestForeignPackages(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		fooSRPM, _ := rpms(t, "foo")
		a, err := f.UploadSRPM(f.person, bytes.NewReader(read(t, fooSRPM)), filepath.Base(fooSRPM))
		must(t, err)
		b := f.create(NewBuild{Packages: []Package{{SRPM: a.Digest}}})
		_, bar := rpms(t, "bar")
		l := f.claim()
		err = f.complete(l, albs.Result{Build: &albs.BuildResult{
			Packages: []albs.File{f.upload(l, filepath.Base(bar), read(t, bar))}, Record: f.upload(l, "buildroot.json", []byte("{}")),
		}})
		if !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), "comes from") {
			t.Fatalf("Complete with a foreign package = %v, want Invalid", err)
		}
		b, err = f.Get(t.Context(), b.ID)
		must(t, err)
		if b.Status.State != status.Failed || !strings.Contains(b.Status.Reason, "comes from") || len(b.Artifacts) != 0 {
			t.Errorf("build %+v with files %+v, want failed without any", b.Status, b.Artifacts)
		}
		if _, err := f.own.Of(t.Context(), b.ID, "el9", albs.X8664); !errors.Is(err, albs.NotFound) {
			t.Errorf("Repository = %v, want NotFound", err)
		}
		// Nor may an SRPM have another name than the spec file.
		f.forge.AddRepo("foo", map[string]string{"foo.spec": spec})
		f.create(NewBuild{Packages: []Package{{URL: f.forge.URL("foo"), Ref: "main"}}})
		barSRPM, _ := rpms(t, "bar")
		if err := f.source(f.claim(), barSRPM); !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), "spec file's name") {
			t.Errorf("Complete with a foreign SRPM = %v, want Invalid", err)
		}
		must(t, f.RetryFailed(f.person, b.ID))
		if b, err = f.Get(t.Context(), b.ID); err != nil || b.Status.State != status.Running {
			t.Errorf("after the retry: %+v, %v", b.Status, err)
		}
		must(t, f.Cancel(f.person, b.ID))
		if b, err = f.Get(t.Context(), b.ID); err != nil || b.Status.State != status.Cancelled {
			t.Errorf("after the cancel: %+v, %v", b.Status, err)
		}
		if err := f.Cancel(f.person, b.ID); !errors.Is(err, albs.Conflict) {
			t.Errorf("the second Cancel = %v, want Conflict", err)
		}
		must(t, f.RetryFailed(f.person, b.ID))
		if b, err = f.Get(t.Context(), b.ID); err != nil || b.Status.State != status.Running {
			t.Errorf("after the retry of a cancelled build: %+v, %v", b.Status, err)
		}
	})
}

// source completes a source task with an SRPM.
func (f *fixture) source(l *worker.Lease, srpm string) error {
	f.t.Helper()
	return f.complete(l, albs.Result{Source: &albs.SourceResult{
		SRPM: f.upload(l, filepath.Base(srpm), read(f.t, srpm)), Record: f.upload(l, "buildroot.json", []byte("{}")),
	}})
}

// TestSameSRPMTwice: the second source package of a name is refused for good, and
// not asked for again and again.
func TestSameSRPMTwice(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		var packages []Package
		for _, repo := range []string{"foo", "fork"} {
			f.forge.AddRepo(repo, map[string]string{"foo.spec": spec})
			packages = append(packages, Package{URL: f.forge.URL(repo), Ref: "main"})
		}
		f.create(NewBuild{Packages: packages})
		first, second := f.claim(), f.claim()
		srpm, _ := rpms(t, "foo")
		must(t, f.source(first, srpm))
		srpm, _ = rpms(t, "foo", "Summary: foo", "Summary: another foo")
		if err := f.source(second, srpm); !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), "there twice") {
			t.Fatalf("Complete with the second foo = %v, want Invalid", err)
		}
	})
}

// TestSamePackageTwice: the same holds for packages that come out of two SRPMs.
func TestSamePackageTwice(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		var packages []Package
		var built []string
		for _, summary := range []string{"foo", "another foo"} {
			srpm, rpm := rpms(t, "foo", "Summary: foo", "Summary: "+summary)
			packages = append(packages, Package{SRPM: f.srpm(srpm)})
			built = append(built, rpm)
		}
		f.create(NewBuild{Packages: packages, Order: Listed})
		must(t, f.rebuilt(f.claim(), built[0]))
		if err := f.rebuilt(f.claim(), built[1]); !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), "there twice") {
			t.Fatalf("Complete with the second foo = %v, want Invalid", err)
		}
	})
}

// TestRepositoriesApart: a noarch package of the same name comes out for every arch
// and every platform, each into its own repository.
func TestRepositoriesApart(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		srpm, rpm := rpms(t, "foo")
		b := f.create(NewBuild{Platforms: []Target{{Platform: "el9"}, {Platform: "el9-open"}}, Packages: []Package{{SRPM: f.srpm(srpm)}}})
		for range 3 {
			must(t, f.rebuilt(f.claim(), rpm))
		}
		packages, err := f.Packages(t.Context(), b.ID)
		if err != nil || len(packages) != 3 {
			t.Errorf("Packages = %+v, %v; want one for each repository", packages, err)
		}
	})
}

// srpm uploads an SRPM as alice does.
func (f *fixture) srpm(path string) albs.Digest {
	f.t.Helper()
	a, err := f.UploadSRPM(f.person, bytes.NewReader(read(f.t, path)), filepath.Base(path))
	must(f.t, err)
	return a.Digest
}

// rebuilt completes a build task with one package.
func (f *fixture) rebuilt(l *worker.Lease, rpm string) error {
	f.t.Helper()
	return f.complete(l, f.result(l, rpm))
}

func (f *fixture) result(l *worker.Lease, rpm string) albs.Result {
	f.t.Helper()
	return albs.Result{Build: &albs.BuildResult{
		Packages: []albs.File{f.upload(l, filepath.Base(rpm), read(f.t, rpm))}, Record: f.upload(l, "buildroot.json", []byte("{}")),
	}}
}

// TestFailedAttempt: of an attempt that failed the logs are kept and recorded, and
// nothing else, whatever it says that it made; the same of a rebuild that isn't for
// the arch.
func TestFailedAttempt(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.forge.AddRepo("foo", map[string]string{"foo.spec": spec})
		srpm, rpm := rpms(t, "foo")
		for outcome, want := range map[albs.Outcome]status.State{albs.OutcomeFailed: status.Failed, albs.OutcomeExcluded: status.Succeeded} {
			for _, p := range []Package{{SRPM: f.srpm(srpm)}, {URL: f.forge.URL("foo"), Ref: "main"}} {
				if outcome == albs.OutcomeExcluded && p.URL != "" {
					continue // its first task is for every arch
				}
				b := f.create(NewBuild{Packages: []Package{p}})
				l := f.claim()
				r := f.result(l, rpm)
				if l.Spec.Source != nil {
					r = albs.Result{Source: &albs.SourceResult{SRPM: f.upload(l, filepath.Base(srpm), read(t, srpm)), Record: r.Build.Record}}
				}
				log := f.upload(l, "build", []byte(fmt.Sprintf("log of task %d\nx.c:7:1: error: no\n", l.Token.Task)))
				r.Logs = []albs.File{log}
				must(t, f.queue.Complete(f.node, l.Token, outcome, r))
				b, err := f.Get(t.Context(), b.ID)
				must(t, err)
				if len(b.Artifacts) != 1 || b.Artifacts[0].Digest != log.Digest || b.Artifacts[0].Kind != "log" || b.Artifacts[0].Arch != "" {
					t.Errorf("%s: build has files %+v, want the log alone", outcome, b.Artifacts)
				}
				if l.Spec.Build != nil && b.Status.State != want {
					t.Errorf("%s: build %+v, want it %s", outcome, b.Status, want)
				}
				var records int
				must(t, f.db.GetContext(t.Context(), &records, `SELECT count(*) FROM file_record WHERE digest = $1`, log.Digest))
				if records != 1 {
					t.Errorf("%s: the log has %d records, want one", outcome, records)
				}
			}
		}
	})
}

// TestTooMuch: no attempt may have any number of logs and packages.
func TestTooMuch(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		srpm, rpm := rpms(t, "foo")
		d := f.srpm(srpm)
		for text, r := range map[string]func(*worker.Lease) albs.Result{
			"17 logs": func(l *worker.Lease) albs.Result {
				r := f.result(l, rpm)
				for i := range 16 {
					r.Logs = append(r.Logs, f.upload(l, fmt.Sprintf("log-%d", i), []byte(fmt.Sprintf("log %d\n", i))))
				}
				return r
			},
			"5001 packages": func(l *worker.Lease) albs.Result {
				r := f.result(l, rpm)
				r.Build.Packages = slices.Repeat(r.Build.Packages, maxPackagesOfTask+1)
				return r
			},
		} {
			f.create(NewBuild{Packages: []Package{{SRPM: d}}})
			l := f.claim()
			if err := f.complete(l, r(l)); !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), text) {
				t.Errorf("Complete with %s = %.200v, want Invalid", text, err)
			}
		}
	})
}

// TestRights: a build is its owner's and its team's; who may not change it changes
// nothing.
func TestRights(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		srpm, rpm := rpms(t, "foo")
		b := f.create(NewBuild{Packages: []Package{{SRPM: f.srpm(srpm)}}})
		l := f.claim()
		task := l.Token.Task
		for name, change := range map[string]func(context.Context) error{
			"cancel":     func(ctx context.Context) error { return f.Cancel(ctx, b.ID) },
			"retry":      func(ctx context.Context) error { return f.RetryFailed(ctx, b.ID) },
			"retry task": func(ctx context.Context) error { return f.RetryTask(ctx, b.ID, task) },
		} {
			if err := change(f.other); !errors.Is(err, albs.Forbidden) {
				t.Errorf("%s by another = %v, want Forbidden", name, err)
			}
			if err := change(t.Context()); !errors.Is(err, albs.Unauthenticated) {
				t.Errorf("%s by nobody = %v, want Unauthenticated", name, err)
			}
		}
		if _, err := f.UploadSRPM(t.Context(), bytes.NewReader(read(t, srpm)), filepath.Base(srpm)); !errors.Is(err, albs.Unauthenticated) {
			t.Errorf("UploadSRPM by nobody = %v, want Unauthenticated", err)
		}
		must(t, f.rebuilt(l, rpm))
		if err := f.RetryTask(f.person, b.ID, task); !errors.Is(err, albs.Conflict) {
			t.Errorf("RetryTask of one that succeeded = %v, want Conflict", err)
		}
		if err := f.RetryTask(f.person, b.ID, task+1000); !errors.Is(err, albs.NotFound) {
			t.Errorf("RetryTask of another build's = %v, want NotFound", err)
		}
		// What came out is no source.
		n := NewBuild{Platforms: []Target{{Platform: "el9"}}, Packages: []Package{{SRPM: albs.DigestOf(read(t, rpm))}}}
		if _, err := f.Create(f.person, n); !errors.Is(err, albs.Invalid) {
			t.Errorf("Create of a binary package = %v, want Invalid", err)
		}
	})
}

// TestReads: a node gets what its task is for and what its repositories have, and
// nothing else that the master holds.
func TestReads(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		foo, fooRPM := rpms(t, "foo")
		bar, _ := rpms(t, "bar")
		other := f.srpm(bar)
		f.create(NewBuild{Packages: []Package{{SRPM: f.srpm(foo)}, {SRPM: other}}, Order: Listed})
		l := f.claim()
		if _, err := f.queue.Get(f.node, l.Token, other, 0, -1); !errors.Is(err, albs.Forbidden) {
			t.Errorf("Get of another task's SRPM = %v, want Forbidden", err)
		}
		must(t, f.rebuilt(l, fooRPM))
		l = f.claim()
		if got := f.get(l, albs.DigestOf(read(t, fooRPM))); len(got) == 0 {
			t.Error("a package of the build's repository is empty")
		}
	})
}

// TestNamesOfAnAttempt: no log may stand where a package's name has to, or the
// package would be in the repository and not be among the build's.
func TestNamesOfAnAttempt(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		srpm, rpm := rpms(t, "foo")
		a, err := f.UploadSRPM(f.person, bytes.NewReader(read(t, srpm)), filepath.Base(srpm))
		must(t, err)
		b := f.create(NewBuild{Packages: []Package{{SRPM: a.Digest}}})
		l := f.claim()
		err = f.complete(l, albs.Result{
			Logs: []albs.File{f.upload(l, filepath.Base(rpm), []byte("a log"))},
			Build: &albs.BuildResult{
				Packages: []albs.File{f.upload(l, filepath.Base(rpm), read(t, rpm))}, Record: f.upload(l, "buildroot.json", []byte("{}")),
			},
		})
		if !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), "two files") {
			t.Fatalf("Complete with a log of a package's name = %v, want Invalid", err)
		}
		if b, err = f.Get(t.Context(), b.ID); err != nil || b.Status.State != status.Failed || len(b.Artifacts) != 0 {
			t.Errorf("build %+v with files %+v, %v; want failed without any", b.Status, b.Artifacts, err)
		}
		own, err := f.own.Of(t.Context(), b.ID, "el9", albs.X8664)
		must(t, err)
		if s, err := f.repos.Open(t.Context(), own.Snapshot); err != nil || s.Len() != 0 {
			t.Errorf("the repository has packages after the refusal (%v)", err)
		}
	})
}

// TestBadImports: what is wrong with a source fails the import with a sentence, and
// what waits for it says why.
func TestBadImports(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		hex := strings.Repeat("a1", 20)
		for name, c := range map[string]struct {
			files map[string]string
			want  string
		}{
			"nospec":    {map[string]string{"README": "x"}, "no spec file"},
			"traversal": {map[string]string{"SPECS/x.spec": spec, ".x.metadata": hex + " ../../x\n"}, ".x.metadata line 1"},
			"nodigest":  {map[string]string{"x.spec": spec, "sources": "x.tar.gz\n"}, "sources line 1"},
			"nowhere":   {map[string]string{"x.spec": spec, "sources": hex + "  x.tar.gz\n"}, "no look-aside URL"},
		} {
			f.forge.AddRepo(name, c.files)
			b := f.create(NewBuild{Packages: []Package{{URL: f.forge.URL(name), Ref: "main"}}})
			b = f.wait(b.ID, status.Failed)
			if !strings.Contains(b.Status.Reason, c.want) {
				t.Errorf("%s failed with %q, want %q in it", name, b.Status.Reason, c.want)
			}
			if tasks := b.Items[0].Tasks; len(tasks) != 3 || tasks[2].State != albs.TaskBlocked || tasks[2].Cause != tasks[0].ID {
				t.Errorf("%s: the rebuild is %+v, want it blocked by the import", name, tasks)
			}
		}
	})
}

// wait waits until the build has the state.
func (f *fixture) wait(id albs.BuildID, want status.State) Build {
	f.t.Helper()
	wake, stop := f.events.Wake("")
	defer stop()
	deadline := time.After(2 * time.Minute)
	for {
		b, err := f.Get(f.t.Context(), id)
		must(f.t, err)
		if b.Status.State == want {
			return b
		}
		select {
		case <-wake:
		case <-deadline:
			f.t.Fatalf("build %d stayed %s (%s), want %s", id, b.Status.State, b.Status.Reason, want)
		}
	}
}

func TestCreateRefuses(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.forge.AddRepo("foo", map[string]string{"foo.spec": spec})
		good := Package{URL: f.forge.URL("foo"), Ref: "main"}
		el9 := []Target{{Platform: "el9"}}
		for name, c := range map[string]struct {
			ctx  context.Context
			n    NewBuild
			kind albs.Kind
		}{
			"anonymous":         {t.Context(), NewBuild{Platforms: el9, Packages: []Package{good}}, albs.Unauthenticated},
			"a worker":          {f.node, NewBuild{Platforms: el9, Packages: []Package{good}}, albs.Forbidden},
			"unknown product":   {f.person, NewBuild{Product: "nope", Platforms: el9, Packages: []Package{good}}, albs.NotFound},
			"unknown platform":  {f.person, NewBuild{Platforms: []Target{{Platform: "el10"}}, Packages: []Package{good}}, albs.NotFound},
			"foreign arch":      {f.person, NewBuild{Platforms: []Target{{"el9", []albs.Arch{albs.S390X}}}, Packages: []Package{good}}, albs.Invalid},
			"platform twice":    {f.person, NewBuild{Platforms: append(el9, el9...), Packages: []Package{good}}, albs.Invalid},
			"no packages":       {f.person, NewBuild{Platforms: el9}, albs.Invalid},
			"no platforms":      {f.person, NewBuild{Packages: []Package{good}}, albs.Invalid},
			"unknown ref":       {f.person, NewBuild{Platforms: el9, Packages: []Package{{URL: good.URL, Ref: "nope"}}}, albs.NotFound},
			"unknown repo":      {f.person, NewBuild{Platforms: el9, Packages: []Package{{URL: f.forge.URL("nope"), Ref: "main"}}}, albs.NotFound},
			"file URL":          {f.person, NewBuild{Platforms: el9, Packages: []Package{{URL: "file:///etc", Ref: "main"}}}, albs.Invalid},
			"option as ref":     {f.person, NewBuild{Platforms: el9, Packages: []Package{{URL: good.URL, Ref: "--output=x"}}}, albs.Invalid},
			"private address":   {f.person, NewBuild{Platforms: el9, Packages: []Package{{URL: "https://10.0.0.1/x.git", Ref: "main"}}}, albs.Forbidden},
			"unknown SRPM":      {f.person, NewBuild{Platforms: el9, Packages: []Package{{SRPM: albs.DigestOf(nil)}}}, albs.NotFound},
			"both":              {f.person, NewBuild{Platforms: el9, Packages: []Package{{URL: good.URL, Ref: "main", SRPM: albs.DigestOf(nil)}}}, albs.Invalid},
			"unknown order":     {f.person, NewBuild{Platforms: el9, Packages: []Package{good}, Order: "random"}, albs.Invalid},
			"break when listed": {f.person, NewBuild{Platforms: el9, Packages: []Package{good}, Order: Listed, Break: []Break{{Package: "a", Needs: "b"}}}, albs.Invalid},
			"macro as option":   {f.person, NewBuild{Platforms: el9, Packages: []Package{good}, Options: Options{With: []string{"%(id)"}}}, albs.Invalid},
			"newline in option": {f.person, NewBuild{Platforms: el9, Packages: []Package{good}, Options: Options{Without: []string{"a\nb"}}}, albs.Invalid},
		} {
			if _, err := f.Create(c.ctx, c.n); albs.KindOf(err) != c.kind {
				t.Errorf("%s: Create = %v, want %s", name, err, c.kind)
			}
		}
		if n, err := f.CountOf(t.Context(), Filter{}); n != 0 || err != nil {
			t.Errorf("%d builds are there after refusals (%v)", n, err)
		}
	})
}

// TestIdempotencyKey: the same request makes one build, for each person.
func TestIdempotencyKey(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		f.forge.AddRepo("foo", map[string]string{"foo.spec": spec})
		n := NewBuild{Key: "k", Packages: []Package{{URL: f.forge.URL("foo"), Ref: "main"}}}
		first, second := f.create(n), f.create(n)
		if first.ID != second.ID {
			t.Errorf("two builds, %d and %d, of one key", first.ID, second.ID)
		}
		bobs := n
		bobs.Platforms = []Target{{Platform: "el9"}}
		if b, err := f.Create(f.other, bobs); err != nil || b.ID == first.ID {
			t.Errorf("another person's key gave build %d, %v", b.ID, err)
		}
		n.Key = "other"
		if third := f.create(n); third.ID == first.ID {
			t.Error("another key gave the same build")
		}
		got, more, err := f.List(t.Context(), Filter{Limit: 1, Owner: "alice"})
		if err != nil || len(got) != 1 || !more || got[0].ID <= first.ID {
			t.Errorf("List = %+v, %v, %v: want the newest of two", got, more, err)
		}
		next, more, err := f.List(t.Context(), Filter{Limit: 1, Before: got[0].ID, Owner: "alice", Package: "foo", Platform: "el9"})
		if err != nil || len(next) != 1 || more || next[0].ID != first.ID {
			t.Errorf("second page = %+v, %v, %v", next, more, err)
		}
		if diff := cmp.Diff([]string{"el9"}, next[0].Platforms); diff != "" {
			t.Errorf("platforms (-want +got):\n%s", diff)
		}
	})
}
