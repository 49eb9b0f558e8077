package e2etest

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/client"
	"albs/internal/rpm"
)

// factsSpec is a package that tells in its header and in its log how it was built.
const factsSpec = `%global debug_package %{nil}
%bcond_with extra
%bcond_without usual
Name: facts
Version: 1
Release: 1%{?dist}
Summary: extra=%{with extra} usual=%{with usual} word=%{?word} flavour=%{?flavour_word} target=%{_target_cpu}
License: MIT
%description
facts
%package devel
Summary: devel
%description devel
devel
%package doc
Summary: doc
BuildArch: noarch
%description doc
doc
%build
echo "machine: $(uname -m), word: %{?word}"
cat /usr/share/tool/stream || :
if test -e /usr/bin/free; then echo free is here; fi
%install
mkdir -p %{buildroot}/usr/share/facts %{buildroot}/usr/lib/facts
echo doc > %{buildroot}/usr/share/facts/doc
echo devel > %{buildroot}/usr/lib/facts/devel
%files
%files devel
/usr/lib/facts
%files doc
/usr/share/facts
`

// toolSpec is a noarch package of a module's stream, which is called as its version.
func toolSpec(stream string) string {
	return "Name: tool\nVersion: " + stream + "\nRelease: 1\nSummary: tool\nLicense: MIT\nBuildArch: noarch\nModularityLabel: tool:" + stream + ":1:c0ffee00\n" + `%description
tool
%install
mkdir -p %{buildroot}/usr/share/tool; echo "stream: ` + stream + `" > %{buildroot}/usr/share/tool/stream
%files
/usr/share/tool
`
}

const modulesYAML = `---
document: modulemd
version: 2
data: {name: tool, stream: "STREAM", version: 1, context: c0ffee00, arch: x86_64, summary: tool, description: tool,
  license: {module: [MIT]}, profiles: {}, artifacts: {rpms: [tool-0:STREAM-1.noarch]}}
...
`

// modularRepository makes a repository with a module tool of the streams 1 and 2, none
// of which is the default.
func modularRepository(t *testing.T, dir string) {
	t.Helper()
	var modules string
	for _, stream := range []string{"1", "2"} {
		spec := filepath.Join(t.TempDir(), "tool.spec")
		if err := os.WriteFile(spec, []byte(toolSpec(stream)), 0o644); err != nil {
			t.Fatal(err)
		}
		output(t, command(t, time.Minute, "rpmbuild", "-bb", "--define", "_topdir "+filepath.Dir(spec), "--define", "_rpmdir "+dir, spec), self)
		modules += strings.ReplaceAll(modulesYAML, "STREAM", stream)
	}
	file := filepath.Join(t.TempDir(), "modules.yaml")
	if err := os.WriteFile(file, []byte(modules), 0o644); err != nil {
		t.Fatal(err)
	}
	output(t, command(t, time.Minute, "createrepo_c", "--quiet", "--no-database", dir), self)
	output(t, command(t, time.Minute, "modifyrepo_c", "--mdtype=modules", file, filepath.Join(dir, "repodata")), self)
}

// create starts a build with arguments of its own and waits for its end, tests apart.
func (s *site) create(args ...string) client.Build {
	s.t.Helper()
	id := ask[client.Build](s, s.alice, append([]string{"build", "create"}, args...)...).ID.String()
	s.until(4*time.Minute, "build "+id+" has ended", func() bool {
		b, err := s.api.Build(s.t.Context(), s.number(id))
		return err == nil && b.Value.Final()
	})
	return s.show(id)
}

// made is create for a build that has to succeed.
func (s *site) made(args ...string) client.Build {
	s.t.Helper()
	b := s.create(args...)
	if b.State != "succeeded" {
		for _, t := range b.Tasks {
			if t.State == albs.TaskFailed {
				a := s.try(s.alice, "build", "logs", b.ID.String(), t.ID.String(), "--stream", "root")
				s.t.Logf("the root log of %s:\n%s", t.Package, a.stdout)
			}
		}
		s.t.Fatalf("build %d is %s: %s", b.ID, b.State, b.Reason)
	}
	return b
}

// rebuild returns a build's rebuild for an arch, and its log.
func (s *site) rebuild(b client.Build, arch albs.Arch) (client.Task, string) {
	s.t.Helper()
	for _, t := range b.Tasks {
		if t.Kind == albs.KindBuild && t.Arch == arch {
			return t, s.run(s.alice, "build", "logs", b.ID.String(), t.ID.String(), "--stream", "build")
		}
	}
	s.t.Fatalf("build %d has no rebuild for %s", b.ID, arch)
	return client.Task{}, ""
}

