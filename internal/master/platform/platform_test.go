package platform_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/blob"
	"albs/internal/egress"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/event"
	"albs/internal/master/mastertest"
	"albs/internal/master/platform"
	"albs/internal/master/repo"
	"albs/internal/master/revision"
)

var (
	_ platform.Outside   = (*egress.Egress)(nil)
	_ platform.Documents = (*repo.Repos)(nil)
	_ revision.Events    = (*event.Log)(nil)
)

// outside is a world of mirrors.
type outside struct {
	mu     sync.Mutex
	files  map[string]string
	asked  int
	closed string // a URL that policy refuses
}

func (o *outside) CheckURL(url string) error {
	if o.closed != "" && strings.HasPrefix(url, o.closed) {
		return albs.Errorf(albs.Forbidden, "%s is closed", url)
	}
	return nil
}

func (o *outside) Get(_ context.Context, url string, _ int64) (io.ReadCloser, int64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked++
	b, ok := o.files[url]
	if !ok {
		return nil, 0, albs.Errorf(albs.Unavailable, "%s doesn't answer", url)
	}
	return io.NopCloser(strings.NewReader(b)), int64(len(b)), nil
}

func (o *outside) set(url, body string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if body == "" {
		delete(o.files, url)
	} else {
		o.files[url] = body
	}
}

// documents keeps what is pinned in memory.
type documents struct {
	mu   sync.Mutex
	held map[albs.Digest]string
}

func (d *documents) Pin(_ context.Context, b []byte) (albs.Digest, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held[albs.DigestOf(b)] = string(b)
	return albs.DigestOf(b), nil
}

func repomd(revision int) string {
	return fmt.Sprintf(`<repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>%d</revision>
<data type="primary"><checksum type="sha256">%s</checksum><location href="repodata/primary.xml.gz"/></data></repomd>`,
		revision, albs.DigestOf([]byte("primary")))
}

const (
	base  = "https://mirror.example/x86_64/os"
	extra = "https://mirror.example/extra"
)

func spec() platform.Spec {
	return platform.Spec{
		Name: "el", Dist: ".el9", Releasever: "9", Arches: []albs.Arch{albs.X8664, albs.AArch64},
		Repositories: []platform.Repository{
			{ID: "base", URL: "https://mirror.example/$arch/os/", Priority: 10},
			{ID: "extra", Arch: albs.X8664, URL: extra},
		},
		Macros:   map[string]string{"vendor": "Example"},
		Packages: []string{"bash", "rpm-build"}, TestPackages: []string{"bash"},
		RPMDB: platform.RPMDB{Path: "/var/lib/rpm", Backend: "sqlite"}, ModuleID: "platform:el9",
		Network: true, SingleUID: true, Timeout: platform.Duration(3600e9), MaxSilence: platform.Duration(60e9),
	}
}

type fixture struct {
	d         *db.DB
	outside   *outside
	documents *documents
	platforms *platform.Platforms
	ctx       context.Context // an operator's
}

func setup(t *testing.T, d *db.DB) *fixture {
	t.Helper()
	f := &fixture{
		d: d, outside: &outside{files: map[string]string{}}, documents: &documents{held: map[albs.Digest]string{}},
		ctx: as(t, "olga", auth.Grant{Role: auth.Operator}),
	}
	f.restart()
	return f
}

// restart forgets all that is in memory.
func (f *fixture) restart() {
	f.platforms = platform.New(f.d, event.New(f.d, zerolog.Nop()), f.outside, f.documents, zerolog.Nop())
}

func as(t *testing.T, name string, grants ...auth.Grant) context.Context {
	return auth.With(t.Context(), auth.Actor{Kind: auth.KindPerson, User: 1, Name: name, Grants: grants})
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
		f := setup(t, d)
		first, err := f.platforms.Apply(f.ctx, spec())
		if err != nil {
			t.Fatal(err)
		}
		if first.Revision != 1 || first.Actor != "user:olga" || first.At.IsZero() || !first.Digest.Valid() {
			t.Errorf("Apply = %+v", first)
		}
		again, err := f.platforms.Apply(f.ctx, spec())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(first, again); diff != "" {
			t.Errorf("the same once more (-first +again):\n%s", diff)
		}
		changed := spec()
		changed.Network = false
		second, err := f.platforms.Apply(f.ctx, changed)
		if err != nil {
			t.Fatal(err)
		}
		if second.Revision != 2 || second.Digest == first.Digest {
			t.Errorf("a change gave %+v", second)
		}
		if f.outside.asked != 0 {
			t.Errorf("Apply asked mirrors %d times", f.outside.asked)
		}

		var data []string
		if err := d.SelectContext(t.Context(), &data, `SELECT data FROM event WHERE topic = 'platform:el' AND actor = 'user:olga' ORDER BY id`); err != nil {
			t.Fatal(err)
		}
		if len(data) != 2 || !strings.Contains(data[1], string(first.Digest)) || !strings.Contains(data[1], string(second.Digest)) {
			t.Errorf("events = %v, want one for each revision, with before and after", data)
		}
	})
}

