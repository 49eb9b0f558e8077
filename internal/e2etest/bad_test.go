package e2etest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"albs/internal/albs"
	"albs/internal/client"
	"albs/internal/master/db"
)

// badPackages are packages at which a build has to fail, each for its own reason.
// CANARY in their files is a path that whatever is evaluated outside the sandbox
// could write.
var badPackages = []struct {
	name  string
	files map[string]string
	on    string        // platform; "" is tiny
	kind  albs.TaskKind // of the task that fails; "" if the build succeeds
	want  []string      // in the task's reason; one of those with | between
	log   string        // stream in which the first of want is to be found as well; "" for none
	said  string        // what build.log has to keep
	cause string        // the cause's kind and, where a log tells it, the log; "" where none is known, or anyCause
}{
	{
		name:  "unparsable",
		files: map[string]string{"unparsable.spec": "Name: unparsable\nVersion: 1\n%if 1\nno end to this\n"},
		kind:  albs.KindSource,
		want:  []string{"line 4: Unknown tag"}, cause: "spec build",
	},
	{
		name: "unbuildable", files: only("unbuildable", "echo this cannot work; exit 3"),
		kind: albs.KindBuild, want: []string{"%build"}, cause: "section build",
	},
	{
		name: "silent", files: only("silent", "sleep 600"), on: "noisy",
		kind: albs.KindBuild, want: []string{"silent for more than 3s"}, cause: "silence build",
	},
	{
		name: "endless", files: only("endless", "while :; do echo still here; sleep 1; done"), on: "quick",
		kind: albs.KindBuild, want: []string{"longer than 10s"}, cause: "time build", said: "\nstill here\n",
	},
	{
		name:  "wishful",
		files: map[string]string{"wishful.spec": strings.Replace(specOf("wishful", "true"), "BuildArch", "BuildRequires: no-such-thing-anywhere >= 9\nBuildArch", 1)},
		kind:  albs.KindBuild, want: []string{"no-such-thing-anywhere"}, log: "root", cause: "dependency root",
	},
	{
		name:  "wrong-digest", // the look-aside cache has something else under this name
		files: withSources("wrong-digest", "SHA256 (file.txt) = "+zeros+"\n"),
		kind:  albs.KindImport, want: []string{"file.txt", zeros[:12]}, cause: "source",
	},
	{
		name:  "missing-source",
		files: withSources("missing-source", "SHA256 (file.txt) = "+strings.Repeat("1", 64)+"\n"),
		kind:  albs.KindImport, want: []string{"file.txt", "/lookaside/1111"}, cause: "source",
	},
	{
		name:  "traversing",
		files: withSources("traversing", "SHA256 (../../../CANARY) = "+zeros+"\n"),
		kind:  albs.KindImport, want: []string{"sources line 1"},
	},
	{
		name: "traversing-metadata",
		files: map[string]string{
			"SPECS/traversing-metadata.spec": specOf("traversing-metadata", "true"),
			".traversing-metadata.metadata":  zeros + " SOURCES/../../CANARY\n",
		},
		kind: albs.KindImport, want: []string{".traversing-metadata.metadata line 1"},
	},
	{
		name: "absolute", files: withSources("absolute", "SHA256 (/etc/passwd) = "+zeros+"\n"),
		kind: albs.KindImport, want: []string{"sources line 1"},
	},
	{
		name: "weak-digest", files: withSources("weak-digest", "MD5 (file.txt) = "+zeros[:32]+"\n"),
		kind: albs.KindImport, want: []string{"sources line 1"},
	},
	{
		name:  "two-specs",
		files: map[string]string{"a.spec": specOf("a", "true"), "b.spec": specOf("b", "true")},
		kind:  albs.KindImport, want: []string{"spec"}, cause: "source",
	},
	{
		name:  "including", // a file that this machine has, and no root
		files: map[string]string{"including.spec": "%include HOST\n" + specOf("including", "true")},
		kind:  albs.KindSource, want: []string{"Unable to open"},
	},
	{
		name:  "recursive",
		files: map[string]string{"recursive.spec": "%define loop() 1%{loop}\n" + strings.Replace(specOf("recursive", "true"), "Version: 1.0", "Version: %{loop}", 1)},
		kind:  albs.KindSource, want: []string{"levels of recursion"}, cause: "macro build",
	},
	{
		name:  "demanding",
		files: map[string]string{"demanding.spec": "%{lua: for i = 1, 1000000 do print('BuildRequires: nosuch' .. i .. '\\n') end}\n" + specOf("demanding", "true")},
		on:    "quick", kind: albs.KindSource, want: []string{"longer than"}, cause: "time build",
	},
	{
		name: "forking", files: only("forking", "bomb() { bomb | bomb & }; bomb; wait; sleep 600"), on: "quick",
		kind: albs.KindBuild, want: []string{"longer than 10s|%build"}, cause: anyCause,
	},
	{
		name: "filling", files: only("filling", "dd if=/dev/zero of=big bs=1M count=4000"),
		kind: albs.KindBuild, want: []string{"wrote more|%build"}, cause: anyCause,
	},
	{
		name: "lineless", files: only("lineless", "head -c 1073741824 /dev/zero | tr '\\0' x"), on: "quick",
		kind: albs.KindBuild, want: []string{"longer than 10s|of log"}, cause: anyCause,
	},
	{
		name: "canary-in-spec",
		files: map[string]string{"canary-in-spec.spec": "%global shell %(touch CANARY-shell; echo 1)\n" +
			"%global bylua %{lua: local f = io.open('CANARY-lua', 'w'); if f then f:close() end; print('1')}\n" +
			strings.Replace(specOf("canary-in-spec", "touch CANARY-build || true"), "Version: 1.0", "Version: 1.%{shell}.%{bylua}%(touch CANARY-version)", 1)},
	},
	{
		name:  "canary-in-macro",
		files: map[string]string{"canary-in-macro.spec": strings.Replace(specOf("canary-in-macro", "true"), "Version: 1.0", "Version: 1.%{evil}", 1)},
	},
}

