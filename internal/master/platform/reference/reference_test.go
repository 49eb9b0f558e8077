package reference

import (
	"context"
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
	"albs/internal/blob"
	"albs/internal/egress"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/event"
	"albs/internal/master/platform"
	"albs/internal/repodata"
	"albs/internal/rpm/rpmtest"
)

// outside is a world of repositories.
type outside struct {
	mu    sync.Mutex
	files map[string]string
	asked map[string]int
}

func (o *outside) CheckURL(string) error { return nil }

func (o *outside) Get(_ context.Context, url string, limit int64) (io.ReadCloser, int64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked[url]++
	b, ok := o.files[url]
	if !ok {
		return nil, 0, albs.Errorf(albs.Unavailable, "%s doesn't answer", url)
	}
	return io.NopCloser(io.LimitReader(strings.NewReader(b), limit)), int64(len(b)), nil
}

// show has the repository at url list packages, each "name version release arch source".
func (o *outside) show(url string, packages ...string) {
	var b strings.Builder
	fmt.Fprintf(&b, `<metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm" packages="%d">`, len(packages))
	for _, p := range packages {
		f := strings.Fields(p + " -")
		source := ""
		if f[4] != "-" {
			source = fmt.Sprintf("<rpm:sourcerpm>%s-%s-%s.src.rpm</rpm:sourcerpm>", f[4], f[1], f[2])
		}
		fmt.Fprintf(&b, `<package type="rpm"><name>%s</name><arch>%s</arch><version epoch="0" ver="%s" rel="%s"/><checksum type="sha256" pkgid="YES">%s</checksum>`+
			`<size package="1"/><location href="Packages/%s.rpm"/><format>%s</format></package>`, f[0], f[3], f[1], f[2], albs.DigestOf([]byte(p)), f[0], source)
	}
	b.WriteString("</metadata>")
	o.set(url, b.String(), albs.DigestOf([]byte(b.String())))
}

func (o *outside) set(url, primary string, digest albs.Digest) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.files[url+"/repodata/primary.xml"] = primary
	o.files[url+"/repodata/repomd.xml"] = fmt.Sprintf(`<repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>1</revision><data type="primary"><checksum type="sha256">%s</checksum>`+
		`<location href="repodata/primary.xml"/></data></repomd>`, digest)
}

const (
	baseX86 = "https://up.example/BaseOS/x86_64"
	baseArm = "https://up.example/BaseOS/aarch64"
	source  = "https://up.example/BaseOS/source"
)

