package bill

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	builds "albs/internal/master/build/store"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/event"
	"albs/internal/master/mastertest"
	"albs/internal/master/platform"
	"albs/internal/master/product"
	"albs/internal/master/provenance"
	"albs/internal/master/queue"
	"albs/internal/master/release"
	"albs/internal/master/release/plan"
	"albs/internal/master/repo"
	"albs/internal/pgp"
	"albs/internal/repodata"
	"albs/internal/rpm"
	"albs/internal/rpm/rpmtest"
	"albs/internal/sbom"
)

// record is the buildroot record of the build.
var record = albs.DigestOf([]byte("record"))

const commit = "0123456789abcdef0123456789abcdef01234567"

// packages are what rpmbuild makes of a package with a library that it needs, of
// something that isn't in the build, and of what it has bundled.
var packages = sync.OnceValues(func() (map[string][]byte, error) {
	return rpmtest.Build(`%define debug_package %{nil}
Name: hello
Epoch: 1
Version: 1.0
Release: 1.el9
Summary: A package
License: GPLv2+ and MIT
Vendor: Example
AutoReqProv: no
Requires: hello-libs = 1:%{version}-%{release}
Requires: elsewhere >= 2
Provides: bundled(zlib) = 1.2
%description
Words.
%package libs
Summary: Its library
AutoReqProv: no
%description libs
More words.
%package doc
Summary: Its words
BuildArch: noarch
AutoReqProv: no
Requires: (hello or hello-libs)
%description doc
Most words.
%install
mkdir -p %{buildroot}/usr/share/hello
for f in file lib doc; do echo $f > %{buildroot}/usr/share/hello/$f; done
%files
/usr/share/hello/file
%files libs
/usr/share/hello/lib
%files doc
/usr/share/hello/doc
`, "--target", "x86_64")
})

// fixture is a master's modules with bills over builds and releases that the test says.
type fixture struct {
	*Bills
	*mastertest.Modules
	t        *testing.T
	builds   map[albs.BuildID]build.Build
	releases map[albs.ReleaseID]release.Release
	public   map[string]artifact.Artifact // unsigned, by name
}

func (f *fixture) Get(_ context.Context, id albs.BuildID) (build.Build, error) {
	b, ok := f.builds[id]
	if !ok {
		return b, albs.Errorf(albs.NotFound, "build %d is gone", id)
	}
	return b, nil
}

func (f *fixture) There(ctx context.Context, _ db.Q, id albs.BuildID) error {
	_, err := f.Get(ctx, id)
	return err
}

func (f *fixture) Packages(ctx context.Context, id albs.BuildID) ([]build.Artifact, error) {
	b, err := f.Get(ctx, id)
	return slices.DeleteFunc(slices.Clone(b.Artifacts), func(a build.Artifact) bool { return a.Kind == "record" }), err
}

func (f *fixture) Made(_ context.Context, ds []albs.Digest) (map[albs.Digest]albs.BuildID, error) {
	out := map[albs.Digest]albs.BuildID{}
	for id, b := range f.builds {
		for _, a := range b.Artifacts {
			if slices.Contains(ds, a.Digest) {
				out[a.Digest] = id
			}
		}
	}
	return out, nil
}

type releases struct{ *fixture }

func (r releases) Get(_ context.Context, id albs.ReleaseID) (release.Release, error) {
	out, ok := r.releases[id]
	if !ok {
		return out, albs.Errorf(albs.NotFound, "release %d isn't there", id)
	}
	return out, nil
}

func open(t *testing.T, d *db.DB) *fixture {
	t.Helper()
	f := undelivered(t, d)
	mastertest.Run(t, f.Modules.Provenance.Run)
	return f
}

// undelivered is a fixture of which nothing reaches the ledger.
func undelivered(t *testing.T, d *db.DB) *fixture {
	t.Helper()
	f := &fixture{
		t: t, Modules: mastertest.Open(t, d, mastertest.Config{}), builds: map[albs.BuildID]build.Build{}, releases: map[albs.ReleaseID]release.Release{},
		public: map[string]artifact.Artifact{},
	}
	f.Bills = New(Parts{
		DB: d, Events: f.Modules.Events, Queue: f.Modules.Queue, Artifacts: f.Modules.Artifacts, Provenance: f.Modules.Provenance, Platforms: f.Modules.Platforms,
		References: f.Modules.References, Products: f.Modules.Products, Repos: f.Modules.Repos, Builds: f, Releases: releases{f},
		URL: "https://albs.example", Version: "1.2", Log: zerolog.Nop(),
	}, Config{Supplier: "Example Project", Email: "sbom@example.org"})
	token, err := f.Auth.Bootstrap(t.Context())
	f.must(err)
	admin, err := f.Auth.Authenticate(t.Context(), token)
	f.must(err)
	spec := mastertest.Platform("el", albs.X8664)
	spec.OS = platform.OS{ID: "almalinux", Name: "AlmaLinux", Version: "9"}
	_, err = f.Modules.Platforms.Apply(auth.With(t.Context(), admin), spec)
	f.must(err)
	_, err = f.Modules.Products.Apply(auth.With(t.Context(), admin), product.Spec{
		Name: "demo", Team: "core", Platforms: []string{"el"}, Key: "demo key",
		Repositories: []product.Repository{
			{Path: "el/os", Platform: "el", Arch: albs.X8664, Kind: product.RPM}, {Path: "el/source", Platform: "el", Arch: albs.Src, Kind: product.Source},
		},
		Gate: product.Gate{Tests: product.Advisory}, Approvals: product.Approvals{Count: 1},
	})
	f.must(err)
	return f
}

