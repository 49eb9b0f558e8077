package e2etest

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/client"
	"albs/internal/master/mastertest"
	"albs/internal/rpm"
	"albs/internal/worker"
)

// suite are the packages of a source, of which an advisory says something: one for each
// arch by the source's name, more with numbers, and one of no arch.
type suite struct {
	name, version, release string
	more                   int
	label                  string // name:stream:version:context of its module; "" is none
}

func (u suite) names() []string {
	out := []string{u.name}
	for i := range u.more {
		out = append(out, fmt.Sprintf("%s-%02d", u.name, i))
	}
	return out
}

func (u suite) spec() string {
	label := ""
	if u.label != "" {
		label = "ModularityLabel: " + u.label + "\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%%global debug_package %%{nil}\nName: %s\nVersion: %s\nRelease: %s\nSummary: a suite\nLicense: MIT\n%s%%description\nA suite.\n", u.name, u.version, u.release, label)
	for _, n := range append(u.names()[1:], u.name+"-doc") {
		fmt.Fprintf(&b, "%%package -n %s\nSummary: a part\n", n)
		if strings.HasSuffix(n, "-doc") {
			b.WriteString("BuildArch: noarch\n")
		}
		fmt.Fprintf(&b, "%%description -n %s\nA part.\n", n)
	}
	fmt.Fprintf(&b, "%%install\nfor n in %s; do mkdir -p %%{buildroot}/usr/share/$n; echo %s-%s > %%{buildroot}/usr/share/$n/version; done\n",
		strings.Join(append(u.names(), u.name+"-doc"), " "), u.version, u.release)
	for _, n := range append(u.names(), u.name+"-doc") {
		fmt.Fprintf(&b, "%%files -n %[1]s\n/usr/share/%[1]s\n", n)
	}
	return b.String()
}

// on are the packages on an arch.
func (u suite) on(arch albs.Arch) []rpm.NEVRA {
	var out []rpm.NEVRA
	for _, n := range u.names() {
		out = append(out, rpm.NEVRA{Name: n, Version: u.version, Release: u.release, Arch: string(arch)})
	}
	return append(out, rpm.NEVRA{Name: u.name + "-doc", Version: u.version, Release: u.release, Arch: "noarch"})
}

// wanted are the packages on all arches as a notice names them.
func wanted(us []suite, arches []albs.Arch) []advisory.Package {
	var out []advisory.Package
	for _, u := range us {
		for i, arch := range arches {
			for _, n := range u.on(arch) {
				p := advisory.Package{NEVRA: n}
				if m, ok := advisory.ParseModule(u.label); ok {
					p.Module = &advisory.Module{Name: m.Name, Stream: m.Stream}
				}
				if n.Arch != "noarch" || i == 0 {
					out = append(out, p)
				}
			}
		}
	}
	return out
}

// modulesOf is modules.yaml of an arch: the builds of the stream tool:5, and another stream,
// which has nothing here.
func modulesOf(arch albs.Arch, builds ...suite) string {
	doc := func(label string, artifacts string) string {
		p := strings.Split(label, ":")
		return fmt.Sprintf(`---
document: modulemd
version: 2
data:
  {name: %s, stream: "%s", version: %s, context: %s, arch: %s, summary: tool, description: tool, license: {module: [MIT]}, profiles: {}, artifacts: {rpms: [%s]}}
...
`, p[0], p[1], p[2], p[3], arch, artifacts)
	}
	out := doc("tool:6:1:c0ffee00", "")
	for _, u := range builds {
		var all []string
		for _, n := range u.on(arch) {
			all = append(all, fmt.Sprintf("%s-0:%s-%s.%s", n.Name, n.Version, n.Release, n.Arch))
		}
		out += doc(u.label, strings.Join(all, ", "))
	}
	return out
}