// index is that of a master with a platform el, which has references.
func index(t *testing.T, d *db.DB, out platform.Outside, references ...platform.Reference) *Index {
	t.Helper()
	platforms := platform.New(d, event.New(d, zerolog.Nop()), out, nil, zerolog.Nop()) // nothing is pinned
	_, err := platforms.Apply(auth.System(t.Context(), "test"), platform.Spec{
		Name: "el", Dist: ".el9", Releasever: "9", Arches: []albs.Arch{albs.X8664, albs.AArch64}, References: references,
		Repositories: []platform.Repository{{ID: "base", URL: strings.ReplaceAll(references[0].URL, "$arch", "x86_64")}},
		Packages:     []string{"rpm-build"}, TestPackages: []string{"bash"}, RPMDB: platform.RPMDB{Path: "/var/lib/rpm", Backend: "sqlite"},
	})
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := blob.NewDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	staging, err := blob.NewStaging(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return New(d, artifact.New(d, blobs, staging), platforms, out, zerolog.Nop())
}

func setup(t *testing.T, d *db.DB) (*Index, *outside, context.Context) {
	t.Helper()
	out := &outside{files: map[string]string{}, asked: map[string]int{}}
	x := index(t, d, out, platform.Reference{Place: "BaseOS", URL: "https://up.example/BaseOS/$arch"}, platform.Reference{Place: "BaseOS", Arch: albs.Src, URL: source})
	return x, out, auth.System(t.Context(), "test")
}

// lines are states as "place arch packages failure".
func lines(states []State) []string {
	var out []string
	for _, s := range states {
		out = append(out, fmt.Sprintf("%s %s %d %s", s.Place, s.Arch, s.Packages, s.Failure))
	}
	return out
}

func (x *Index) found(t *testing.T, names ...string) []string {
	t.Helper()
	pl, err := x.platforms.Get(t.Context(), "el")
	if err != nil {
		t.Fatal(err)
	}
	all, err := x.Find(t.Context(), pl, names)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, l := range all {
		out = append(out, fmt.Sprintf("%s %s %s %s", l.Reference.Place, l.Reference.Arch, l.NEVRA, l.Source))
	}
	slices.Sort(out)
	return out
}

// provided are the capabilities of those names that lie beneath an arch; so many
// repositories were never read.
func (x *Index) provides(t *testing.T, arch albs.Arch, unread int, names ...string) []string {
	t.Helper()
	pl, err := x.platforms.Get(t.Context(), "el")
	if err != nil {
		t.Fatal(err)
	}
	wanted := map[string]bool{}
	for _, n := range names {
		wanted[n] = true
	}
	var out []string
	states, err := x.Provided(t.Context(), pl, arch, wanted, func(c repodata.Capability) {
		out = append(out, fmt.Sprintf("%s %s %s:%s-%s", c.Name, c.Flags, c.Epoch, c.Version, c.Release))
	})
	if err != nil || len(states) != unread {
		t.Fatalf("Provided = %v, %v, want %d that weren't read", lines(states), err, unread)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// TestProvided: what repositories provide is known while they are away, and told of none
// that was never read.
func TestProvided(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		x, out, ctx := setup(t, d)
		x.provides(t, albs.X8664, 1, "lib")
		out.files[baseX86+"/repodata/primary.xml"] = ""
		primary := `<metadata><package type="rpm"><name>a</name><arch>x86_64</arch><version epoch="0" ver="1" rel="2"/><checksum type="sha256">` +
			string(albs.DigestOf([]byte("a"))) + `</checksum><location href="a.rpm"/><format><rpm:provides><rpm:entry name="lib" flags="EQ" epoch="1" ver="2" rel="3"/>` +
			`<rpm:entry name="lib"/><rpm:entry name="a&#9;b"/></rpm:provides><file>/usr/bin/a</file></format></package></metadata>`
		out.set(baseX86, primary, albs.DigestOf([]byte(primary)))
		for range 2 {
			if _, err := x.Refresh(ctx, "el"); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"/usr/bin/a  :-", "lib  :-", "lib EQ 1:2-3"}, x.provides(t, albs.X8664, 0, "lib", "/usr/bin/a", "a\tb", "none")); diff != "" {
				t.Errorf("provided (-want +got):\n%s", diff)
			}
			delete(out.files, baseX86+"/repodata/repomd.xml")
		}
		x.provides(t, albs.AArch64, 1, "lib")
	})
}

func TestRefresh(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		x, out, ctx := setup(t, d)
		out.show(baseX86, "bash 5.1 1.el9 x86_64 bash", "bash-doc 5.1 1.el9 noarch bash", "zlib 1.2 3.el9 i686 zlib")
		out.show(source, "bash 5.1 1.el9 src")
		if _, err := x.Refresh(t.Context(), "el"); albs.KindOf(err) != albs.Unauthenticated {
			t.Errorf("Refresh by nobody = %v", err)
		}
		if _, err := x.Refresh(ctx, "other"); albs.KindOf(err) != albs.NotFound {
			t.Errorf("Refresh of no platform = %v", err)
		}
		states, err := x.States(t.Context(), "el")
		if err != nil || len(states) != 3 || !states[0].Looked.IsZero() || states[0].Repomd != "" {
			t.Fatalf("States before the first look = %+v, %v", states, err)
		}
		if states, err = x.Refresh(ctx, "el"); err != nil {
			t.Fatal(err)
		}
		away := baseArm + "/repodata/repomd.xml doesn't answer"
		if diff := cmp.Diff([]string{"BaseOS x86_64 3 ", "BaseOS aarch64 0 " + away, "BaseOS src 1 "}, lines(states)); diff != "" {
			t.Errorf("states (-want +got):\n%s", diff)
		}
		if s := states[0]; s.Repomd != albs.DigestOf([]byte(out.files[baseX86+"/repodata/repomd.xml"])) || s.Listed.IsZero() || !s.Looked.Equal(s.Listed) {
			t.Errorf("state = %+v", s)
		}
		want := []string{
			"BaseOS src bash-5.1-1.el9.src ", "BaseOS x86_64 bash-5.1-1.el9.x86_64 bash", "BaseOS x86_64 bash-doc-5.1-1.el9.noarch bash",
		}
		if diff := cmp.Diff(want, x.found(t, "bash", "other")); diff != "" {
			t.Errorf("by the name of a source package (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(want[2:], x.found(t, "bash-doc")); diff != "" {
			t.Errorf("by name (-want +got):\n%s", diff)
		}

		// What hasn't changed isn't read again; what has is replaced as a whole.
		out.show(source, "bash 5.2 1.el9 src", "zlib 1.2 3.el9 src")
		if states, err = x.Refresh(ctx, "el"); err != nil || states[2].Packages != 2 {
			t.Fatalf("Refresh = %v, %v", lines(states), err)
		}
		if n := out.asked[baseX86+"/repodata/primary.xml"]; n != 1 {
			t.Errorf("unchanged metadata was read %d times, want once", n)
		}
		if diff := cmp.Diff([]string{"BaseOS src bash-5.2-1.el9.src "}, x.found(t, "bash")[:1]); diff != "" {
			t.Errorf("after a change (-want +got):\n%s", diff)
		}
	})
}