// delivered waits until all that was stated is in the ledger.
func (f *fixture) delivered() {
	f.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		n, err := f.Modules.Provenance.Pending(f.t.Context())
		f.must(err)
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("%d parcels still wait for the ledger", n)
		}
	}
}

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// hold takes a package in, with a statement of the predicate.
func (f *fixture) hold(name string, b []byte, predicate string, body any, of albs.Digest) artifact.Artifact {
	f.t.Helper()
	kind := artifact.RPM
	if strings.HasSuffix(name, ".src.rpm") {
		kind = artifact.SRPM
	}
	a, err := f.Modules.Artifacts.Save(f.t.Context(), bytes.NewReader(b), 1<<20, name, kind)
	f.must(err)
	if of != "" {
		a.Unsigned, a.SignedBy = of, "ABCD"
	}
	f.must(f.DB.InTx(f.t.Context(), func(tx db.Tx) error {
		if err := f.Modules.Artifacts.Add(f.t.Context(), tx, a); err != nil {
			return err
		}
		return f.Modules.Provenance.State(f.t.Context(), tx, provenance.Fact{
			Subjects: []attest.Subject{provenance.SubjectOf(a)}, Predicate: predicate, Body: body, Files: []artifact.Artifact{a},
		})
	}))
	return a
}

// build adds a build of the packages that has ended.
func (f *fixture) build(id albs.BuildID) {
	f.t.Helper()
	all, err := packages()
	if errors.Is(err, exec.ErrNotFound) {
		f.t.Skip("rpmbuild is not installed")
	}
	f.must(err)
	f.must(f.DB.InTx(f.t.Context(), func(tx db.Tx) error { // the commit is notarized
		return f.Modules.Provenance.State(f.t.Context(), tx, provenance.Fact{
			Subjects:  []attest.Subject{{Name: commit, Digest: map[string]string{attest.SHA256: string(albs.DigestOf([]byte(commit))), attest.GitCommit: commit}}},
			Predicate: attest.Commit, Body: attest.CommitBody{Repository: "git+https://git.example/hello.git", Ref: "refs/heads/main", Tree: commit, Requester: "olga"},
		})
	}))
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	v := build.Build{ID: id, Owner: "olga", CreatedAt: at}
	it := build.Item{ID: 1, Platform: "el", Arches: []albs.Arch{albs.X8664}, Package: "hello", URL: "https://git.example/hello.git", Ref: "main", Commit: commit}
	it.Tasks = []build.Task{{Task: queue.Task{State: albs.TaskSucceeded, Changed: db.At(at.Add(time.Hour))}}}
	for name, b := range all {
		a := f.hold(name, b, attest.Build, attest.BuildBody{}, "")
		f.public[a.NEVRA.Name+"."+a.NEVRA.Arch] = a
		arch := albs.X8664
		if a.Kind == artifact.SRPM {
			arch, it.SRPM = albs.Src, a.File()
		}
		v.Artifacts = append(v.Artifacts, build.Artifact{Item: 1, Digest: a.Digest, Kind: string(a.Kind), Name: name, Arch: arch})
	}
	v.Artifacts = append(v.Artifacts, build.Artifact{Item: 1, Digest: record, Kind: "record", Name: "record.json"}, build.Artifact{Item: 1, Task: 9, Digest: albs.DigestOf(nil), Kind: "record"})
	v.Items = []build.Item{it}
	f.builds[id] = v
}

// sign returns signed copies of the build's packages.
func (f *fixture) sign() []artifact.Artifact {
	f.t.Helper()
	key, err := pgp.Generate("Demo <demo@example.org>", pgp.Ed25519, time.Now())
	f.must(err)
	all, err := packages()
	f.must(err)
	var out []artifact.Artifact
	for name, b := range all {
		header, err := rpm.Header(bytes.NewReader(b))
		f.must(err)
		sig, isRSA, err := key.Sign(header)
		f.must(err)
		var signed bytes.Buffer
		f.must(rpm.Splice(&signed, bytes.NewReader(b), sig, isRSA))
		out = append(out, f.hold(name, signed.Bytes(), attest.Sign, attest.SignBody{}, albs.DigestOf(b)))
	}
	return out
}