// anyCause is for what ends by whichever of its limits it meets first.
const anyCause = "any"

// evil is a macro that a person gives with a build. What it asks for may happen in a
// sandbox and nowhere else.
const evil = "evil=%(touch CANARY-define; echo 1)%{lua:local f = io.open('CANARY-define', 'w'); if f then f:close() end}"

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"

func only(name, build string) map[string]string {
	return map[string]string{name + ".spec": specOf(name, build)}
}

func withSources(name, sources string) map[string]string {
	f := only(name, "true")
	f["sources"] = sources
	return f
}

// TestBadInput is T47 and T51: it gives the whole system what it must refuse. Each is
// refused with a reason that names the cause, nothing of it is evaluated outside a
// sandbox, and nothing is left behind.
func TestBadInput(t *testing.T) {
	t.Parallel()
	often := 3
	if testing.Short() {
		often = 1
	}
	for n := range often {
		t.Run(fmt.Sprintf("round-%d", n+1), badInput)
	}
}

func badInput(t *testing.T) {
	s := newSite(t)
	s.serve("albs", ordinary(t), allRoles, yes{"node": yes{"parallel": 2, "sandbox": yes{"limits": yes{"processes": 256, "disk": 256 << 20}}}})
	s.people()
	s.tiny()
	s.product("tiny")
	const secret = "what only this machine has"
	host := s.file("host-file", secret+"\n")
	s.secrets = append(s.secrets, secret)
	nest := folder(t, self, t.Name(), "nest")
	if err := os.Chmod(nest, 0o777); err != nil {
		t.Fatal(err)
	}
	canary := filepath.Join(nest, "canary")
	s.platform("noisy", yes{"packages": tinyPackages, "max_silence": "3s"})
	s.platform("quick", yes{"packages": tinyPackages, "timeout": "10s"})
	if err := os.WriteFile(filepath.Join(s.forge.dir, "lookaside", zeros), []byte("not what the digest says"), 0o644); err != nil {
		t.Fatal(err)
	}

	s.refused(t, canary)

	builds := map[string]string{}
	for _, p := range badPackages {
		files := map[string]string{}
		for path, text := range p.files {
			files[path] = strings.NewReplacer("CANARY", canary, "HOST", host).Replace(text)
		}
		on := p.on
		if on == "" {
			on = "tiny"
		}
		repository := s.forge.repository(t, p.name, files)
		builds[p.name] = ask[client.Build](s, s.alice, "build", "create", "--platform", on, "--product", "demo", "--git", repository,
			"--define", strings.ReplaceAll(evil, "CANARY", canary)).ID.String()
	}
	for _, p := range badPackages {
		a := s.try(s.alice, "build", "watch", builds[p.name])
		if p.kind == "" {
			if a.code != 0 {
				t.Errorf("%s: the build failed: %s", p.name, a.stderr)
			}
			continue
		}
		if a.code != 1 {
			t.Errorf("%s: albs build watch ended with %d, want 1", p.name, a.code)
		}
		task := s.task(builds[p.name], p.kind)
		if task.State != albs.TaskFailed || task.Attempts != 1 {
			t.Errorf("%s: the %s task is %s after %d attempts: %s; want failed after 1", p.name, p.kind, task.State, task.Attempts, task.Reason)
			continue
		}
		whole := s.show(builds[p.name])
		for _, want := range p.want {
			if !says(task.Reason, want) || !says(whole.Reason, want) || !says(a.stdout+a.stderr, want) {
				t.Errorf("%s: %q is not in the task's, the build's and the command's reasons:\n%s\n%s\n%s", p.name, want, task.Reason, whole.Reason, a.stderr)
			}
		}
		if p.cause == anyCause {
			t.Logf("%s: %s", p.name, task.Reason)
		}
		cause := ""
		if f := task.Failure; f != nil && f.Kind != "unknown" {
			cause = strings.TrimSpace(f.Kind + " " + f.Log)
		}
		if cause != p.cause && p.cause != anyCause {
			t.Errorf("%s: the cause is %+v, want %q", p.name, task.Failure, p.cause)
		}
		if p.said != "" {
			if log := s.run(s.alice, "build", "logs", builds[p.name], task.ID.String(), "--stream", "build"); !strings.Contains(log, p.said) {
				t.Errorf("%s: build.log has lost what was said before the end:\n%s", p.name, log)
			}
		}
		if p.log != "" {
			if log := s.run(s.alice, "build", "logs", builds[p.name], task.ID.String(), "--stream", p.log); !strings.Contains(log, p.want[0]) {
				t.Errorf("%s: %q is not in the log %s:\n%s", p.name, p.want[0], p.log, log)
			}
		}
	}
	// None of them is lost from sight, also where nothing could be begun.
	list := ask[client.BuildPage](s, s.alice, "build", "list")
	if list.Total != len(badPackages) {
		t.Errorf("%d builds are listed, want %d", list.Total, len(badPackages))
	}
	for _, b := range list.Builds {
		if b.State == "failed" && b.Reason == "" {
			t.Errorf("build %d is listed as failed without a reason", b.ID)
		}
	}
	hatched, err := os.ReadDir(nest)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range hatched {
		t.Errorf("something was evaluated outside the sandbox: it wrote %s", f.Name())
	}
	s.check("albs", "albs")
}