// TestRefreshKeeps: what was listed stays when a repository goes bad, and it says why.
func TestRefreshKeeps(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		x, out, ctx := setup(t, d)
		out.show(baseX86, "bash 5.1 1.el9 x86_64 bash")
		if _, err := x.Refresh(ctx, "el"); err != nil {
			t.Fatal(err)
		}
		good := out.files[baseX86+"/repodata/primary.xml"]
		for name, tt := range map[string]struct{ primary, digest, want string }{
			"other bytes":         {good + " ", string(albs.DigestOf([]byte(good + "x"))), "is being changed, or broken"},
			"cut off":             {good[:len(good)/2], string(albs.DigestOf([]byte(good[:len(good)/2]))), "primary"},
			"no metadata":         {"<html/>", string(albs.DigestOf([]byte("<html/>"))), "primary"},
			"no digest, no trust": {good, strings.Repeat("z", 64), ""},
		} {
			out.set(baseX86, tt.primary, albs.Digest(tt.digest))
			states, err := x.Refresh(ctx, "el")
			if err != nil {
				t.Fatal(err)
			}
			if s := states[0]; s.Failure == "" || !strings.Contains(s.Failure, tt.want) || s.Packages != 1 || !s.Looked.After(s.Listed) {
				t.Errorf("%s: state = %+v", name, s)
			}
			if got := x.found(t, "bash"); len(got) != 1 {
				t.Errorf("%s: found %q, want what was listed before", name, got)
			}
		}
		out.show(baseX86, "bash 5.1 1.el9 x86_64 bash")
		if states, err := x.Refresh(ctx, "el"); err != nil || states[0].Failure != "" {
			t.Errorf("once it is well again: %v, %v", lines(states), err)
		}
	})
}

func TestRefreshDue(t *testing.T) {
	t.Parallel()
	x, out, _ := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	out.show(baseX86, "bash 5.1 1.el9 x86_64 bash")
	now := time.Now()
	for i, tt := range []struct {
		at   time.Time
		want int
	}{{now, 1}, {now.Add(time.Minute), 1}, {now.Add(lookEvery + time.Minute), 2}} {
		if err := x.refreshDue(t.Context(), tt.at); err != nil {
			t.Fatal(err)
		}
		for _, url := range []string{baseX86, baseArm} { // the one that is away isn't hurried either
			if n := out.asked[url+"/repodata/repomd.xml"]; n != tt.want {
				t.Errorf("look %d: %s was asked %d times, want %d", i, url, n, tt.want)
			}
		}
	}
}

// TestRealRepository reads what createrepo_c writes, through the real way out.
func TestRealRepository(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"rpmbuild", "createrepo_c"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	dir := t.TempDir()
	files, err := rpmtest.Build("Name: tiny\nEpoch: 2\nVersion: 1.0~rc1\nRelease: 1.el9\nSummary: Tiny\nLicense: MIT\nBuildArch: noarch\n%description\nTiny.\n%files\n")
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := exec.CommandContext(t.Context(), "createrepo_c", dir).CombinedOutput(); err != nil {
		t.Fatalf("createrepo_c: %v\n%s", err, b)
	}
	out, err := egress.New(egress.Policy{Allow: []string{"file://" + dir}})
	if err != nil {
		t.Fatal(err)
	}
	x := index(t, dbtest.Open(t, dbtest.SQLite(t)), out, platform.Reference{Place: "Extras", Arch: albs.X8664, URL: "file://" + dir})
	states, err := x.Refresh(auth.System(t.Context(), "test"), "el")
	if err != nil || states[0].Failure != "" || states[0].Packages != 2 {
		t.Fatalf("Refresh = %v, %v", lines(states), err)
	}
	want := []string{"Extras x86_64 tiny-2:1.0~rc1-1.el9.noarch tiny", "Extras x86_64 tiny-2:1.0~rc1-1.el9.src "}
	if diff := cmp.Diff(want, x.found(t, "tiny")); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"tiny EQ 2:1.0~rc1-1.el9"}, x.provides(t, albs.X8664, 0, "tiny", "other")); diff != "" {
		t.Errorf("provided (-want +got):\n%s", diff)
	}
	x.provides(t, albs.AArch64, 0, "tiny") // neither a reference nor a repository of it
}