// publish shows packages as a serial of the product.
func (f *fixture) publish(id albs.ReleaseID, serial int64, packages ...artifact.Artifact) {
	f.t.Helper()
	ctx := f.t.Context()
	var rpms, srpms []artifact.Artifact
	for _, p := range packages {
		if p.Kind == artifact.SRPM {
			srpms = append(srpms, p)
		} else {
			rpms = append(rpms, p)
		}
	}
	tree := repodata.Tree{Product: "demo", Serial: serial}
	for path, add := range map[string][]artifact.Artifact{"el/os": rpms, "el/source": srpms} {
		s, err := f.Modules.Repos.ExtendSnapshot(ctx, "", repoChange(add))
		f.must(err)
		tree.Repositories = append(tree.Repositories, repodata.TreeRepo{Path: path, Snapshot: s})
	}
	d, err := f.Modules.Repos.SaveTree(ctx, tree)
	f.must(err)
	f.must(f.DB.InTx(auth.System(ctx, "test"), func(tx db.Tx) error {
		return f.Modules.Repos.AdvanceTree(auth.System(ctx, "test"), tx, "demo", serial-1, tree, d)
	}))
	f.releases[id] = release.Release{ID: id, Product: "demo", Status: release.Completed, Serial: serial, Tree: d}
}

func (f *fixture) after(e event.Event) { f.t.Helper(); f.must(f.Bills.after(f.t.Context(), e)) }

func (f *fixture) ended(id albs.BuildID) {
	f.t.Helper()
	f.task(id, 1)
}

// task tells that a rebuild of a build has ended.
func (f *fixture) task(id albs.BuildID, task albs.TaskID) {
	f.t.Helper()
	f.after(event.Event{Kind: "task.succeeded", Topic: build.Topic(id), Data: json.RawMessage(`{"kind":"build","task":` + task.String() + `}`)})
}

func (f *fixture) released(id albs.ReleaseID) {
	f.t.Helper()
	data, err := json.Marshal(release.Event{Release: id})
	f.must(err)
	f.after(event.Event{Kind: release.EventPublished, Topic: release.Topic(id), Data: data})
}

func (f *fixture) read(d Document, err error) []byte {
	f.t.Helper()
	f.must(err)
	text, err := d.Ready(f.t.Context())
	f.must(err)
	defer text.Close()
	r, err := text.Open(0, -1)
	f.must(err)
	defer r.Close()
	b, err := io.ReadAll(r)
	f.must(err)
	if int64(len(b)) != text.Size || d.Kept && albs.DigestOf(b) != d.Tag {
		f.t.Errorf("%s has %d bytes of digest %s, and is said to have %d of %s", d.Name, len(b), albs.DigestOf(b).Short(), text.Size, d.Tag.Short())
	}
	return b
}

func (f *fixture) bom(d Document, err error) cdx.BOM {
	f.t.Helper()
	var out cdx.BOM
	f.must(json.Unmarshal(f.read(d, err), &out))
	return out
}

// rests lists what a component rests on, by names.
func rests(b cdx.BOM, name string) []string {
	names := map[string]string{b.Metadata.Component.BOMRef: b.Metadata.Component.Name}
	for _, c := range *b.Components {
		n := c.Name
		if strings.Contains(c.PackageURL, "arch=src") {
			n += ".src"
		}
		names[c.BOMRef] = n
	}
	var out []string
	for _, d := range *b.Dependencies {
		if names[d.Ref] != name || d.Dependencies == nil {
			continue
		}
		for _, on := range *d.Dependencies {
			out = append(out, names[on])
		}
	}
	slices.Sort(out)
	return out
}

func properties(c *cdx.Component) map[string]string {
	out := map[string]string{}
	for _, p := range *c.Properties {
		out[p.Name] = p.Value
	}
	return out
}

// statements counts those of bills about a digest.
func (f *fixture) statements(d albs.Digest) []attest.SBOMBody {
	f.t.Helper()
	said, err := f.Modules.Provenance.Stated(f.t.Context(), d, attest.SBOM)
	f.must(err)
	var out []attest.SBOMBody
	for _, s := range said {
		var b attest.SBOMBody
		f.must(s.Body(&b))
		out = append(out, b)
	}
	return out
}

// into collects bills.
func into(all *[]made) func(context.Context, made) error {
	return func(_ context.Context, m made) error { *all = append(*all, m); return nil }
}

// all are the bills of a build and its packages.
func (f *fixture) all(id albs.BuildID) (all []made) {
	f.t.Helper()
	f.must(f.ofBuild(f.t.Context(), id, into(&all)))
	return all
}

func each(t *testing.T, do func(f *fixture)) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) { do(open(t, d)) })
}