// says reports whether a text has one of the words of want, which have | between.
func says(text, want string) bool {
	return slices.ContainsFunc(strings.Split(want, "|"), func(w string) bool { return strings.Contains(text, w) })
}

// refused asks for what must be refused before anything is made.
func (s *site) refused(t *testing.T, canary string) {
	t.Helper()
	good := s.forge.spec(t, "good", specOf("good", "true"))
	repository, _, _ := strings.Cut(good, "#")
	srpm := filepath.Join(s.dir, "evil-%(touch x)-1-1.src.rpm")
	truncated := filepath.Join(s.dir, "albs-rich-1.0~rc1-3.el9.src.rpm")
	whole := read(t, filepath.Join(module, "internal/rpm/testdata/albs-rich-1.0~rc1-3.el9.src.rpm"))
	mutated := filepath.Join(s.dir, "mutated-1-1.src.rpm")
	for path, text := range map[string]string{srpm: "no package", truncated: whole[:700], mutated: whole[:200] + strings.Repeat("\xff", 64) + whole[264:]} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct{ name, option, value, want string }{
		{"unknown ref", "--git", repository + "#no-such-branch", "no-such-branch"},
		{"unknown commit", "--git", repository + "#" + zeros[:40], zeros[:12]},
		{"unknown repository", "--git", s.forge.url + "/rpms/nothing-here.git#main", "nothing-here"},
		{"file", "--git", "file://" + s.forge.dir + "/rpms/" + t.Name() + "/good.git#main", "file"},
		{"path", "--git", s.forge.dir + "/rpms/" + t.Name() + "/good.git#main", ""},
		{"ext", "--git", "ext::sh -c 'touch " + canary + "-ext'#main", ""},
		{"option for a URL", "--git", "--upload-pack=touch " + canary + "-pack#main", ""},
		{"ssh option", "--git", "ssh://-oProxyCommand=touch " + canary + "-ssh/x#main", ""},
		{"option for a ref", "--git", repository + "#--output=" + canary + "-output", ""},
		{"shell in a ref", "--git", repository + "#$(touch " + canary + "-ref)", ""},
		{"macro in a ref", "--git", repository + "#%(touch " + canary + "-ref)", ""},
		{"lua in a ref", "--git", repository + "#%{lua:io.open('" + canary + "-ref','w')}", ""},
		{"loopback that isn't allowed", "--git", "https://127.0.0.1:1/x.git#main", "127.0.0.1"},
		{"metadata service", "--git", "http://169.254.169.254/x.git#main", "169.254.169.254"},
		{"credentials in a URL", "--git", "https://me:secret@127.0.0.1:1/x.git#main", ""},
		{"no package", "--srpm", srpm, ""},
		{"truncated package", "--srpm", truncated, ""},
		{"mutated package", "--srpm", mutated, ""},
	} {
		a := s.try(s.alice, "build", "create", "--platform", "tiny", "--product", "demo", tc.option, tc.value)
		if a.code != 1 && a.code != 2 || !strings.Contains(a.stderr, tc.want) || strings.Contains(a.stderr, "internal error") {
			t.Errorf("%s: albs build create ended with %d, want a refusal that names %q: %s", tc.name, a.code, tc.want, a.stderr)
		}
	}
	for _, option := range []string{"--with", "--without"} {
		for _, value := range []string{"x']\nconfig_opts['y'] = 'z", "%(touch " + canary + "-option)", "x y", "-x", ""} {
			a := s.try(s.alice, "build", "create", "--platform", "tiny", "--product", "demo", "--git", good, option, value)
			if a.code != 1 && a.code != 2 || strings.Contains(a.stderr, "internal error") {
				t.Errorf("%s %q: albs build create ended with %d: %s", option, value, a.code, a.stderr)
			}
		}
	}
	// apply applies a platform that is good but for what is changed.
	apply := func(change yes) answer {
		b := yes{"name": "refused", "dist": ".x", "releasever": "9", "arches": []string{"x86_64"}, "packages": []string{"bash"},
			"test_packages": []string{"bash"}, "rpmdb": yes{"path": "/usr/lib/sysimage/rpm", "backend": "sqlite"}, "repositories": []yes{{"id": "seed", "url": "file://" + s.seed}}}
		for k, v := range change {
			b[k] = v
		}
		return s.try(s.admin, "platform", "apply", s.file("refused.yaml", encode(t, b)))
	}
	for name, change := range map[string]yes{
		"command in a macro":   {"macros": map[string]string{"evil": "%(touch " + canary + "-macro)"}},
		"lua in a macro":       {"macros": map[string]string{"evil": "%{lua:os.execute('touch " + canary + "-lua')}"}},
		"macro of two lines":   {"macros": map[string]string{"evil": "a\n%other b"}},
		"option for a package": {"packages": []string{"--installroot=/"}},
		"python in a package":  {"packages": []string{"bash']\nconfig_opts['rpmbuild_networking'] = True"}},
		"newline in dist":      {"dist": ".x\nimport os"},
		"quote in a version":   {"releasever": "9'"},
		"quote in a name":      {"repositories": []yes{{"id": "seed'] = config_opts['x", "url": "file://" + s.seed}}},
		"path out of the root": {"rpmdb": yes{"path": "/../../etc", "backend": "sqlite"}},
		"file that isn't ours": {"repositories": []yes{{"id": "etc", "url": "file:///etc"}}},
	} {
		if a := apply(change); a.code != 1 || strings.Contains(a.stderr, "internal error") {
			t.Errorf("%s: albs platform apply ended with %d: %s", name, a.code, a.stderr)
		}
	}
	if a := apply(nil); a.code != 0 {
		t.Errorf("the platform is refused without a fault too: %s", a.stderr)
	}
	if got := ask[client.BuildPage](s, s.alice, "build", "list").Total; got != 0 {
		t.Errorf("requests that were refused left %d builds", got)
	}
}

