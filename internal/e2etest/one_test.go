package e2etest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/client"
	"albs/internal/rpm"
)

// TestOneProcess goes the whole way with three real packages and every role in one
// process: from git in both layouts to what dnf installs and anyone can verify, and
// back again.
func TestOneProcess(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.forge = startForge(t, "forge-of-real-packages", "-upstream", upstream(t), "-specs", filepath.Join(module, "testdata/upstream"))
	s.serve("albs", ordinary(t), allRoles, nil)
	s.people()
	s.platform("seed", nil)
	s.product("seed", "sources: verified")
	s.key("rsa4096")

	sources := []string{s.forge.url + "/rpms/zlib.git#imports/zlib", s.forge.url + "/rpms/pngcheck.git#main", s.forge.url + "/rpms/perl-Try-Tiny.git#main"}
	first := s.build("seed", sources...)
	b := s.built(first)
	var files []string
	for _, task := range b.Tasks {
		for _, f := range task.Files {
			if f.Kind == "rpm" || f.Kind == "srpm" {
				files = append(files, f.Name)
			}
		}
	}
	slices.Sort(files)
	want := []string{
		"perl-Try-Tiny-0.31-1.seed9.noarch.rpm", "perl-Try-Tiny-0.31-1.seed9.src.rpm",
		"pngcheck-3.0.3-1.seed9.src.rpm", "pngcheck-3.0.3-1.seed9.x86_64.rpm",
		"pngcheck-debuginfo-3.0.3-1.seed9.x86_64.rpm", "pngcheck-debugsource-3.0.3-1.seed9.x86_64.rpm",
		"zlib-1.2.13-1.seed9.src.rpm", "zlib-1.2.13-1.seed9.x86_64.rpm",
		"zlib-debuginfo-1.2.13-1.seed9.x86_64.rpm", "zlib-debugsource-1.2.13-1.seed9.x86_64.rpm", "zlib-devel-1.2.13-1.seed9.x86_64.rpm",
	}
	if !slices.Equal(files, want) {
		t.Errorf("the build left\n%q, want\n%q", files, want)
	}
	notarize(s, b, sources...)
	id := s.release(first)
	if r := ask[client.Release](s, s.alice, "release", "show", id); r.Status != client.ReleaseCompleted || r.Serial != 1 {
		t.Errorf("release %s has status %d and serial %d, want completed and 1", id, r.Status, r.Serial)
	}
	public := filepath.Join(s.dir, "albs/releaser/public/demo/current")
	install(s, public, "zlib", "pngcheck", "perl-Try-Tiny")
	refuse(s, public)
	bills(s, first, id, public)
	rebuilt(s, public)
	verify(s, public)

	former := metadata(t, public)
	libfoo := s.forge.repository(t, "libfoo", map[string]string{"libfoo.spec": read(t, filepath.Join(module, "testdata/specs/libfoo.spec"))})
	second := s.build("seed", libfoo)
	notarize(s, s.built(second), libfoo)
	s.release(second)
	if got := metadata(t, public); mapsEqual(got, former) {
		t.Error("the second release changed no metadata")
	}
	s.run(s.alice, "release", "rollback", "demo", "--wait")
	if got := metadata(t, public); !mapsEqual(got, former) {
		t.Error("the rollback didn't bring the former metadata back byte for byte")
	}
	if target, err := os.Readlink(public); err != nil || filepath.Base(target) != "3" {
		t.Errorf("after a rollback %s is shown (%v), want serial 3", target, err)
	}
	install(s, public, "zlib-devel")
	s.audit()
	s.check("albs", "albs")
}