func TestBuild(t *testing.T) {
	each(t, func(f *fixture) {
		ctx := f.t.Context()
		f.build(7)
		hello := f.public["hello.x86_64"]
		if _, err := f.OfBuild(ctx, 7, sbom.SPDXJSON); albs.KindOf(err) != albs.NotFound {
			f.t.Errorf("before the build has ended: %v", err)
		}
		f.ended(7)

		b := f.bom(f.OfPackage(ctx, string(hello.Digest), sbom.CycloneDXJSON))
		if diff := cmp.Diff([]string{"almalinux", "hello-libs", "hello.src", "zlib"}, rests(b, "hello")); diff != "" {
			f.t.Errorf("the package rests on (-want +got):\n%s", diff)
		}
		got := properties(b.Metadata.Component)
		for name, want := range map[string]string{
			sbom.PropertyGitCommit: commit, sbom.PropertyGitURL: "https://git.example/hello.git", sbom.PropertyGitRef: "main", sbom.PropertySourceType: "git",
			sbom.PropertyBuildID: "7", sbom.PropertyBuildURL: "https://albs.example/build/7", sbom.PropertyAuthor: "olga", sbom.PropertyTargetArch: "x86_64",
			sbom.PropertyBuildroot: string(record),
			sbom.PropertyGitRecord: string(albs.DigestOf([]byte(commit))),
			sbom.PropertyRecord:    string(hello.Digest), sbom.PropertyEpoch: "1", sbom.PropertyPackageType: "rpm",
		} {
			if got[name] != want {
				f.t.Errorf("%s is %q, want %q", name, got[name], want)
			}
		}
		if n := len(*b.Metadata.Component.Hashes); n != 2 || b.Metadata.Timestamp != "2026-11-22T11:00:00Z" {
			f.t.Errorf("the package has %d hashes and is of %s", n, b.Metadata.Timestamp)
		}
		if refs := *b.Metadata.Component.ExternalReferences; refs[0].Type != cdx.ERTypeDistribution || refs[0].URL != "https://albs.example/blobs/"+string(hello.Digest) || len(*refs[0].Hashes) != 2 {
			f.t.Errorf("the package can be had at %+v", refs)
		}
		aggregates := map[cdx.CompositionAggregate]bool{}
		for _, c := range *b.Compositions {
			aggregates[c.Aggregate] = c.Dependencies != nil && slices.Contains(*c.Dependencies, cdx.BOMReference(b.Metadata.Component.BOMRef))
		}
		if aggregates[cdx.CompositionAggregateComplete] || !aggregates[cdx.CompositionAggregateUnknown] {
			f.t.Errorf("what nobody provides is said to be resolved: %+v", *b.Compositions)
		}

		whole := f.bom(f.OfBuild(ctx, 7, sbom.CycloneDXJSON))
		if c := whole.Metadata.Component; c.Type != cdx.ComponentTypeFramework || c.Name != "build-7" || properties(c)[sbom.PropertyBuilt] != "2026-11-22T10:00:00Z" {
			f.t.Errorf("the build is %+v", c)
		}
		if diff := cmp.Diff([]string{"almalinux", "hello", "hello-doc", "hello-libs", "hello.src"}, rests(whole, "build-7")); diff != "" {
			f.t.Errorf("the build has (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"hello", "hello.src"}, rests(whole, "hello-doc")); diff != "" {
			f.t.Errorf("a boolean requirement is met by (-want +got):\n%s", diff)
		}

		// All formats are there, attested or not, under the NEVRA too.
		for _, format := range sbom.Formats() {
			d, err := f.OfPackage(ctx, "hello-1:1.0-1.el9.x86_64", format)
			if text := f.read(d, err); !bytes.Contains(text, []byte(hello.Digest)) || d.Name != hello.Name+format.Ending() {
				f.t.Errorf("%s of the package is %s:\n%s", format, d.Name, text)
			}
			if want := slices.Contains(Attested, format); d.Attested != want {
				f.t.Errorf("%s is attested: %v", format, d.Attested)
			}
		}

		// The statements name what is given.
		said := f.statements(hello.Digest)
		if len(said) != 1 || said[0].Kind != attest.SBOMPackage || said[0].Build != 7 || len(said[0].Documents) != 2 {
			f.t.Fatalf("of the package is stated %+v", said)
		}
		for _, o := range said[0].Documents {
			d, err := f.OfPackage(ctx, string(hello.Digest), sbom.Format(o.Name))
			f.read(d, err)
			if string(d.Tag) != o.Digest[attest.SHA256] {
				f.t.Errorf("%s is %s and stated to be %v", o.Name, d.Tag, o.Digest)
			}
		}
		d, err := f.OfBuild(ctx, 7, sbom.SPDXJSON)
		f.must(err)
		if said := f.statements(d.Tag); len(said) != 1 || said[0].Kind != "build" {
			f.t.Errorf("of the build's document is stated %+v", said)
		}

		// Made again, it is the same, and nobody says it twice.
		before := f.read(f.OfBuild(ctx, 7, sbom.SPDXJSON))
		all := f.all(7)
		for _, m := range all {
			for _, format := range Attested {
				text, err := m.bill.Write(format)
				f.must(err)
				given := f.read(f.document(ctx, m.bill.Kind, m.subject, format, ""))
				if !bytes.Equal(text, given) {
					f.t.Errorf("%s of %s is another one when it is made again:\n%s", format, m.name, cmp.Diff(string(given), string(text)))
				}
			}
		}
		k := keeping{Bills: f.Bills}
		for _, m := range all {
			f.must(k.add(ctx, m))
		}
		f.must(k.end(ctx))
		f.ended(7)
		if n := len(f.statements(hello.Digest)); n != 1 {
			f.t.Errorf("the same was stated %d times", n)
		}

		// Of what took the place of a package there is another bill.
		v := f.builds[7]
		v.Artifacts = slices.DeleteFunc(slices.Clone(v.Artifacts), func(a build.Artifact) bool { return strings.HasPrefix(a.Name, "hello-libs") })
		f.builds[7] = v
		f.ended(7)
		if after := f.read(f.OfBuild(ctx, 7, sbom.SPDXJSON)); bytes.Equal(before, after) || bytes.Contains(after, []byte(`"name": "hello-libs"`)) {
			f.t.Errorf("after a package went the build's bill is\n%s", after)
		}
		delete(f.builds, 7)
		if _, err := f.OfBuild(ctx, 7, sbom.SPDXJSON); albs.KindOf(err) != albs.NotFound {
			f.t.Errorf("of a build that is gone: %v", err)
		}
	})
}

// TestWorking: while a task of the build is to be done there is no bill, and the ends of
// others are no cause to look.
func TestWorking(t *testing.T) {
	each(t, func(f *fixture) {
		ctx := auth.System(f.t.Context(), "test")
		f.build(7)
		for _, k := range []albs.TaskKind{albs.KindBuild, albs.KindTest} {
			f.Modules.Queue.Register(k, nothing{})
		}
		var waits albs.TaskID
		add := func(k albs.TaskKind) {
			f.must(f.DB.InTx(ctx, func(tx db.Tx) (err error) {
				waits, err = f.Modules.Queue.Enqueue(ctx, tx, queue.NewTask{Kind: k, Lane: "user:olga", Topic: build.Topic(7)})
				return err
			}))
		}
		bill := func() bool {
			_, err := f.OfBuild(ctx, 7, sbom.SPDXJSON)
			if err != nil && albs.KindOf(err) != albs.NotFound {
				f.t.Error(err)
			}
			return err == nil
		}
		add(albs.KindBuild)
		f.task(7, waits+100)
		if bill() {
			f.t.Error("there is a bill while a task waits")
		}
		// Events of other things, and of work that begins, are no cause.
		for _, e := range []event.Event{
			{Kind: "task.queued", Topic: "build:8"}, {Kind: "build.created", Topic: "build:8"}, {Kind: "release.planned", Topic: "release:1"}, {Kind: "task.succeeded", Topic: "release:1"},
			{Kind: "task.succeeded", Topic: "build:8", Data: json.RawMessage(`{"kind":"test","task":1}`)},
		} {
			f.after(e)
		}
		_, err := f.DB.ExecContext(ctx, `UPDATE task SET state = 'failed' WHERE id = $1`, waits)
		f.must(err)
		done := waits
		f.task(7, waits+100) // it was waited for another one
		if bill() {
			f.t.Error("it was looked at a build though the task that it waited for hasn't ended")
		}
		e := event.Event{Kind: "task.succeeded", Topic: build.Topic(7), Data: json.RawMessage(`{"kind":"build","task":` + (waits + 100).String() + `}`)}
		f.following = ctx
		f.must(f.follow(ctx, e)) // likewise
		if bill() {
			f.t.Error("it forgot what it waited for")
		}
		f.waiting[8] = 1
		anew, cancel := context.WithCancel(ctx)
		defer cancel()
		e.Topic = build.Topic(9) // of a build that is gone
		if f.must(f.follow(anew, e)); len(f.waiting) != 0 {
			f.t.Errorf("after another master followed it waits still: %v", f.waiting)
		}
		f.waiting[7] = done
		add(albs.KindTest) // whose end is not waited for
		f.task(7, done)
		if !bill() {
			f.t.Error("there is no bill though all has ended but a test")
		}
		failed := event.Event{Kind: "task.failed", Topic: "build:8", Data: json.RawMessage(`{"kind":"build","task":1}`)}
		if err := f.Bills.after(ctx, failed); albs.KindOf(err) != albs.NotFound {
			f.t.Errorf("of a build that is gone: %v", err)
		}
		// A follower goes on after what can't be made.
		for _, e := range []event.Event{failed, {Kind: "task.failed", Topic: "build:x"}, {Kind: "task.failed", Topic: "build:8", Data: json.RawMessage(`"x"`)}, {Kind: release.EventPublished, Data: json.RawMessage(`"x"`)}} {
			if err := f.follow(ctx, e); err != nil {
				f.t.Errorf("after %s of %s the follower stands: %v", e.Kind, e.Topic, err)
			}
		}
	})
}

type nothing struct{ queue.Handler }

// TestProven: what is on its way is waited for, and nothing else, whatever of others is.
func TestProven(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := undelivered(t, d)
		f.build(7)
		f.patience = time.Millisecond
		if err := f.proven(t.Context(), f.public["hello.x86_64"].Digest); albs.KindOf(err) != albs.Unavailable {
			t.Errorf("what is on its way: %v", err)
		}
		if err := f.proven(t.Context(), albs.DigestOf([]byte("stray"))); albs.KindOf(err) != albs.Conflict {
			t.Errorf("what nobody has said, while other things are on their way: %v", err)
		}
		// A bill made before the commit's record is proven, and one made later, would differ.
		if err := f.ofBuild(t.Context(), 7, into(&[]made{})); albs.KindOf(err) != albs.Unavailable || !strings.Contains(err.Error(), "commit "+commit[:12]) {
			t.Errorf("a commit whose record is on its way: %v", err)
		}
		f.patience = time.Minute
		mastertest.Run(t, f.Modules.Provenance.Run)
		if err := f.ofBuild(t.Context(), 7, into(&[]made{})); err != nil {
			t.Errorf("once the ledger has it: %v", err)
		}
	})
}