// branch adds a branch to a repository of the forge, with one spec file, and returns what
// albs build create --git takes.
func (f *forge) branch(t *testing.T, name, branch, spec string) string {
	t.Helper()
	bare := filepath.Join(f.dir, "rpms", t.Name(), name+".git")
	if _, err := os.Stat(bare); errors.Is(err, os.ErrNotExist) {
		git(t, "init", "--quiet", "--bare", bare)
	}
	work := t.TempDir()
	if err := os.WriteFile(filepath.Join(work, name+".spec"), []byte(spec), 0o644); err != nil {
		t.Fatal(err)
	}
	git(t, "init", "--quiet", "--initial-branch="+branch, work)
	git(t, "-C", work, "add", "--all")
	git(t, "-C", work, "commit", "--quiet", "-m", "import "+name)
	git(t, "-C", work, "push", "--quiet", bare, branch)
	return f.url + "/rpms/" + t.Name() + "/" + name + ".git#" + branch
}

// plays has the test be the node of all arches but the first, for which there is no machine:
// what it builds is what rpmbuild makes of the SRPM for the arch. And it is the tester of
// all, whom all is well.
func (s *site) plays(arches []albs.Arch) {
	t := s.t
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan struct{}, 2)
	for _, role := range []string{"node", "tester"} {
		var flags []string
		offer := worker.Offer{Version: "test", Labels: []string{"kind:build"}, Wait: 20}
		can := arches[1:]
		if role == "tester" {
			offer.Labels, can = []string{"kind:test"}, arches
		}
		for _, a := range can {
			flags = append(flags, "--arch", string(a))
			offer.Labels = append(offer.Labels, "arch:"+string(a))
		}
		me := worker.NewClient(s.url, s.enroll("played-"+role, role, flags...), &http.Client{})
		go func() {
			defer func() { ended <- struct{}{} }()
			for ctx.Err() == nil {
				l, err := me.Claim(ctx, offer)
				if err == nil && l != nil {
					err = s.played(ctx, me, l)
				}
				if errors.Is(err, albs.Unavailable) { // the master ends before those who play
					time.Sleep(100 * time.Millisecond)
					continue
				}
				if err != nil && ctx.Err() == nil {
					t.Errorf("the %s that is played: %v", role, err)
					return
				}
			}
		}()
	}
	t.Cleanup(func() {
		cancel()
		<-ended
		<-ended
	})
}

// fetchedFor puts a file that a task names into a folder and returns its path.
func fetchedFor(ctx context.Context, me worker.Master, l *worker.Lease, f albs.File, dir string) (string, error) {
	r, err := me.Get(ctx, l.Token, f.Digest, 0, -1)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(r)
	path := filepath.Join(dir, f.Name)
	return path, errors.Join(err, r.Close(), os.WriteFile(path, b, 0o600))
}

// played does a task.
func (s *site) played(ctx context.Context, me worker.Master, l *worker.Lease) error {
	put := func(name string, b []byte) (albs.File, error) {
		f := albs.File{Name: name, Digest: albs.DigestOf(b), Size: int64(len(b))}
		_, err := me.Put(ctx, l.Token, f.Digest, 0, strings.NewReader(string(b)))
		return f, err
	}
	log, err := put("build.log", fmt.Appendf(nil, "task %d\n", l.Token.Task))
	if err != nil {
		return err
	}
	result := albs.Result{Logs: []albs.File{log}}
	if l.Spec.Test != nil {
		result.Test = mastertest.Tested(l.Spec.Test, nil)
		return me.Complete(ctx, l.Token, albs.OutcomeOK, result)
	}
	dir, err := os.MkdirTemp(run, "played-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	srpm, err := fetchedFor(ctx, me, l, l.Spec.Build.SRPM, dir)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "rpmbuild", "--rebuild", "--quiet", "--nodeps", "--target", string(l.Spec.Build.Arch), "--define", "_topdir "+dir, srpm)
	cmd.Env = append(os.Environ(), "HOME="+dir) // whose macros are nobody's
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("rpmbuild: %w: %s", err, out)
	}
	made, err := filepath.Glob(dir + "/RPMS/*/*.rpm")
	if err != nil {
		return err
	}
	result.Build = &albs.BuildResult{}
	for _, path := range made {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f, err := put(filepath.Base(path), b)
		if err != nil {
			return err
		}
		result.Build.Packages = append(result.Build.Packages, f)
	}
	b, err := json.Marshal(map[string]any{
		"format": "albs-buildroot/v1", "target": l.Spec.Build.Arch, "input": l.Spec.Build.SRPM, "macro_file": albs.DigestOf([]byte("macros")),
		"packages": []any{map[string]any{"name": "bash", "version": "5", "release": "1", "arch": l.Spec.Build.Arch, "header_sha256": albs.DigestOf([]byte("h")), "sha256": albs.DigestOf([]byte("f"))}},
	})
	if err != nil {
		return err
	}
	if result.Build.Record, err = put("buildroot.json", b); err != nil {
		return err
	}
	return me.Complete(ctx, l.Token, albs.OutcomeOK, result)
}