func TestApplyRefuses(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	_, err := f.platforms.Apply(t.Context(), spec())
	wantKind(t, "anonymous", err, albs.Unauthenticated)
	_, err = f.platforms.Apply(as(t, "mia", auth.Grant{Role: auth.ProductMaintainer, Team: "core"}), spec())
	wantKind(t, "a maintainer", err, albs.Forbidden)
	bad := spec()
	bad.Dist = "el9"
	_, err = f.platforms.Apply(t.Context(), bad)
	wantKind(t, "anonymous with a fault", err, albs.Unauthenticated)
	_, err = f.platforms.Apply(f.ctx, bad)
	wantKind(t, "a fault", err, albs.Invalid)
	for _, closed := range []string{extra, "https://mirror.example/aarch64/os"} {
		f.outside.closed = closed
		_, err = f.platforms.Apply(f.ctx, spec())
		wantKind(t, "a closed URL", err, albs.Invalid)
		if err != nil && !strings.Contains(err.Error(), closed) {
			t.Errorf("%v doesn't name %s", err, closed)
		}
	}
	s := spec()
	s.Lookaside = []string{"https://sources.example/{hash}"}
	f.outside.closed = "https://sources.example/"
	_, err = f.platforms.Apply(f.ctx, s)
	wantKind(t, "a closed look-aside", err, albs.Invalid)
	if l, err := f.platforms.All(t.Context()); err != nil || len(l) != 0 {
		t.Errorf("after refusals All = %v, %v", l, err)
	}
}

func TestRoot(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		if _, err := f.platforms.Apply(f.ctx, spec()); err != nil {
			t.Fatal(err)
		}
		f.outside.set(base+"/repodata/repomd.xml", repomd(1))
		f.outside.set(extra+"/repodata/repomd.xml", repomd(2))
		got, err := f.platforms.Root(t.Context(), "el", albs.X8664, platform.Build)
		if err != nil {
			t.Fatal(err)
		}
		want := albs.Root{
			Platform: "el", Releasever: "9", Arch: albs.X8664,
			Repos: []albs.Repo{
				{ID: "base", Mirror: base, Repomd: albs.DigestOf([]byte(repomd(1))), Priority: 10},
				{ID: "extra", Mirror: extra, Repomd: albs.DigestOf([]byte(repomd(2)))},
			},
			Packages: []string{"bash", "rpm-build"}, Macros: map[string]string{"dist": ".el9", "vendor": "Example"},
			RPMDBPath: "/var/lib/rpm", RPMDB: "sqlite", ModuleID: "platform:el9", Network: true, SingleUID: true, Timeout: 3600e9, MaxSilence: 60e9,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Root for a build (-want +got):\n%s", diff)
		}
		for _, r := range got.Repos {
			if f.documents.held[r.Repomd] == "" {
				t.Errorf("the repomd.xml of %s was not kept", r.ID)
			}
		}

		got, err = f.platforms.Root(t.Context(), "el", albs.X8664, platform.Test)
		if err != nil {
			t.Fatal(err)
		}
		want.Packages, want.Macros, want.Network = []string{"bash"}, nil, false
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Root for a test (-want +got):\n%s", diff)
		}
		if f.outside.asked != 2 {
			t.Errorf("two roots asked mirrors %d times, want once for each", f.outside.asked)
		}

		// A mirror that has moved on is seen by the next master, for a pin is young once.
		f.restart()
		f.outside.set(base+"/repodata/repomd.xml", repomd(3))
		f.outside.set(extra+"/repodata/repomd.xml", "") // and this one is away
		got, err = f.platforms.Root(t.Context(), "el", albs.X8664, platform.Build)
		if err != nil {
			t.Fatal(err)
		}
		if got.Repos[0].Repomd != albs.DigestOf([]byte(repomd(3))) || got.Repos[1].Repomd != albs.DigestOf([]byte(repomd(2))) {
			t.Errorf("Root pins %v, want the new one of base and the last one of extra", got.Repos)
		}
		// One that shows something else than a repository is as good as away.
		for _, body := range []string{"<html>please log in</html>", strings.Repeat("x", 2<<20), strings.Replace(repomd(4), "primary", "group", 1)} {
			f.restart()
			f.outside.set(extra+"/repodata/repomd.xml", body)
			got, err = f.platforms.Root(t.Context(), "el", albs.X8664, platform.Build)
			if err != nil || got.Repos[1].Repomd != albs.DigestOf([]byte(repomd(2))) {
				t.Errorf("Root beside %.30q = %v, %v, want the last pin", body, got.Repos, err)
			}
		}
	})
}

