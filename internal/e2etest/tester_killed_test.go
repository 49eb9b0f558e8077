package e2etest

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/client"
)

// twinSpec is a package in two parts, one of which has scriptlets.
func twinSpec(version int) string {
	return fmt.Sprintf(`Name: twin
Version: %d
Release: 1%%{?dist}
Summary: Two small packages
License: MIT
BuildArch: noarch

%%description
Small.

%%package scripted
Summary: One with scriptlets
%%description scripted
Small.

%%install
mkdir -p %%{buildroot}%%{_datadir}/twin %%{buildroot}%%{_datadir}/twin-scripted
echo %[1]d > %%{buildroot}%%{_datadir}/twin/file
echo %[1]d > %%{buildroot}%%{_datadir}/twin-scripted/file

%%post scripted
touch %%{_datadir}/twin-scripted/state

%%postun scripted
[ $1 -gt 0 ] || rm -f %%{_datadir}/twin-scripted/state

%%files
%%{_datadir}/twin

%%files scripted
%%{_datadir}/twin-scripted
%%ghost %%{_datadir}/twin-scripted/state
`, version)
}

// moment is one at which the tester is killed: so long after it has begun a stage of one
// of the packages, or the base if it names none.
type moment struct {
	pkg   string
	stage albs.TestStage
	after time.Duration
}

func (m moment) String() string {
	if m.stage == "" {
		return fmt.Sprintf("%v after the base", m.after)
	}
	return fmt.Sprintf("%v after %s of %s", m.after, m.stage, m.pkg)
}

// moments returns twenty: one for each stage of each package in random order, and two while
// the base is made, each where a tester has none yet.
func moments(random *rand.Rand) []moment {
	within := func(ms int) time.Duration { return time.Duration(random.IntN(ms)) * time.Millisecond }
	var all []moment
	for _, pkg := range []string{"twin", "twin-scripted"} {
		for _, stage := range albs.TestStages {
			if stage != albs.StageSigned { // which has tasks of its own
				all = append(all, moment{pkg, stage, within(1000)})
			}
		}
	}
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	all = slices.Insert(all, 1, moment{after: within(3000)}) // the first of a second tester
	return slices.Insert(all, 0, moment{after: within(3000)})
}

// TestTesterKilled: a tester is killed at random moments of all stages, twice in each run.
// What it ran dies with it; the run is queued again when its lease has run out; the next
// start clears what lies about; and in the end there is one result of each package, and
// one statement.
func TestTesterKilled(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("twenty runs that are cut off and done again take minutes: not in -short")
	}
	s := apart(t, shortLease)
	who := ordinary(t)
	for _, r := range []string{"node", "tester", "signer", "releaser"} {
		s.worker(r, who, r)
	}
	s.key("ed25519")
	first := s.build("tiny", s.forge.repository(t, "twin-1", map[string]string{"twin.spec": twinSpec(1)}))
	s.built(first)
	s.release(first) // what is tested is upgraded from it
	s.proc("tester").stop()

	all := moments(seeded(t))
	t.Logf("%d moments", len(all))
	version := 1
	for at := range slices.Chunk(all, 2) { // a task that is lost three times ends
		version++
		name := "tester-" + strconv.Itoa(version) // who loses several tasks is quarantined
		k := &killed{site: s, name: name, roots: folder(t, who, t.Name(), name+"-roots"), tmp: folder(t, who, t.Name(), name+"-tmp")}
		s.hand(name, who, s.enroll(name, "tester"))
		b := s.build("tiny", s.forge.repository(t, "twin-"+strconv.Itoa(version), map[string]string{"twin.spec": twinSpec(version)}))
		for _, m := range at {
			k.dies(b, m)
		}
		k.start()
		s.built(b)
		k.ended(b, fmt.Sprintf("%d-1.seed9.noarch", version))
		if t.Failed() {
			t.Fatalf("the tester was killed at %v", at)
		}
	}
	s.check("master", "releaser")
}

// killed is a tester that is killed again and again. Its roots and temporary files are in
// folders that nobody else uses.
type killed struct {
	*site
	name, roots, tmp string
	pid              int // of the one killed last
}

// start starts the tester and waits until it is ready, which it is when all has been
// cleared that an earlier one has left.
func (k *killed) start() *process {
	k.t.Helper()
	rest := k.overlays()
	k.env = []string{"TMPDIR=" + k.tmp}
	p := k.serve(k.name, ordinary(k.t), []string{"tester"}, yes{
		"connect": yes{"master": k.url, "token_file": filepath.Join(k.dir, k.name, "token")},
		"tester":  yes{"sandbox": yes{"dir": k.roots}},
	})
	k.env = nil
	k.until(2*time.Minute, "the tester is ready", func() bool { return strings.Contains(p.words(), "tester ready") })
	for _, now := range k.overlays() {
		if slices.Contains(rest, now) {
			k.t.Errorf("the overlay %s of a killed tester is there after the next start", now)
		}
	}
	if left := groups(k.t, k.pid); k.pid != 0 && len(left) > 0 {
		k.t.Errorf("control groups of a killed tester are there after the next start: %q", left)
	}
	return p
}

// overlays lists the roots, and the bases that are being made.
func (k *killed) overlays() []string {
	k.t.Helper()
	roots, err1 := filepath.Glob(filepath.Join(k.roots, "root", "*"))
	bases, err2 := filepath.Glob(filepath.Join(k.roots, "base", "new-*"))
	if err1 != nil || err2 != nil {
		k.t.Fatal(err1, err2)
	}
	return append(roots, bases...)
}