// bytesOf downloads a file of a build.
func (s *site) bytesOf(d albs.Digest) []byte {
	s.t.Helper()
	r, err := http.Get(s.url + "/blobs/" + string(d))
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		s.t.Fatalf("blob %s: %s, %v", d.Short(), r.Status, err)
	}
	return b
}

// summary reads the one package facts among a task's files.
func (s *site) summary(t client.Task) *rpm.Package {
	s.t.Helper()
	for _, f := range t.Files {
		if f.Kind == "rpm" && strings.HasPrefix(f.Name, "facts-1-") && !strings.Contains(f.Name, "i686") == (t.Arch != albs.I686) {
			path := filepath.Join(s.t.TempDir(), f.Name)
			if err := os.WriteFile(path, s.bytesOf(f.Digest), 0o644); err != nil {
				s.t.Fatal(err)
			}
			p, err := rpm.ReadFile(path)
			if err != nil {
				s.t.Fatal(err)
			}
			return p
		}
	}
	s.t.Fatalf("task %d left no package facts but %+v", t.ID, t.Files)
	return nil
}

func names(t client.Task) []string {
	var out []string
	for _, f := range t.Files {
		if f.Kind == "rpm" {
			out = append(out, f.Name)
		}
	}
	slices.Sort(out)
	return out
}

// offers returns the packages that dnf finds in one of a build's repositories, of which
// path is the part behind the build's number.
func (s *site) offers(b client.Build, path string) []string {
	s.t.Helper()
	dir := folder(s.t, self, s.t.Name(), "dnf", b.ID.String(), path)
	conf := filepath.Join(dir, "dnf.conf")
	if err := os.WriteFile(conf, []byte("[main]\n"), 0o644); err != nil {
		s.t.Fatal(err)
	}
	cmd := command(s.t, 5*time.Minute, "dnf", "--quiet", "--config="+conf, "--installroot="+dir, "--releasever=9", "--noplugins",
		"--setopt=reposdir=/dev/null", "--setopt=cachedir="+dir+"/cache", "--setopt=logdir="+dir, "--setopt=persistdir="+dir+"/persist", "--setopt=skip_if_unavailable=0",
		"--repofrompath=x,"+s.url+"/repos/build/"+b.ID.String()+"/"+path, "--repo=x", "repoquery", "--available", "--qf=%{name}-%{version}-%{release}.%{arch}")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LANG=C.UTF-8"}
	found := strings.Fields(output(s.t, cmd, self))
	slices.Sort(found)
	return found
}