// The two platforms, which have an advisory of one id.
const (
	nine, eight = "nine", "eight"
	theID       = "ALSA-2026:1234"
)

// errataOf is the section of a platform.
func errataOf(platform, url string) yes {
	return yes{
		"team": "demo", "ids": yes{"security": "ALSA-{year}:{serial}", "bugfix": "ALBA-{year}:{serial}"}, "own": "A",
		"url": url + "/demo/current/errata/" + platform, "vendor": "AlmaLinux", "namespace": "https://almalinux.example", "contact": "security@almalinux.example",
		"ecosystem": "AlmaLinux:" + versionOf[platform], "cpe": "cpe:/o:almalinux:almalinux:" + versionOf[platform],
	}
}

var versionOf = map[string]string{nine: "9", eight: "8"}

// goesOut plans a release of builds and advisories of platforms, ID/PLATFORM, has it
// approved and published.
func (s *site) goesOut(what ...string) {
	s.t.Helper()
	id := ask[client.Release](s, s.alice, append([]string{"release", "plan", "--product", "demo"}, what...)...).ID.String()
	s.run(s.bob, "release", "approve", id)
	s.run(s.alice, "release", "publish", id, "--wait")
}

// TestErrata: an advisory over many packages on three arches, with a module, becomes public
// together with its build; every program that reads advisories takes it for what it is; one
// of the same id on another platform stays apart; and what is issued anew, withdrawn and
// rolled back is so in every form. With -short it is over few packages.
func TestErrata(t *testing.T) {
	t.Parallel()
	arches := []albs.Arch{albs.X8664, albs.AArch64, albs.PPC64LE}
	libs := suite{name: "suite", version: "1.0", release: "10.el9", more: 26} // 28 packages, of which one comes later
	tools := suite{name: "tool", version: "5.0", release: "10.module.el9", more: 11, label: "tool:5:2:c0ffee00"}
	if testing.Short() {
		libs.more, tools.more = 1, 0
	}
	oldLibs := suite{name: "suite", version: "1.0", release: "9.el9"} // a text of 9 comes after one of 10
	oldTools := suite{name: "tool", version: "5.0", release: "9.module.el9", label: "tool:5:1:c0ffee00"}
	others := suite{name: "suite", version: "0.8", release: "3.el8"}

	s := newSite(t)
	place := filepath.Join(s.dir, "albs/releaser/public")
	mirror := httptest.NewTLSServer(http.FileServer(http.Dir(place))) // CSAF's lists lead to https alone
	t.Cleanup(mirror.Close)
	ca := s.file("mirror.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: mirror.Certificate().Raw})))
	s.serve("albs", ordinary(t), []string{"master", "node", "signer", "releaser"}, yes{"master": yes{
		"egress": yes{"allow": []string{s.forge.host, "file://" + s.seed, mirror.URL}, "ca_files": []string{s.forge.ca, ca}},
	}})
	s.people()
	s.shelf(mirror.URL, arches)
	s.key("ed25519")
	s.signsFiles("albs")
	s.plays(arches)
	begun := func(platform, branch string, us ...suite) string {
		args := []string{"build", "create", "--platform", platform, "--product", "demo"}
		for _, u := range us {
			args = append(args, "--git", s.forge.branch(t, u.name, branch, u.spec()))
		}
		return ask[client.Build](s, s.alice, args...).ID.String()
	}
	signed := func(build string) {
		s.built(build)
		s.signed(build)
	}
	modules := func(builds ...suite) {
		for _, a := range arches {
			s.run(s.alice, "repo", "metadata", "set", "demo/nine/"+string(a)+"/os", s.file("modules-"+string(a)+".yaml", modulesOf(a, builds...)), "--type", "modules")
		}
	}
	public := public{site: s, dir: filepath.Join(place, "demo/current")}
	on9, on8 := theID+"/"+nine, theID+"/"+eight

	// What machines have before anything is known to be wrong.
	old, first, second := begun(nine, "old", oldLibs, oldTools), begun(nine, "new", libs, tools), begun(eight, "eight", others)
	modules(oldTools)
	signed(old)
	s.goesOut("--build", old)
	stale := t.TempDir()
	if err := os.CopyFS(stale, os.DirFS(filepath.Join(public.dir, staleRepository, "repodata"))); err != nil {
		t.Fatal(err)
	}
	var machines []*machine
	for _, a := range arches {
		if a != albs.X8664 && testing.Short() {
			break // dnf takes its time
		}
		m := s.machine(mirror.URL, ca, nine, a)
		m.dnf("module", "enable", "tool:5")
		m.begin("suite", "suite-doc", "tool", "tool-doc")
		machines = append(machines, m)
	}

	// Advisory and build are one release.
	signed(first)
	modules(oldTools, tools)
	named := libs
	named.more--
	notice := advisory.Advisory{
		ID: theID, Platform: nine, Severity: advisory.Important, Title: "suite security update", Description: "A <b>fault</b> of the suite & its tools.",
		Issued: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), Packages: wanted([]suite{named, tools}, arches),
		CVEs: []advisory.CVE{{ID: "CVE-2026-10001", Scores: []advisory.Score{{Vector: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", Source: "nvd"}}, CWEs: []string{"CWE-79"}}, {ID: "CVE-2026-10002"}},
	}
	s.advise(notice, first)
	s.goesOut("--build", first, "--advisory", on9)
	one := public.agree(nine)[theID]
	public.names(one, []suite{named, tools}, arches)
	t.Logf("advisory %s names %d packages, %d files of RPM in %d repositories", on9, len(libs.on(""))-1+len(tools.on("")), len(one.Packages), len(public.repositories(nine)))
	s.states(on9, "released", 1)
	s.sound()
	public.readers(t, one, tools)
	for _, m := range machines {
		m.follow(public, one, libs, tools)
	}

	// The same id on another platform is another advisory.
	before := public.files(nine)
	signed(second)
	s.advise(advisory.Advisory{
		ID: theID, Platform: eight, Severity: advisory.Low, Title: "suite security update of old", Description: "It is another fault.",
		Issued: notice.Issued, CVEs: []advisory.CVE{{ID: "CVE-2025-20001"}}, Packages: wanted([]suite{others}, arches[:1]),
	}, second)
	s.goesOut("--build", second, "--advisory", on8)
	// One list tells of all platforms.
	if got := slices.DeleteFunc(changed(before, public.files(nine)), func(s string) bool { return strings.HasSuffix(s, "/provider-metadata.json") }); len(got) > 0 {
		t.Errorf("an advisory of eight changed %q", got)
	}
	public.names(public.agree(eight)[theID], []suite{others}, arches[:1])
	public.agree(nine)
	public.apart()
	s.states(on9, "released", 1)
	s.states(on8, "released", 1)
	s.sound()

	// Issued anew it names one more; the other platform's stays as it is.
	before = public.files(eight)
	notice.Packages = wanted([]suite{libs, tools}, arches)
	s.revise(notice, "one was forgotten")
	s.approve(notice, first)
	s.goesOut("--advisory", on9)
	two := public.agree(nine)[theID]
	public.names(two, []suite{libs, tools}, arches)
	s.states(on9, "released", 2)
	s.sound()
	second9 := public.files(nine)

	// Withdrawn it is in no file that says what machines need.
	s.run(s.alice, "errata", "withdraw", theID, "--platform", nine, "--reason", "It mends nothing.")
	s.goesOut("--advisory", on9)
	if a := public.agree(nine)[theID]; a.Withdrawn == nil || a.Version != 3 {
		t.Errorf("what was withdrawn is %+v", a)
	}
	s.states(on9, "withdrawn", 3)
	s.sound()
	machines[0].has(theID, 0)
	if got := slices.DeleteFunc(changed(before, public.files(eight)), func(s string) bool { return strings.HasSuffix(s, "/provider-metadata.json") }); len(got) > 0 {
		t.Errorf("advisories of nine changed %q", got)
	}
	s.states(on8, "released", 1)

	// What is rolled back is what was.
	s.run(s.alice, "release", "rollback", "demo", "--wait")
	if got := changed(second9, public.files(nine)); len(got) > 0 {
		t.Errorf("the rollback left others than there were: %q", got)
	}
	public.agree(nine)
	public.agree(eight)
	machines[0].has(theID, 4)
	s.states(on9, "withdrawn, changed", 2) // which a person said, and the public doesn't see
	s.states(on8, "released", 1)
	s.sound()
	s.unsound(public)
	s.behind(public, stale)
	s.check("albs", "albs")
}

// shelf applies the platforms and the product.
func (s *site) shelf(url string, arches []albs.Arch) {
	s.t.Helper()
	repositories := ""
	for _, p := range []string{nine, eight} {
		of := arches
		if p == eight {
			of = arches[:1]
		}
		s.platform(p, yes{
			"arches": of, "packages": tinyPackages, "test_packages": []string{"bash", "coreutils", "rpm", "system-release"},
			"os": yes{"id": "almalinux", "name": "AlmaLinux", "version": versionOf[p]}, "errata": errataOf(p, url),
		})
		for _, a := range of {
			repositories += fmt.Sprintf("  - {path: %[1]s/%[2]s/os, platform: %[1]s, arch: %[2]s, kind: rpm}\n", p, a)
		}
		repositories += fmt.Sprintf("  - {path: %[1]s/source, platform: %[1]s, arch: src, kind: source}\n", p)
	}
	s.run(s.admin, "product", "apply", s.file("product.yaml", `
name: demo
title: Packages
team: demo
platforms: [nine, eight]
key: demo
repositories:
`+repositories+`gate: {tests: required}
approvals: {count: 1, distinct: true}
`))
}

// staleRepository is the one that isn't as it is to be, in the end.
const staleRepository = nine + "/aarch64/os"

// behind has a repository show what it showed before there was an advisory, as a mirror that
// stands still does, and wants the master to name all that readers don't see.
func (s *site) behind(p public, stale string) {
	t := s.t
	t.Helper()
	dir, aside := filepath.Join(p.dir, staleRepository, "repodata"), filepath.Join(p.dir, staleRepository, "aside")
	if err := errors.Join(os.Rename(dir, aside), os.CopyFS(dir, os.DirFS(stale))); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(os.RemoveAll(dir), os.Rename(aside, dir)); err != nil {
			t.Error(err)
		}
	}()
	want := map[string]int{"missing advisory": 1}
	for _, q := range p.advisories(nine)[theID].Packages {
		if q.Repository == staleRepository {
			want["missing package"]++
			if q.Module != nil {
				want["missing module"]++
			}
		}
	}
	a := s.try(s.alice, "errata", "check", "demo", "--json")
	got := map[string]int{}
	for _, x := range of[client.ErrataCheck](t, []byte(a.stdout)).Troubles {
		if x.Repository != staleRepository || x.Advisory != theID {
			t.Errorf("a repository that stands still is found as %+v", x)
		}
		got[x.Kind]++
	}
	if a.code != 1 || !maps.Equal(got, want) {
		t.Errorf("a repository that stands still: exit code %d and %v, want 1 and %v", a.code, got, want)
	}
}

// signsFiles has the only key of the signer of a process sign files too.
func (s *site) signsFiles(process string) {
	s.t.Helper()
	keys := filepath.Join(s.dir, process, "signer/keys")
	key := ask[[]client.Key](s, s.alice, "key", "list")
	if len(key) != 1 {
		s.t.Fatalf("there are the keys %+v, want one", key)
	}
	policy := filepath.Join(keys, "policy.yaml")
	if err := os.WriteFile(policy, fmt.Appendf(nil, "keys: {%s: {kinds: [packages, repomd, files]}}\n", key[0].Fingerprint), 0o600); err != nil {
		s.t.Fatal(err)
	}
	ordinary(s.t).own(s.t, policy)
}

// content is an advisory as it is given to be made or changed.
func (s *site) content(a advisory.Advisory) string {
	s.t.Helper()
	all := of[map[string]any](s.t, a.Encode())
	for _, no := range []string{"type", "version", "updated"} { // which the id and the server say
		delete(all, no)
	}
	b, err := json.Marshal(all)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.file("advisory-"+a.Platform+".json", string(b))
}

// revise makes an advisory name other packages.
func (s *site) revise(a advisory.Advisory, reason string) {
	s.t.Helper()
	b, err := json.Marshal(map[string]any{"packages": a.Packages})
	if err != nil {
		s.t.Fatal(err)
	}
	s.run(s.alice, "errata", "edit", a.ID, "--platform", a.Platform, "--file", s.file("edit.json", string(b)), "--reason", reason)
}

// states wants the master to say of an advisory, ID/PLATFORM, where it stands, whether it
// has changed since, and which version is public.
func (s *site) states(of, state string, version int) {
	s.t.Helper()
	id, platform, _ := strings.Cut(of, "/")
	state, pending := strings.CutSuffix(state, ", changed")
	if a := ask[client.Advisory](s, s.alice, "errata", "show", id, "--platform", platform); a.Status != state || a.Published != version || a.Pending != pending {
		s.t.Errorf("advisory %s is %s with version %d (pending: %v), want %s with %d (%v)", of, a.Status, a.Published, a.Pending, state, version, pending)
	}
}

// sound wants the master to find the public place as it is to be.
func (s *site) sound() {
	s.t.Helper()
	if a := s.try(s.alice, "errata", "check", "demo"); a.code != 0 {
		s.t.Errorf("albs errata check ended with %+v", a)
	}
}

// unsound has files of the public place changed and taken away, and wants the master to name
// what readers see of that.
func (s *site) unsound(p public) {
	t := s.t
	t.Helper()
	const repository = staleRepository
	for _, tc := range []struct {
		typ  string
		gone bool
		want string
	}{
		{"updateinfo", false, "unread"}, {"updateinfo", true, "unread"}, {"modules", false, "unread"}, {"modules", true, "unread"}, {"primary", true, "unread"}, {"repomd", true, "unread"},
	} {
		name := filepath.Join(repository, "repodata/repomd.xml")
		if tc.typ != "repomd" {
			name = p.path(repository, tc.typ)
		}
		path := filepath.Join(p.dir, name)
		whole := read(t, path)
		broken := []byte(whole)
		broken[len(broken)/2] ^= 1
		if err := os.Remove(path); err != nil { // a tree may share it with another one
			t.Fatal(err)
		}
		if !tc.gone {
			if err := os.WriteFile(path, broken, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		a := s.try(s.alice, "errata", "check", "demo", "--json")
		found := of[client.ErrataCheck](t, []byte(a.stdout))
		if a.code != 1 || len(found.Troubles) != 1 || found.Troubles[0].Kind != tc.want || found.Troubles[0].Repository != repository {
			t.Errorf("%s (gone: %v): albs errata check ended with %+v", name, tc.gone, a)
		}
		if err := os.WriteFile(path, []byte(whole), 0o644); err != nil {
			t.Fatal(err)
		}
		s.sound()
	}
}

// advise makes an advisory and approves what a build has for it.
func (s *site) advise(a advisory.Advisory, build string) {
	s.t.Helper()
	s.run(s.alice, "errata", "create", s.content(a))
	s.approve(a, build)
}

// approve waits until all that an advisory wants has a match of a build, and approves that.
func (s *site) approve(a advisory.Advisory, build string) {
	s.t.Helper()
	s.until(5*time.Minute, "advisory "+a.ID+" of "+a.Platform+" is matched", func() bool {
		found := ask[client.Matches](s, s.alice, "errata", "match", a.ID, "--platform", a.Platform)
		has := map[string]bool{}
		for _, m := range found.Matches {
			if m.Build.String() == build {
				has[m.Wanted] = true
			}
		}
		return !slices.ContainsFunc(a.Packages, func(p advisory.Package) bool { return !has[p.NEVRA.String()] })
	})
	s.run(s.alice, "errata", "approve", a.ID, "--platform", a.Platform, "--build", build)
}