// dies starts the tester, kills it at that moment of its run for the build, and waits until
// the run is queued again; if it was done at that moment there is nothing to wait for.
func (k *killed) dies(build string, m moment) {
	t := k.t
	t.Helper()
	old := k.attempts()
	p := k.start()
	header, began := "\n== "+m.pkg+"-"+k.version()+"-", fmt.Sprintf("-- %s\n", m.stage)
	if m.stage == "" {
		header, began = "making the base of ", "\n"
	}
	log := func() string {
		var text string
		for _, f := range k.attempts() {
			if !slices.Contains(old, f) {
				b, _ := os.ReadFile(f) // one that has gone was reported
				text += string(b)
			}
		}
		return text
	}
	k.until(5*time.Minute, fmt.Sprintf("it has begun: %v", m), func() bool {
		_, of, ok := strings.Cut(log(), header)
		return ok && strings.Contains(of, began) || k.run(build).State == albs.TaskSucceeded
	})
	time.Sleep(m.after) // no condition: any moment will do
	at := log()
	p.kill()
	k.pid = p.cmd.Process.Pid
	lines := strings.Split(strings.TrimSpace(at), "\n")
	t.Logf("killed %v had begun, when it last said %q", m, lines[len(lines)-1])
	k.until(30*time.Second, "all that the tester ran is dead", func() bool { return len(k.inside()) == 0 })
	k.until(time.Minute, "the run is queued again", func() bool {
		state := k.run(build).State
		return state == albs.TaskQueued || state == albs.TaskSucceeded
	})
	if run := k.run(build); run.State == albs.TaskQueued {
		for _, p := range run.Packages {
			if p.State != "pending" {
				t.Errorf("of a run that was cut off %s is %s", p.NEVRA, p.State)
			}
		}
	}
}

// attempts lists the logs of the attempts in the tester's spool.
func (k *killed) attempts() []string {
	k.t.Helper()
	found, err := filepath.Glob(filepath.Join(k.dir, k.name, "tester/spool/*/logs/test"))
	if err != nil {
		k.t.Fatal(err)
	}
	return found
}

// version is that of the packages under test.
func (k *killed) version() string { return strings.TrimPrefix(k.name, "tester-") }

// run returns the only run of the tests of a build; the zero run before there is one.
func (k *killed) run(build string) client.TestRun {
	k.t.Helper()
	runs, err := k.api.Tests(k.t.Context(), k.number(build))
	if err != nil {
		k.t.Fatal(err)
	}
	if len(runs.Value) > 1 {
		k.t.Fatalf("build %s has %d runs of its tests", build, len(runs.Value))
	}
	if len(runs.Value) == 0 {
		return client.TestRun{}
	}
	return runs.Value[0]
}

// inside lists the processes in whose mount namespace something of the tester's roots is
// mounted: where there is none, no namespace with such a mount is alive.
func (k *killed) inside() []string {
	k.t.Helper()
	tables, err := filepath.Glob("/proc/[0-9]*/mountinfo")
	if err != nil {
		k.t.Fatal(err)
	}
	var found []string
	for _, f := range tables {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), k.roots) {
			found = append(found, filepath.Base(filepath.Dir(f)))
		}
	}
	return found
}

// groups lists the control groups that the process with that id has made.
func groups(t *testing.T, pid int) []string {
	t.Helper()
	var found []string
	prefix := fmt.Sprintf("albs-%d-", pid)
	err := filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), prefix) {
			found = append(found, path)
		}
		return nil // others make and remove theirs
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// ended wants one result of each package, one statement, and nothing left of the tester
// but its base when it has stopped.
func (k *killed) ended(build, evra string) {
	t := k.t
	t.Helper()
	run := k.run(build)
	var names []string
	for _, p := range run.Packages {
		names = append(names, p.NEVRA+" "+p.State)
		facts, err := k.api.History(t.Context(), p.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, f := range facts.Value {
			if f.Predicate == "test" {
				n++
			}
		}
		if n != 1 {
			t.Errorf("of %s %d test results are stated, want 1", p.NEVRA, n)
		}
	}
	slices.Sort(names)
	if want := []string{"twin-" + evra + " passed", "twin-scripted-" + evra + " passed"}; run.State != albs.TaskSucceeded || !slices.Equal(names, want) {
		t.Errorf("the run is %s with %q, want success with %q; %s", run.State, names, want, run.Reason)
	}
	k.proc(k.name).stop()
	if in := k.inside(); len(in) > 0 {
		t.Errorf("processes are in roots of a tester that has stopped: %q", in)
	}
	left := k.overlays()
	for _, dir := range []string{k.tmp, filepath.Join(k.dir, k.name, "tester/spool")} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Name() != "lock" {
				left = append(left, filepath.Join(dir, e.Name()))
			}
		}
	}
	left = append(left, lentFiles(t, filepath.Join(k.dir, k.name))...)
	if len(left) > 0 {
		t.Errorf("of the tester is left: %q", left)
	}
	own, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(own), k.roots) {
		t.Errorf("something of %s is mounted on the host", k.roots)
	}
}

// lentFiles lists what in a folder of an ordinary user's belongs to somebody else.
func lentFiles(t *testing.T, dir string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && int(info.Sys().(*syscall.Stat_t).Uid) != ordinary(t).uid {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