// failing are builds that can't be read.
type failing struct {
	*fixture
	err error
}

func (f failing) Packages(context.Context, albs.BuildID) ([]build.Artifact, error) { return nil, f.err }

// TestBroken: the follower stands for what may pass alone.
func TestBroken(t *testing.T) {
	each(t, func(f *fixture) {
		e := event.Event{Kind: "task.succeeded", Topic: build.Topic(7), Data: json.RawMessage(`{"kind":"build","task":1}`)}
		for name, tt := range map[string]struct {
			err    error
			stands bool
		}{
			"a part is away":      {albs.Errorf(albs.Unavailable, "away"), true},
			"the storage is full": {albs.Errorf(albs.NoSpace, "full"), true},
			"it takes too long":   {context.DeadlineExceeded, true},
			"a package is broken": {errors.New("the blob isn't what it was"), false},
			"it was deleted":      {albs.Errorf(albs.NotFound, "gone"), false},
			"nobody may":          {albs.Errorf(albs.Forbidden, "no"), false},
		} {
			f.Bills.Builds = failing{f, tt.err}
			if err := f.follow(f.t.Context(), e); (err != nil) != tt.stands {
				f.t.Errorf("%s: the follower is told %v", name, err)
			}
		}
	})
}

// TestRendered: only so many are there at once of formats that aren't kept, each until it is
// closed, and what a row alone says was attested is not.
func TestRendered(t *testing.T) {
	each(t, func(f *fixture) {
		ctx := f.t.Context()
		f.build(7)
		f.ended(7)
		d, err := f.OfBuild(ctx, 7, sbom.SPDXYAML)
		f.must(err)
		var all []*Bytes
		for range maxRendered {
			b, err := d.Ready(ctx)
			f.must(err)
			defer b.Close()
			all = append(all, b)
		}
		if _, err := d.Ready(ctx); albs.KindOf(err) != albs.Unavailable {
			f.t.Errorf("one too many: %v", err)
		}
		kept, err := f.OfBuild(ctx, 7, sbom.SPDXJSON)
		if f.read(kept, err); !kept.Attested {
			f.t.Error("what was stated isn't attested")
		}
		all[0].Close()
		all[0].close = nil
		f.read(d, nil)

		_, err = f.DB.ExecContext(ctx, `UPDATE bill_document SET digest = $1 WHERE digest = $2`, f.public["hello.src"].Digest, kept.Tag)
		f.must(err)
		if other, err := f.OfBuild(ctx, 7, sbom.SPDXJSON); err != nil || other.Tag == kept.Tag || other.Attested {
			f.t.Errorf("another document that nobody stated is attested: %v, %v", other.Attested, err)
		}
	})
}