// TestOptions looks at what each option of a build does to the packages and their logs.
func TestOptions(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	mods := folder(t, self, t.Name(), "mods")
	modularRepository(t, mods)
	who := ordinary(t)
	local := yes{"allow": []string{"file://" + s.seed, "file://" + mods}}
	s.serve("albs", who, allRoles, yes{
		"master": yes{"egress": yes{"allow": []string{s.forge.host, "file://" + s.seed, "file://" + mods}, "ca_files": []string{s.forge.ca}}},
		"node":   yes{"egress": local}, "tester": yes{"egress": local},
	})
	s.people()
	s.tiny()
	tiny := yes{"packages": tinyPackages, "test_packages": []string{"bash", "coreutils", "rpm", "system-release"}}
	with := func(change yes) yes {
		out := yes{}
		for _, m := range []yes{tiny, change} {
			for k, v := range m {
				out[k] = v
			}
		}
		return out
	}
	s.platform("el9", with(yes{"dist": ".el9"}))
	s.platform("el8", with(yes{"dist": ".el8", "macros": yes{"word": "eight"}}))
	s.platform("multi", with(yes{
		"arches": []string{"x86_64", "i686"}, "root_arches": yes{"i686": "x86_64"}, "weak_arches": []yes{{"name": "i686", "depends_on": "x86_64"}},
		"multilib": []yes{{"from": "i686", "into": "x86_64", "packages": []string{"*-devel"}}},
	}))
	s.run(s.admin, "flavour", "apply", s.file("flavour.yaml", encode(t, yes{
		"name": "modular", "repositories": []yes{{"id": "mods", "url": "file://" + mods}}, "macros": yes{"flavour_word": "modular"}, "packages": []string{"procps"},
	})))
	facts := s.forge.spec(t, "facts", factsSpec)

	t.Run("with, without and define", func(t *testing.T) {
		b := s.made("--platform", "tiny", "--git", facts, "--with", "extra", "--without", "usual", "--define", "word=a, b", "--define", "dist=.mine")
		task, log := s.rebuild(b, albs.X8664)
		if p := s.summary(task); p.Summary != "extra=1 usual=0 word=a, b flavour= target=x86_64" || p.Release != "1.mine" {
			t.Errorf("the package is %s: %s", p.NEVRA, p.Summary)
		}
		if strings.Contains(log, "\nfree is here\n") || strings.Contains(log, "\nstream: ") {
			t.Errorf("the plain root has what only a flavour has:\n%s", log)
		}
		for _, f := range b.Tasks[1].Files {
			if f.Kind == "srpm" && f.Name != "facts-1-1.mine.src.rpm" {
				t.Errorf("the SRPM is %s", f.Name)
			}
		}
	})
	t.Run("platforms apart, and a minor release's tag", func(t *testing.T) {
		const tag = "imports/c9/facts-1-1.el9_2"
		bare := filepath.Join(s.forge.dir, "rpms", "TestOptions", "facts.git")
		output(t, command(t, time.Minute, "git", "--git-dir", bare, "tag", tag, "main"), self)
		b := s.made("--platform", "el9", "--platform", "el8", "--git", strings.Replace(facts, "#main", "#"+tag, 1))
		got := map[string]string{}
		for _, task := range b.Tasks {
			if task.Kind == albs.KindBuild {
				p := s.summary(task)
				got[task.Platform.Name] = p.Release + " " + p.Summary
			}
		}
		if !strings.HasPrefix(got["el9"], "1.el9_2 extra=0 usual=1 word= ") || !strings.HasPrefix(got["el8"], "1.el8 extra=0 usual=1 word=eight ") {
			t.Errorf("the platforms' packages are %q", got)
		}
	})
	t.Run("flavour", func(t *testing.T) {
		b := s.made("--platform", "tiny", "--git", facts, "--flavour", "modular")
		task, log := s.rebuild(b, albs.X8664)
		if p := s.summary(task); !strings.Contains(p.Summary, "flavour=modular") || !strings.Contains(log, "\nfree is here\n") {
			t.Errorf("the package is %s: %s; its log:\n%s", p.NEVRA, p.Summary, log)
		}
		if len(b.Flavours) != 1 || b.Flavours[0].Revision != 1 {
			t.Errorf("the build has the flavours %+v", b.Flavours)
		}
	})
	needs := s.forge.spec(t, "needs", strings.NewReplacer("facts", "needs", "License: MIT", "License: MIT\nBuildRequires: tool").Replace(factsSpec))
	t.Run("module", func(t *testing.T) {
		for _, stream := range []string{"1", "2"} {
			b := s.made("--platform", "tiny", "--git", needs, "--flavour", "modular", "--module", "tool:"+stream)
			if _, log := s.rebuild(b, albs.X8664); !strings.Contains(log, "\nstream: "+stream+"\n") {
				t.Errorf("with tool:%s the log is\n%s", stream, log)
			}
		}
		if b := s.create("--platform", "tiny", "--git", needs, "--flavour", "modular", "--module", "tool:3"); b.State != "failed" || !strings.Contains(b.Reason, "tool:3") {
			t.Errorf("with a stream that isn't there the build is %s: %s", b.State, b.Reason)
		}
	})
	t.Run("exclude", func(t *testing.T) {
		b := s.create("--platform", "tiny", "--git", needs, "--flavour", "modular", "--module", "tool:1", "--exclude", "too*")
		task := s.task(b.ID.String(), albs.KindBuild)
		if b.State != "failed" || !strings.Contains(b.Reason, "tool is excluded") || task.Attempts != 1 {
			t.Errorf("without what it needs the build is %s after %d attempts: %s", b.State, task.Attempts, b.Reason)
		}
	})
	t.Run("linked build", func(t *testing.T) {
		// It is of a module, and its build's repository has no modules.
		tool := s.made("--platform", "tiny", "--git", s.forge.spec(t, "tool", toolSpec("9")))
		b := s.made("--platform", "tiny", "--git", needs, "--link", tool.ID.String())
		if _, log := s.rebuild(b, albs.X8664); !strings.Contains(log, "\nstream: 9\n") {
			t.Errorf("the log is\n%s", log)
		}
	})
	t.Run("target arch", func(t *testing.T) {
		b := s.made("--platform", "tiny", "--git", facts, "--target-arch", "x86_64_v2")
		task, _ := s.rebuild(b, albs.X8664)
		if p := s.summary(task); p.Arch != "x86_64_v2" || !strings.HasSuffix(p.Summary, "target=x86_64_v2") {
			t.Errorf("the package is %s: %s", p.NEVRA, p.Summary)
		}
	})
	t.Run("SRPM by URL", func(t *testing.T) {
		first := s.made("--platform", "tiny", "--git", facts)
		for _, f := range first.Tasks[1].Files {
			if f.Kind == "srpm" {
				if err := os.WriteFile(filepath.Join(s.forge.dir, "lookaside", f.Name), s.bytesOf(f.Digest), 0o644); err != nil {
					t.Fatal(err)
				}
				b := s.made("--platform", "tiny", "--srpm", s.forge.url+"/lookaside/"+f.Name)
				if task, _ := s.rebuild(b, albs.X8664); len(names(task)) != 3 || task.Ref.URL != s.forge.url+"/lookaside/"+f.Name {
					t.Errorf("the rebuild is of %+v and left %v", task.Ref, names(task))
				}
			}
		}
	})
	t.Run("i686, multilib and noarch", func(t *testing.T) {
		b := s.made("--platform", "multi", "--git", facts)
		small, log := s.rebuild(b, albs.I686)
		if p := s.summary(small); p.Arch != "i686" || !strings.HasSuffix(p.Summary, "target=i686") || !strings.Contains(log, "\nmachine: i686, word: \n") {
			t.Errorf("the package is %s: %s; its log:\n%s", p.NEVRA, p.Summary, log)
		}
		task, _ := s.rebuild(b, albs.X8664)
		want := []string{
			"facts-1-1.seed9.x86_64.rpm", "facts-devel-1-1.seed9.i686.rpm", "facts-devel-1-1.seed9.x86_64.rpm", "facts-doc-1-1.seed9.noarch.rpm",
		}
		if got := names(task); !slices.Equal(got, want) {
			t.Errorf("x86_64 has %v, want %v", got, want)
		}
		doc := map[albs.Digest]bool{}
		for _, task := range b.Tasks {
			for _, f := range task.Files {
				if f.Kind == "rpm" && strings.HasSuffix(f.Name, ".noarch.rpm") {
					doc[f.Digest] = true
				}
			}
		}
		if len(doc) != 1 {
			t.Errorf("the arches have %d copies of the noarch package, want one", len(doc))
		}
	})
	t.Run("weak arch", func(t *testing.T) {
		fussy := s.forge.spec(t, "fussy", strings.NewReplacer("facts", "fussy", "%build\n", "%build\ntest \"$(uname -m)\" != i686\n").Replace(factsSpec))
		b := s.made("--platform", "multi", "--order", "independent", "--git", fussy, "--git", facts)
		for _, task := range b.Tasks {
			want := albs.TaskSucceeded
			if task.Package == "fussy" && task.Arch == albs.I686 {
				want = albs.TaskFailed
			}
			if task.State != want || task.Kind == albs.KindBuild && task.Attempts != 1 {
				t.Errorf("the %s of %s for %s is %s after %d attempts, want %s: %s", task.Kind, task.Package, task.Arch, task.State, task.Attempts, want, task.Reason)
			}
		}
		if !strings.Contains(b.Reason, "1 of weak arches failed: fussy i686 build: ") {
			t.Errorf("the build's reason is %q", b.Reason)
		}
		if a := s.try(s.alice, "build", "watch", b.ID.String()); a.code != 0 {
			t.Errorf("albs build watch ended with %+v", a)
		}
		for path, want := range map[string][]string{
			"multi/x86_64": {
				"facts-1-1.seed9.x86_64", "facts-devel-1-1.seed9.i686", "facts-devel-1-1.seed9.x86_64", "facts-doc-1-1.seed9.noarch",
				"fussy-1-1.seed9.x86_64", "fussy-devel-1-1.seed9.x86_64", "fussy-doc-1-1.seed9.noarch",
			},
			"multi/i686": {"facts-1-1.seed9.i686", "facts-devel-1-1.seed9.i686", "facts-doc-1-1.seed9.noarch"},
			"multi/src":  {"facts-1-1.seed9.src", "fussy-1-1.seed9.src"},
		} {
			if got := s.offers(b, path); !slices.Equal(got, want) {
				t.Errorf("%s has %q, want %q", path, got, want)
			}
		}
	})
	t.Run("secure boot", func(t *testing.T) {
		s.platform("boot", with(yes{"macros": yes{"word": "usual"}, "secure_boot_macros": yes{"word": "secure"}, "secure_boot_packages": []string{"fac*"}}))
		s.product("boot")
		plain := s.made("--platform", "boot", "--git", facts)
		if task, log := s.rebuild(plain, albs.X8664); !strings.Contains(s.summary(task).Summary, " word=usual ") || !strings.Contains(log, ", word: usual\n") {
			t.Errorf("without it the package is %s; its log:\n%s", s.summary(task).Summary, log)
		}
		if len(plain.Warnings) != 1 || !strings.Contains(plain.Warnings[0], "wants facts to be built for secure boot") {
			t.Errorf("without it the warnings are %q", plain.Warnings)
		}

		asked := []string{"build", "create", "--platform", "boot", "--product", "demo", "--git", facts, "--secure-boot"}
		s.run(s.admin, "user", "add", "carol")
		s.run(s.admin, "user", "grant", "carol", "contributor", "--team", "demo")
		carol := ask[struct{ Secret string }](s, s.admin, "token", "create", "--user", "carol").Secret
		if a := s.try(carol, asked...); a.code != 1 || !strings.Contains(a.stderr, "build.secureboot") {
			t.Errorf("a contributor's attempt ended with %+v, want exit code 1 and the permission's name", a)
		}
		signing := s.platformFile("modsign", with(yes{"secure_boot_macros": yes{"with_modsign": "1"}}))
		if a := s.try(s.admin, "platform", "apply", signing); a.code != 1 || !strings.Contains(a.stderr, "with_modsign signs while a package is built") {
			t.Errorf("applying macros that sign modules ended with %+v", a)
		}

		id := ask[client.Build](s, s.alice, asked...).ID.String()
		s.until(time.Minute, "the rebuild waits for a node that is kept for it", func() bool {
			for _, task := range s.show(id).Tasks {
				if task.Kind == albs.KindBuild && task.State == albs.TaskQueued {
					return strings.Contains(s.run(s.alice, "queue", "why", task.ID.String()), "secureboot")
				}
			}
			return false
		})
		s.serve("vault", who, []string{"node"}, yes{
			"connect": yes{"master": s.url, "token_file": s.hand("vault", who, s.enroll("vault", "node", "--arch", "x86_64", "--label", "secureboot"))},
			"node":    yes{"secure_boot": true, "egress": local},
		})
		b := s.built(id)
		task, log := s.rebuild(b, albs.X8664)
		if p := s.summary(task); !strings.Contains(p.Summary, " word=secure ") || !strings.Contains(log, ", word: secure\n") {
			t.Errorf("the package is %s: %s; its log:\n%s", p.NEVRA, p.Summary, log)
		}
		if !b.SecureBoot || len(b.Warnings) != 0 || task.Worker != "vault" || task.Attempts != 1 {
			t.Errorf("the rebuild was %s's after %d attempts, want vault's after one; for secure boot: %v, warnings %q", task.Worker, task.Attempts, b.SecureBoot, b.Warnings)
		}
	})
	t.Run("debug data and sources apart", func(t *testing.T) {
		s.platform("seed", nil)
		b := s.made("--platform", "seed", "--git", s.forge.spec(t, "libfoo", read(t, filepath.Join(module, "testdata/specs/libfoo.spec"))))
		for path, want := range map[string][]string{
			"seed/x86_64":       {"libfoo-1.2-1.seed9.x86_64", "libfoo-devel-1.2-1.seed9.x86_64"},
			"seed/x86_64/debug": {"libfoo-debuginfo-1.2-1.seed9.x86_64", "libfoo-debugsource-1.2-1.seed9.x86_64"},
			"seed/src":          {"libfoo-1.2-1.seed9.src"},
		} {
			if got := s.offers(b, path); !slices.Equal(got, want) {
				t.Errorf("%s has %q, want %q", path, got, want)
			}
		}
	})
	s.check("albs", "albs")
}