// notarize has the sources of a build notarized, each URL#REF, which turns them verified.
// Before that the product, which wants such, has nothing of it signed.
func notarize(s *site, b client.Build, sources ...string) {
	t := s.t
	t.Helper()
	for _, it := range b.Items {
		if it.Verified || !strings.Contains(it.Unverified, "albs source notarize "+s.forge.url+"/rpms/") {
			t.Errorf("the source of %s is verified: %v, %s", it.Package, it.Verified, it.Unverified)
		}
	}
	if a := s.try(s.alice, "sign", b.ID.String(), "--key", "demo"); a.code != 1 || !strings.Contains(a.stderr, "takes packages of verified sources only") {
		t.Errorf("signing what comes from unverified sources ended with %+v", a)
	}
	for _, source := range sources {
		url, ref, _ := strings.Cut(source, "#")
		s.run(s.alice, "source", "notarize", url, ref, "--wait")
		commits := ask[[]client.SourceCommit](s, "", "source", "list", url)
		if len(commits) == 0 {
			t.Fatalf("no commit of %s is notarized", url)
		}
		if c := ask[client.SourceCommit](s, "", "source", "show", url, commits[0].Commit); len(c.Statements) == 0 || !c.Statements[0].Statement.Predicate.Record.Valid() {
			t.Errorf("of commit %s is stated %+v", commits[0].Commit, c.Statements)
		}
	}
	for end := time.Now().Add(5 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		now := ask[client.Build](s, "", "build", "show", b.ID.String())
		if !slices.ContainsFunc(now.Items, func(it client.BuildItem) bool { return !it.Verified }) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the sources of notarized commits are %+v", now.Items)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// metadata returns, for all repositories of a tree, repomd.xml, its signature and
// the files that it names.
func metadata(t *testing.T, public string) map[string]string {
	t.Helper()
	public, err := filepath.EvalSymlinks(public)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	err = filepath.WalkDir(public, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && filepath.Base(filepath.Dir(path)) == "repodata" {
			all[strings.TrimPrefix(path, public+"/")] = read(t, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]string{}
	for path, text := range all {
		repomd := all[filepath.Dir(path)+"/repomd.xml"]
		if name := filepath.Base(path); strings.HasPrefix(name, "repomd.xml") || strings.Contains(repomd, name) {
			named[path] = text
		}
	}
	if len(named) < 15 { // three repositories of five files
		t.Fatalf("%s has only %d files of metadata", public, len(named))
	}
	return named
}

func mapsEqual(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return true
}

// install has the real dnf install packages from the public place into a fresh root,
// with the signatures of packages and metadata checked.
func install(s *site, public string, packages ...string) {
	t := s.t
	t.Helper()
	who := ordinary(t)
	dir := folder(t, who, t.Name(), "client-"+packages[0])
	home := folder(t, who, t.Name(), "client-"+packages[0], "home")
	conf := filepath.Join(dir, "dnf.conf")
	text := fmt.Sprintf(`[main]
reposdir=/dev/null
gpgcheck=1
assumeyes=1
plugins=0
install_weak_deps=0
cachedir=%[1]s/cache
logdir=%[1]s/log
persistdir=%[1]s/persist
varsdir=/dev/null
module_platform_id=platform:el9
[seed]
name=seed
baseurl=file://%[2]s
gpgcheck=0
[demo]
name=demo
baseurl=file://%[3]s/seed/main/x86_64/os
gpgkey=file://%[3]s/RPM-GPG-KEY-demo
gpgcheck=1
repo_gpgcheck=1
`, dir, s.seed, publicFor(s, public))
	for path, text := range map[string]string{conf: text, filepath.Join(home, ".rpmmacros"): "%_dbpath /usr/lib/sysimage/rpm\n"} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	root := filepath.Join(dir, "root")
	output(t, asRoot(t, dir, append([]string{"dnf", "-c", conf, "--installroot", root, "--releasever", "9", "install", "system-release"}, packages...)...), who)
	query := append([]string{"rpm", "--root", root, "--dbpath", "/usr/lib/sysimage/rpm", "-q", "--qf", "%{NAME} %{RSAHEADER:pgpsig}\n"}, packages...)
	out := output(t, asRoot(t, dir, query...), who)
	for _, p := range packages {
		if !strings.Contains(out, p+" RSA/SHA") {
			t.Errorf("rpm -q after the installation: %q, want %s with an RSA signature", out, p)
		}
	}
}

// refuse wants dnf not to install a package of which the mirror changed a byte, with
// the configuration that install has left.
func refuse(s *site, public string) {
	t := s.t
	t.Helper()
	who := ordinary(t)
	dir := folder(t, who, t.Name(), "client-zlib")
	rpm := glob(t, publicFor(s, public)+"/seed/main/x86_64/os/Packages/z/zlib-1*.rpm")
	b := []byte(read(t, rpm))
	b[len(b)-1] ^= 1
	if err := os.WriteFile(rpm, b, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := asRoot(t, dir, "dnf", "-c", filepath.Join(dir, "dnf.conf"), "--installroot", filepath.Join(dir, "root-2"), "--releasever", "9", "install", "system-release", "zlib")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	err := start(cmd, who)
	if err == nil {
		err = cmd.Wait()
	}
	if _, ok := errors.AsType[*exec.ExitError](err); !ok || !strings.Contains(said.String(), "incorrect checksum") {
		t.Errorf("dnf ended with %v, want a failure for the package's checksum:\n%s", err, &said)
	}
}

// asRoot is a program that is root in a namespace of lent ids, with its home below dir.
func asRoot(t *testing.T, dir string, argv ...string) *exec.Cmd {
	t.Helper()
	cmd := command(t, 5*time.Minute, "unshare", append([]string{"--map-root-user", "--map-auto", "--mount", "--"}, argv...)...)
	cmd.Env, cmd.Dir = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + filepath.Join(dir, "home"), "LANG=C.UTF-8"}, "/"
	return cmd
}

// publicFor returns a copy of what the public place shows: the releaser's own folder
// is not for others.
func publicFor(s *site, public string) string {
	s.t.Helper()
	target, err := filepath.EvalSymlinks(public)
	if err != nil {
		s.t.Fatal(err)
	}
	out := filepath.Join(s.dir, "mirror-"+filepath.Base(target))
	if _, err := os.Stat(out); err == nil {
		return out
	}
	// A mirror follows the links, as a web server does.
	output(s.t, command(s.t, time.Minute, "cp", "-rL", target, out), self)
	return out
}

func glob(t *testing.T, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) != 1 {
		t.Fatalf("%s matches %q (%v), want one file", pattern, found, err)
	}
	return found[0]
}

// rebuilt has what made a released package be done once more, here by the node that built
// it, for there is one, and wants a stranger to be told what came of that.
func rebuilt(s *site, public string) {
	t := s.t
	t.Helper()
	file := glob(t, public+"/seed/main/x86_64/os/Packages/p/pngcheck-3*.x86_64.rpm")
	if said := s.run(s.alice, "rebuild", file, "--wait"); !strings.Contains(said, "(the same node)") || !strings.Contains(said, "bit-identical") {
		t.Errorf("albs rebuild of a released package says\n%s", said)
	}
	beside, trust := t.TempDir(), filepath.Join(s.dir, "trust-of-rebuilt.json")
	s.run("", "trust", "export", "--output", trust)
	s.until(time.Minute, "the ledger has what was said of the rebuild", func() bool {
		return s.try("", "artifact", "bundle", file, "--output", beside, "--current").code == 0
	})
	a := s.at("http://127.0.0.1:1", "", "verify", file, "--bundle", beside, "--trust", trust)
	if a.code != 0 || !strings.Contains(a.stdout, "rebuilt on the same node") {
		t.Errorf("albs verify ended with %d and says\n%s%s", a.code, a.stdout, a.stderr)
	}
}

// verify checks a published package offline, and that one changed byte breaks the
// link that it is part of.
func verify(s *site, public string) {
	t := s.t
	t.Helper()
	file := glob(t, public+"/seed/main/x86_64/os/Packages/p/pngcheck-3*.x86_64.rpm")
	trust, beside := filepath.Join(s.dir, "trust.json"), s.dir
	s.run("", "trust", "export", "--output", trust)
	s.run("", "artifact", "bundle", file, "--output", beside)
	traced(s, file)
	crawl(s, public+"/seed/main/x86_64/os", trust)
	const nowhere = "http://127.0.0.1:1"
	if a := s.at(nowhere, "", "verify", file, "--bundle", beside, "--trust", trust); a.code != 0 {
		t.Fatalf("albs verify ended with %d:\n%s%s", a.code, a.stdout, a.stderr)
	}
	logged(s, file)
	p, err := rpm.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	said, proof := filepath.Join(beside, filepath.Base(file)+attest.EnvelopesSuffix), filepath.Join(beside, filepath.Base(file)+attest.ProofSuffix)
	for _, tc := range []struct {
		name string
		file string // which of the three
		at   int    // the byte to flip
		code int
	}{
		{"payload", file, int(p.Size) - 1, 4},
		{"header", file, int(p.HeaderStart+p.HeaderEnd) / 2, 3},
		{"statement", said, strings.Index(read(t, said), `"sig":"`) + 10, 5},
		{"ledger proof", proof, strings.Index(read(t, proof), `"eh":"`) + 10, 7},
		{"ledger state", proof, strings.LastIndex(read(t, proof), `"sig":"`) + 10, 8},
	} {
		dir := t.TempDir()
		for _, from := range []string{file, said, proof} {
			b := []byte(read(t, from))
			if from == tc.file {
				flip(b, tc.at)
			}
			if err := os.WriteFile(filepath.Join(dir, filepath.Base(from)), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if a := s.at(nowhere, "", "verify", filepath.Join(dir, filepath.Base(file)), "--trust", trust); a.code != tc.code {
			t.Errorf("albs verify with a changed %s ended with %d, want %d: %s", tc.name, a.code, tc.code, a.stderr)
		}
	}
}

// crawl checks a copy of a public repository as anyone would who has found it: each
// package with its whole chain. Then it takes one file away, and the gap is found.
func crawl(s *site, repository, trust string) {
	t := s.t
	t.Helper()
	released, err := filepath.Glob(repository + "/Packages/*/*.rpm")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range released {
		s.until(5*time.Minute, "what is told of "+filepath.Base(p)+" lies beside it", func() bool {
			_, err := os.Stat(p + attest.LogProofSuffix)
			return err == nil
		})
	}
	copied := filepath.Join(t.TempDir(), "os")
	if out, err := exec.CommandContext(t.Context(), "cp", "--recursive", "--dereference", repository, copied).CombinedOutput(); err != nil {
		t.Fatalf("copy %s: %v: %s", repository, err, out)
	}
	packages, err := filepath.Glob(copied + "/Packages/*/*.rpm")
	if err != nil || len(packages) < 3 {
		t.Fatalf("%s has the packages %q, %v", repository, packages, err)
	}
	const nowhere = "http://127.0.0.1:1"
	if a := s.at(nowhere, "", "verify", "--repo", copied, "--trust", trust); a.code != 0 || !strings.Contains(a.stdout, fmt.Sprintf("%d of %d packages", len(packages), len(packages))) {
		t.Errorf("albs verify --repo ended with %d:\n%s%s", a.code, a.stdout, a.stderr)
	}
	if err := os.Remove(packages[1] + attest.EnvelopesSuffix); err != nil {
		t.Fatal(err)
	}
	if a := s.at(nowhere, "", "verify", "--repo", copied, "--trust", trust); a.code != attest.LinkInput.ExitCode() || !strings.Contains(a.stdout, filepath.Base(packages[1])+" is NOT verified") {
		t.Errorf("albs verify --repo with a gap ended with %d:\n%s%s", a.code, a.stdout, a.stderr)
	}
}

// logged waits until what is told of a published package lies beside it, and checks it by
// that alone; and it has the server hold its public log to what it released.
func logged(s *site, file string) {
	t := s.t
	t.Helper()
	s.until(5*time.Minute, "the summary of its verification lies beside "+filepath.Base(file), func() bool {
		_, err := os.Stat(file + attest.SummarySuffix)
		return err == nil
	})
	trust := filepath.Join(t.TempDir(), "trust.json") // the log may be younger than the other one
	s.run("", "trust", "export", "--output", trust)
	a := s.at("http://127.0.0.1:1", "", "verify", file, "--trust", trust, "--json")
	var r struct {
		Packages []struct{ Report attest.Report }
	}
	if err := json.Unmarshal([]byte(a.stdout), &r); a.code != 0 || err != nil || len(r.Packages) != 1 || r.Packages[0].Report.Log == nil || r.Packages[0].Report.Log.Size == 0 {
		t.Errorf("albs verify beside the published package ended with %d, %v:\n%s%s", a.code, err, a.stdout, a.stderr)
	} else if sum := r.Packages[0].Report.Summary; sum == nil || sum.Level != "SLSA_BUILD_LEVEL_1" || !strings.HasPrefix(sum.Verifier, "urn:albs:releaser:") {
		t.Errorf("albs verify finds the summary %+v; all is in one process", sum)
	}
	bundled(s, file, trust)
	dir := t.TempDir()
	for _, from := range []string{file, file + attest.EnvelopesSuffix, file + attest.ProofSuffix, file + attest.LogProofSuffix} {
		b := []byte(read(t, from))
		if strings.HasSuffix(from, attest.LogProofSuffix) {
			flip(b, bytes.Index(b, []byte("\n\n"))-5)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(from)), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if a := s.at("http://127.0.0.1:1", "", "verify", filepath.Join(dir, filepath.Base(file)), "--trust", trust); a.code != 11 {
		t.Errorf("albs verify with a changed proof of the log ended with %d, want 11: %s", a.code, a.stderr)
	}
	var check client.TransparencyReport
	s.until(5*time.Minute, "all that was released is in the public log", func() bool {
		check = ask[client.TransparencyReport](s, s.admin, "transparency", "check")
		return check.Pending == 0
	})
	if check.Found > 0 || check.Leaves == 0 || check.Packages < check.Leaves {
		t.Errorf("albs transparency check says %+v", check)
	}
	if at := ask[client.Transparency](s, "", "transparency", "show"); len(at.Logs) != 1 || at.Trouble != "" {
		t.Errorf("albs transparency show says %+v", at)
	}
}

// bundled checks a copy of a package in the public log by what the server gives: the same
// as lies beside the published one, though it was built again since.
func bundled(s *site, file, trust string) {
	t := s.t
	t.Helper()
	copied := filepath.Join(t.TempDir(), filepath.Base(file))
	if err := os.WriteFile(copied, []byte(read(t, file)), 0o644); err != nil {
		t.Fatal(err)
	}
	s.until(5*time.Minute, "the ledger has the summary of "+filepath.Base(file), func() bool {
		s.run("", "artifact", "bundle", copied)
		_, err := os.Stat(copied + attest.SummarySuffix)
		return err == nil
	})
	for _, suffix := range []string{attest.EnvelopesSuffix, attest.ProofSuffix, attest.LogProofSuffix, attest.SummarySuffix} {
		if read(t, copied+suffix) != read(t, file+suffix) {
			t.Errorf("albs artifact bundle gives another %s than lies beside the package", suffix)
		}
	}
	a := s.at("http://127.0.0.1:1", "", "verify", copied, "--trust", trust)
	if a.code != 0 || !strings.Contains(a.stdout, "in the public log") {
		t.Errorf("albs verify of what albs artifact bundle gave ended with %d and says\n%s%s", a.code, a.stdout, a.stderr)
	}
	if a := s.run("", "trace", string(albs.DigestOf([]byte(read(t, file))))); !strings.Contains(a, "PASSED, SLSA_BUILD_LEVEL_1") {
		t.Errorf("albs trace doesn't tell of the summary:\n%s", a)
	}
}

// traced follows a published package back to its source, and its source forward to it.
func traced(s *site, file string) {
	s.t.Helper()
	back := ask[client.Trace](s, "", "trace", file)
	kinds := map[string]string{}
	for _, n := range back.Nodes {
		kinds[n.Kind] = n.ID
	}
	if !back.Whole || len(kinds) != 5 {
		s.t.Errorf("the trace of %s is whole: %v, and comes by %v, want five kinds of things", file, back.Whole, kinds)
	}
	forward := ask[client.Trace](s, "", "trace", kinds["commit"])
	if !slices.ContainsFunc(forward.Nodes, func(n client.TraceNode) bool { return n.ID == kinds["signed"] }) {
		s.t.Errorf("the trace of commit %s doesn't come by the package that was published", kinds["commit"])
	}
}

// flip changes the byte at i into another of its kind, so that text stays text.
func flip(b []byte, i int) {
	switch c := b[i]; {
	case c == 'a' || c == 'A':
		b[i]++
	case c >= 'b' && c <= 'z' || c >= 'B' && c <= 'Z' || c >= '1' && c <= '9':
		b[i]--
	case c == '0':
		b[i]++
	default:
		b[i] ^= 1
	}
}