// TestColumnsDontCount changes what the database says of statements while the
// ledger says otherwise: nothing is signed and nothing is released by it.
func TestColumnsDontCount(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	who := ordinary(t)
	up := func() { s.serve("albs", who, allRoles, nil) }
	// edited restarts everything with one statement about this build's package
	// changed, and the one that was changed before as it was. The ledger has all of them
	// before that: what isn't there yet would get there as it was changed.
	undo := func(context.Context, *db.DB) error { return nil }
	edited := func(predicate, column string, change func(string) string) {
		for pending := 1; pending > 0; {
			s.stop()
			s.edit("albs", who, func(ctx context.Context, d *db.DB) error {
				return d.GetContext(ctx, &pending, `SELECT count(*) FROM statement WHERE tx_id IS NULL`)
			})
			if pending > 0 {
				up() // a master that starts goes on with the ledger at once
			}
		}
		s.edit("albs", who, func(ctx context.Context, d *db.DB) error {
			if err := undo(ctx, d); err != nil || predicate == "" {
				return err
			}
			var was struct {
				ID    int64
				Value string
			}
			err := d.GetContext(ctx, &was, `SELECT id, CAST(`+column+` AS TEXT) AS value FROM statement WHERE predicate = $1 ORDER BY id LIMIT 1`, predicate)
			if err != nil {
				return err
			}
			set := func(ctx context.Context, d *db.DB, value string) error {
				_, err := d.ExecContext(ctx, `UPDATE statement SET `+column+` = $1 WHERE id = $2`, value, was.ID)
				return err
			}
			undo = func(ctx context.Context, d *db.DB) error { return set(ctx, d, was.Value) }
			return set(ctx, d, change(was.Value))
		})
		up()
	}
	restored := func() {
		edited("", "", nil)
		undo = func(context.Context, *db.DB) error { return nil }
	}
	const noticed = "the database was changed behind albs"
	flipped := func(v string) string {
		b := []byte(v)
		flip(b, strings.Index(v, `"payload":"`)+100)
		return string(b)
	}
	elsewhere := func(string) string { return "7" } // under that number the ledger has none

	up()
	s.people()
	s.tiny()
	s.product("tiny")
	s.key("ed25519")
	b := s.build("tiny", s.forge.spec(t, "columns", specOf("columns", "true")))
	s.built(b)

	for _, tc := range []struct {
		predicate, column string
		change            func(string) string
	}{{"build", "n", elsewhere}, {"build", "envelope", flipped}, {"source", "envelope", flipped}} {
		edited(tc.predicate, tc.column, tc.change)
		if a := s.try(s.alice, "sign", b, "--key", "demo", "--wait"); a.code != 1 || !strings.Contains(a.stderr, noticed) {
			t.Errorf("with %s of the %s statement changed albs sign ended with %d, want 1 and %q: %s%s", tc.column, tc.predicate, a.code, noticed, a.stdout, a.stderr)
		}
	}
	restored()
	s.signed(b)

	for _, tc := range []struct {
		predicate, column string
		change            func(string) string
	}{{"sign", "n", elsewhere}, {"sign", "envelope", flipped}, {"build", "envelope", flipped}} {
		edited(tc.predicate, tc.column, tc.change)
		if a := s.try(s.alice, "release", "plan", "--product", "demo", "--build", b); a.code != 1 || !strings.Contains(a.stderr, noticed) {
			t.Errorf("with %s of the %s statement changed albs release plan ended with %d, want 1 and %q: %s%s", tc.column, tc.predicate, a.code, noticed, a.stdout, a.stderr)
		}
	}
	restored()
	s.publish(b)
	s.check("albs", "albs")
}

// edit reads or changes the database of a master whose process has ended.
func (s *site) edit(master string, who identity, f func(ctx context.Context, d *db.DB) error) {
	s.t.Helper()
	c := s.database(master)
	d, err := db.Open(s.t.Context(), c)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := f(s.t.Context(), d); err != nil {
		s.t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		s.t.Fatal(err)
	}
	if c.File == "" {
		return
	}
	all, err := filepath.Glob(c.File + "*")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range all {
		who.own(s.t, f)
	}
}