func TestRootRefuses(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	if _, err := f.platforms.Apply(f.ctx, spec()); err != nil {
		t.Fatal(err)
	}
	_, err := f.platforms.Root(t.Context(), "nowhere", albs.X8664, platform.Build)
	wantKind(t, "no platform", err, albs.NotFound)
	_, err = f.platforms.Root(t.Context(), "el", albs.S390X, platform.Build)
	wantKind(t, "no such arch", err, albs.Invalid)
	_, err = f.platforms.Root(t.Context(), "el", albs.X8664, "play")
	wantKind(t, "no such purpose", err, albs.Invalid)
	f.outside.set(base+"/repodata/repomd.xml", repomd(1))
	_, err = f.platforms.Root(t.Context(), "el", albs.X8664, platform.Build)
	wantKind(t, "a mirror that was never seen", err, albs.Unavailable)
	if err != nil && !strings.Contains(err.Error(), extra) {
		t.Errorf("%v doesn't name %s", err, extra)
	}
}

// TestRootAsksOnce is a mass build: many tasks are offered at the same moment.
func TestRootAsksOnce(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	if _, err := f.platforms.Apply(f.ctx, spec()); err != nil {
		t.Fatal(err)
	}
	f.outside.set(base+"/repodata/repomd.xml", repomd(1))
	f.outside.set(extra+"/repodata/repomd.xml", repomd(2))
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if _, err := f.platforms.Root(t.Context(), "el", albs.X8664, platform.Build); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if f.outside.asked != 2 {
		t.Errorf("50 roots asked mirrors %d times, want once for each of two", f.outside.asked)
	}
}

// TestRootOfAFolder goes through the real egress, store and repositories.
func TestRootOfAFolder(t *testing.T) {
	t.Parallel()
	dir := mastertest.Mirror(t)
	out, err := egress.New(egress.Policy{Allow: []string{"file://" + dir}})
	if err != nil {
		t.Fatal(err)
	}
	d := dbtest.Open(t, dbtest.SQLite(t))
	blobs, err := blob.NewDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	staging, err := blob.NewStaging(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	events := event.New(d, zerolog.Nop())
	artifacts := artifact.New(d, blobs, staging)
	p := platform.New(d, events, out, repo.New(d, artifacts, events), zerolog.Nop())
	ctx := auth.System(t.Context(), "test")

	s := spec()
	s.Repositories = []platform.Repository{{ID: "away", URL: "file:///var/lib/albs/elsewhere"}}
	_, err = p.Apply(ctx, s)
	wantKind(t, "Apply with a folder that isn't allowed", err, albs.Invalid)
	s.Repositories = []platform.Repository{{ID: "seed", URL: "file://" + dir}}
	if _, err := p.Apply(ctx, s); err != nil {
		t.Fatal(err)
	}
	root, err := p.Root(ctx, "el", albs.X8664, platform.Build)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join(dir, "repodata", "repomd.xml"))
	if err != nil {
		t.Fatal(err)
	}
	body, err := artifacts.Open(ctx, root.Repos[0].Repomd, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if got, err := io.ReadAll(body); err != nil || string(got) != string(want) {
		t.Errorf("the pinned document is %q, %v, want the folder's repomd.xml", got, err)
	}
}