func TestRelease(t *testing.T) {
	each(t, func(f *fixture) {
		ctx := f.t.Context()
		f.build(7)
		signed := f.sign()
		f.publish(3, 1, signed...)
		f.released(3)
		var hello artifact.Artifact
		for _, a := range signed {
			if a.NEVRA.Name == "hello" && a.Kind == artifact.RPM {
				hello = a
			}
		}
		b := f.bom(f.OfPackage(ctx, string(hello.Digest), sbom.CycloneDXJSON))
		if diff := cmp.Diff([]string{"almalinux", "hello-libs", "hello.src", "zlib"}, rests(b, "hello")); diff != "" {
			f.t.Errorf("the signed package rests on (-want +got):\n%s", diff)
		}
		got := properties(b.Metadata.Component)
		for name, want := range map[string]string{
			sbom.PropertyGitCommit: commit, sbom.PropertyBuildID: "7", sbom.PropertyUnsigned: string(hello.Unsigned), sbom.PropertySignedBy: "ABCD",
			sbom.PropertyRecord: string(hello.Digest), sbom.PropertyTargetArch: "x86_64",
		} {
			if got[name] != want {
				f.t.Errorf("%s is %q, want %q", name, got[name], want)
			}
		}
		for _, c := range *b.Components { // its neighbours are the signed ones
			if c.Name == "hello-libs" && !strings.HasPrefix(c.BOMRef, "rpm-") || c.Name == "hello-libs" && c.BOMRef == sbom.RefOf(f.public["hello-libs.x86_64"].Digest) {
				f.t.Errorf("the library is %+v", c)
			}
		}
		if said := f.statements(hello.Digest); len(said) != 1 || said[0].Release != 3 || said[0].Serial != 1 || said[0].Product != "demo" || said[0].Tree != f.releases[3].Tree {
			f.t.Errorf("of the package is stated %+v", said)
		}

		whole := f.bom(f.OfRelease(ctx, 3, sbom.CycloneDXJSON))
		if c := whole.Metadata.Component; c.Name != "demo" || c.Version != "1" || properties(c)[sbom.PropertyTree] != string(f.releases[3].Tree) {
			f.t.Errorf("the release is %+v", c)
		}
		if diff := cmp.Diff([]string{"almalinux", "hello", "hello-doc", "hello-libs", "hello.src"}, rests(whole, "demo")); diff != "" {
			f.t.Errorf("the release has (-want +got):\n%s", diff)
		}

		// Made again it is the same, though now no package is new.
		r, err := f.shown(ctx, f.releases[3])
		f.must(err)
		var all []made
		f.must(f.ofFresh(ctx, f.releases[3], r, r.digests(), into(&all)))
		f.must(f.ofRelease(ctx, f.releases[3], r, maxListed, into(&all)))
		if len(all) != 5 {
			f.t.Errorf("there are %d bills", len(all))
		}
		for _, m := range all {
			text, err := m.bill.Write(sbom.SPDXJSON)
			f.must(err)
			if given := f.read(f.document(ctx, m.bill.Kind, m.subject, sbom.SPDXJSON, "")); !bytes.Equal(text, given) {
				f.t.Errorf("%s is another one when it is made again:\n%s", m.name, cmp.Diff(string(given), string(text)))
			}
		}

		// A later release has no new package: one more bill, of the release, and the
		// packages keep theirs.
		f.publish(4, 2, hello)
		f.released(4)
		if n := len(f.statements(hello.Digest)); n != 1 {
			f.t.Errorf("the package's bill was stated %d times", n)
		}
		later := f.bom(f.OfRelease(ctx, 4, sbom.CycloneDXJSON))
		if diff := cmp.Diff([]string{"almalinux", "hello"}, rests(later, "demo")); diff != "" {
			f.t.Errorf("the later release has (-want +got):\n%s", diff)
		}

		// The name leads to the signed one.
		d, err := f.OfPackage(ctx, hello.Name, sbom.SPDXJSON)
		f.must(err)
		if of, err := f.OfPackage(ctx, string(hello.Digest), sbom.SPDXJSON); err != nil || of.Tag != d.Tag {
			f.t.Errorf("by its name the bill is %s, by its digest %s, %v", d.Tag, of.Tag, err)
		}
	})
}

// TestLarge: of a release that is too large only what it added is listed, with what that
// needs beside, and the bill says so.
func TestLarge(t *testing.T) {
	each(t, func(f *fixture) {
		ctx := f.t.Context()
		f.build(7)
		signed := f.sign()
		f.publish(3, 1, signed...)
		r := f.releases[3]
		s, err := f.shown(ctx, r)
		f.must(err)
		i := slices.IndexFunc(signed, func(a artifact.Artifact) bool { return a.NEVRA.Name == "hello" && a.Kind == artifact.RPM })
		r.Plan = planOf(signed[i].Digest)
		var all []made
		f.must(f.ofRelease(ctx, r, s, 3, into(&all)))
		if len(all) != 1 {
			f.t.Fatalf("there are %d bills", len(all))
		}
		text, err := all[0].bill.Write(sbom.CycloneDXJSON)
		f.must(err)
		var b cdx.BOM
		f.must(json.Unmarshal(text, &b))
		if diff := cmp.Diff([]string{"almalinux", "hello"}, rests(b, "demo")); diff != "" {
			f.t.Errorf("the release has (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"hello-libs", "hello.src", "zlib"}, rests(b, "hello")); diff != "" {
			f.t.Errorf("the package rests on (-want +got):\n%s", diff)
		}
		for _, c := range *b.Components { // the source package has a digest though it isn't listed
			if strings.Contains(c.PackageURL, "arch=src") && (c.Hashes == nil || !strings.HasPrefix(c.BOMRef, "rpm-")) {
				f.t.Errorf("the source package is %+v", c)
			}
		}
		last := (*b.Compositions)[len(*b.Compositions)-1]
		if last.Aggregate != cdx.CompositionAggregateIncomplete || properties(b.Metadata.Component)[sbom.PropertyUnlisted] != "3" {
			f.t.Errorf("nothing says that there is more: %+v", last)
		}
	})
}

// TestRoots: bills are kept with what they are of.
func TestRoots(t *testing.T) {
	each(t, func(f *fixture) {
		ctx := f.t.Context()
		f.build(7)
		f.publish(3, 1, f.sign()...)
		f.ended(7)
		f.released(3)
		named := func() map[albs.Digest]bool { // when the time of grace of all that happens here is over
			out := map[albs.Digest]bool{}
			f.must(f.roots(ctx, db.At(time.Now().Add(time.Hour)), func(r artifact.Ref) error { out[r.Digest] = true; return nil }))
			return out
		}
		var ds []albs.Digest
		f.must(f.DB.SelectContext(ctx, &ds, `SELECT model FROM bill UNION ALL SELECT digest FROM bill_document`))
		if got := named(); len(got) != len(ds) || len(ds) != 3*(4+1+4+1) {
			f.t.Errorf("of %d blobs %d are kept", len(ds), len(got))
		}
		f.publish(4, 2) // so that the first can be retired
		f.must(f.DB.InTx(ctx, func(tx db.Tx) error {
			_, err := f.Modules.Repos.Retire(ctx, tx, "demo", 2)
			return err
		}))
		_, err := f.DB.ExecContext(ctx, `INSERT INTO build (id, owner_id, owner, team, product, options, created_at, deleted_at) VALUES (7, 1, 'olga', '', '', '{}', $1, $1)`, db.Now())
		f.must(err)
		left := named()
		if len(left) != 3*4 {
			f.t.Errorf("%d blobs are kept, want those of the released packages", len(left))
		}
		for _, m := range f.public {
			d, err := f.store.get(ctx, f.DB, sbom.Package, string(m.Digest))
			f.must(err)
			if left[d.Model] {
				f.t.Errorf("the bill of %s of a deleted build is kept", m.Name)
			}
		}
		if err := f.roots(ctx, db.Now(), func(artifact.Ref) error { return io.EOF }); !errors.Is(err, io.EOF) {
			f.t.Errorf("roots = %v, want yield's error", err)
		}
	})
}

// TestShared: the bill of a package that two builds have, or that was released as it is,
// outlives the build for which it was made.
func TestShared(t *testing.T) {
	each(t, func(f *fixture) {
		ctx := f.t.Context()
		f.build(7)
		f.ended(7)
		hello, doc := f.public["hello.x86_64"], f.public["hello-doc.noarch"]
		kept := func(d albs.Digest) bool { // when the time of grace is over
			r, err := f.store.get(ctx, f.DB, sbom.Package, string(d))
			f.must(err)
			there := false
			f.must(f.roots(ctx, db.At(time.Now().Add(time.Hour)), func(named artifact.Ref) error { there = there || named.Digest == r.Model; return nil }))
			return there
		}
		at := db.Now()
		for id, deleted := range map[albs.BuildID]any{7: at, 8: nil} {
			_, err := f.DB.ExecContext(ctx, `INSERT INTO build (id, owner_id, owner, team, product, options, created_at, deleted_at) VALUES ($1, 1, 'olga', '', '', '{}', $2, $3)`, id, at, deleted)
			f.must(err)
		}
		if kept(hello.Digest) {
			f.t.Error("the bill of a deleted build's package is kept")
		}
		f.must(f.DB.InTx(ctx, func(tx db.Tx) error {
			it := builds.Item{BuildID: 8, Platform: "el"}
			if err := builds.AddItem(ctx, tx, &it); err != nil {
				return err
			}
			return builds.AddArtifact(ctx, tx, builds.Artifact{BuildID: 8, ItemID: it.ID, TaskID: 1, Attempt: 1, Digest: hello.Digest, Kind: "rpm", Name: hello.Name, Arch: albs.X8664})
		}))
		if !kept(hello.Digest) || kept(doc.Digest) {
			f.t.Errorf("of the two packages of the deleted build kept are: of the one that another has %v, of the other %v", kept(hello.Digest), kept(doc.Digest))
		}

		// A release takes the bill over, and no build gets it back.
		f.publish(3, 1, doc)
		f.released(3)
		v := f.builds[7]
		v.ID = 9
		f.builds[9] = v
		f.ended(9)
		if !kept(doc.Digest) {
			f.t.Error("the bill of a released package went with a build")
		}
		if n := len(f.statements(doc.Digest)); n != 2 {
			f.t.Errorf("of the package are %d bills, want the build's and the release's", n)
		}
		if !kept(f.public["hello-libs.x86_64"].Digest) {
			f.t.Error("what was given up wasn't made again for another build")
		}
	})
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]Config{
		"": {}, "no URL": {Supplier: "a", URL: "example.org"}, "no address": {Supplier: "a", Email: "example.org"}, "supplier has to be named": {Email: "a@b"},
		"of several lines": {Supplier: "a\nb"}, "namespace": {Namespace: "x"},
	} {
		err := c.Check()
		if want == "" && err != nil || want != "" && (albs.KindOf(err) != albs.Invalid || !strings.Contains(err.Error(), want)) {
			t.Errorf("Check of %+v = %v, want %q", c, err, want)
		}
	}
	if err := (Config{Supplier: "a", URL: "https://example.org", Email: "a@b", Namespace: "https://x/y"}).Check(); err != nil {
		t.Error(err)
	}
}

func repoChange(add []artifact.Artifact) repo.Change { return repo.Change{Add: add} }

// planOf is a plan that adds one package.
func planOf(d albs.Digest) plan.Plan {
	return plan.Plan{Repositories: []plan.Repository{{Path: "el/os", Packages: []plan.Change{{Action: plan.Add, Digest: d}}}}}
}

// TestListed: what the bill of a release lists.
func TestListed(t *testing.T) {
	t.Parallel()
	ds := make([]albs.Digest, 4)
	for i := range ds {
		ds[i] = albs.DigestOf([]byte{byte(i)})
	}
	shown := slices.Sorted(slices.Values(ds[:3]))
	r := release.Release{Plan: planOf(ds[0])}
	r.Plan.Repositories = append(r.Plan.Repositories, planOf(ds[0]).Repositories[0], planOf(ds[3]).Repositories[0]) // twice, and one that isn't shown
	for limit, want := range map[int][]albs.Digest{3: shown, 4: shown, 2: {ds[0]}, 0: nil} {
		got := slices.Sorted(maps.Keys(listed(r, shown, limit)))
		if !slices.Equal(got, want) {
			t.Errorf("up to %d it lists %v, want %v", limit, got, want)
		}
	}
	if got := listed(release.Release{}, shown, 2); len(got) != 0 {
		t.Errorf("a rollback to more than the limit lists %v", got)
	}
}
