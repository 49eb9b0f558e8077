package e2etest

import (
	"crypto/rand"
	"fmt"
	random "math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/buildroot"
	"albs/internal/client"
	"albs/internal/sandbox/emulator"
)

// dispatching is how long a node may stand idle beside a task that it could do: its
// report is answered, its next claim is on its way, and other tests have the processor.
// A node that nobody woke would stand for half a minute, the wait of its claim.
const dispatching = 10 * time.Second

// farmPackage is one of a build whose packages need each other.
type farmPackage struct {
	name  string
	needs []string
}

// farmPackages makes up n packages of which each but the first needs one to three of those before it.
func farmPackages(r *random.Rand, n int) []farmPackage {
	numbers := r.Perm(n) // names say nothing of the order
	list := make([]farmPackage, n)
	for i := range list {
		list[i].name = fmt.Sprintf("farm%02d", numbers[i])
		for _, j := range r.Perm(i)[:min(i, 1+r.IntN(3))] {
			list[i].needs = append(list[i].needs, list[j].name)
		}
	}
	return list
}

// spec is p's: its build fails unless all that p needs is there as made for the same word,
// platform and arch. The packages are asked for by name, version, path and provided word.
func (p farmPackage) spec(word string) string {
	var requires string
	for i, n := range p.needs {
		requires += "BuildRequires: " + []string{n + "-devel", n + "-devel >= 1.0", "/usr/lib/" + n + "/value", "farm(" + n + ")"}[i%4] + "\n"
	}
	return fmt.Sprintf(`%%global debug_package %%{nil}
Name: %[1]s
Version: 1.0
Release: 1%%{?dist}
Summary: %[1]s
License: MIT
%[2]s
%%description
%[1]s
%%package devel
Summary: %[1]s for builds
Provides: farm(%[1]s)
%%description devel
%[1]s for builds
%%prep
%%setup -q -c -T
%%build
value="%[3]s%%{dist} $(uname -m)"
for needed in %[4]s; do grep -qxF "$value" /usr/lib/$needed/value; done
echo "$value" > value
%%install
install -D -m644 value %%{buildroot}/usr/lib/%[1]s/value
%%files devel
/usr/lib/%[1]s/value
`, p.name, requires, word, strings.Join(p.needs, " "))
}

// TestFarm: packages that need each other, submitted in no order for two platforms and two
// arches, one of them emulated, are built by two nodes in the order in which they need each
// other; the schedule shows no task before what it needs, and no node idle beside what it
// could do. With -short it is few packages for one arch.
func TestFarm(t *testing.T) {
	t.Parallel()
	count, arches := 12, []albs.Arch{albs.X8664}
	if testing.Short() {
		count = 4
		t.Log("aarch64 is left out: its root takes minutes, and this is -short")
	} else if _, err := emulator.Find(t.Context(), albs.AArch64); err != nil {
		t.Logf("aarch64 is left out: %v", err)
	} else {
		arches = append(arches, albs.AArch64)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("the farm's seed is %d", seed)
	r := random.New(random.NewPCG(seed, 1))

	s := newSite(t)
	allow, repositories := []string{"file://" + s.seed}, []yes{{"id": "seed", "arch": "x86_64", "url": "file://" + s.seed}}
	if len(arches) > 1 {
		foreign := foreignSeed(t, albs.AArch64)
		allow, repositories = append(allow, "file://"+foreign), append(repositories, yes{"id": "foreign", "arch": "aarch64", "url": "file://" + foreign})
	}
	who := ordinary(t)
	s.serve("master", who, []string{"master"}, yes{
		"master": yes{"egress": yes{"allow": append(slices.Clone(allow), s.forge.host), "ca_files": []string{s.forge.ca}}},
	})
	s.people()
	args := []string{"build", "create"}
	for _, platform := range []string{"el8", "el9"} {
		s.platform(platform, yes{"arches": arches, "dist": "." + platform, "repositories": repositories, "packages": tinyPackages})
		args = append(args, "--platform", platform)
	}
	nodes := map[string][]albs.Arch{"east": arches[:1], "west": arches}
	for name, can := range nodes {
		s.farmNode(name, who, can, allow)
	}

	packages, word := farmPackages(r, count), rand.Text()
	for _, i := range r.Perm(count) {
		args = append(args, "--git", s.forge.spec(t, packages[i].name, packages[i].spec(word)))
	}
	began := time.Now()
	b := ask[client.Build](s, s.alice, args...)
	id := b.ID.String()
	s.until(18*time.Minute, "the build has ended", func() bool {
		b, err := s.api.Build(t.Context(), s.number(id))
		return err == nil && b.Value.Final()
	})
	b = s.show(id)
	t.Logf("albs build schedule, %d packages in %v\n%s", count, time.Since(began).Round(time.Second), s.run(s.alice, "build", "schedule", id))
	if b.State != "succeeded" {
		t.Errorf("the build is %s: %s", b.State, b.Reason)
	}
	rebuilds := 0
	for _, task := range b.Tasks {
		if task.State != albs.TaskSucceeded || task.Attempts > 1 {
			t.Errorf("the %s of %s for %s %s is %s after %d attempts: %s", task.Kind, task.Package, task.Platform.Name, task.Arch, task.State, task.Attempts, task.Reason)
		}
		if task.Kind == albs.KindBuild {
			rebuilds++
		}
	}
	if want := count * 2 * len(arches); rebuilds != want {
		t.Errorf("there are %d rebuilds, want %d", rebuilds, want)
	}
	s.inOrder(id)
	s.oneSRPM(b)
	s.needsFirst(b, packages)
	s.noneIdle(b, began, nodes, arches[0])
	s.check("master", "nobody")
}

// farmNode enrolls and starts a node of the arches, all but the first emulated.
func (s *site) farmNode(name string, who identity, arches []albs.Arch, allow []string) {
	s.t.Helper()
	var flags []string
	for i, a := range arches {
		flags = append(flags, "--arch", string(a))
		if i > 0 {
			flags = append(flags, "--label", albs.EmulatedLabel(a))
		}
	}
	p := s.serve(name, who, []string{"node"}, yes{
		"connect": yes{"master": s.url, "token_file": s.hand(name, who, s.enroll(name, "node", flags...))},
		"node":    yes{"emulate": arches[1:], "egress": yes{"allow": allow}},
	})
	s.until(time.Minute, name+" is ready", func() bool { return strings.Contains(tail(p.log, 20), "node ready") })
}

// scheduled returns a build's schedule by task.
func (s *site) scheduled(b client.Build) map[albs.TaskID]client.Scheduled {
	s.t.Helper()
	out := make(map[albs.TaskID]client.Scheduled)
	for _, x := range ask[[]client.Scheduled](s, s.alice, "build", "schedule", b.ID.String()) {
		out[x.Task] = x
	}
	return out
}

// needsFirst wants that each rebuild was begun after those of what its package needs were
// done. What the master says that a task waited for isn't asked.
func (s *site) needsFirst(b client.Build, packages []farmPackage) {
	s.t.Helper()
	when := s.scheduled(b)
	at := make(map[string]client.Scheduled)
	place := func(name string, t client.Task) string { return name + " " + t.Platform.Name + " " + string(t.Arch) }
	for _, t := range b.Tasks {
		if t.Kind == albs.KindBuild {
			at[place(t.Package, t)] = when[t.ID]
		}
	}
	needs := make(map[string][]string)
	for _, p := range packages {
		needs[p.name] = p.needs
	}
	for _, t := range b.Tasks {
		if t.Kind != albs.KindBuild {
			continue
		}
		for _, n := range needs[t.Package] {
			if mine, needed := when[t.ID], at[place(n, t)]; needed.Finished.IsZero() || mine.Started.Before(needed.Finished) {
				s.t.Errorf("%s was begun at %v; %s, which it needs, was done at %v", place(t.Package, t), mine.Started, place(n, t), needed.Finished)
			}
		}
	}
}

// oneSRPM wants that one SRPM is made of each package for each platform, and that all arches
// are built from its very bytes, by the nodes' records.
func (s *site) oneSRPM(b client.Build) {
	s.t.Helper()
	made := make(map[string]albs.Digest)
	for _, t := range b.Tasks {
		for _, f := range t.Files {
			if of := t.Package + " for " + t.Platform.Name; f.Kind == "srpm" && made[of] != f.Digest {
				if made[of] != "" {
					s.t.Errorf("two SRPMs were made of %s", of)
				}
				made[of] = f.Digest
			}
		}
	}
	read := 0
	for _, t := range b.Tasks {
		for _, f := range t.Files {
			if t.Kind != albs.KindBuild || f.Name != "buildroot.json" {
				continue
			}
			var r buildroot.Record
			if !decode(string(s.bytesOf(f.Digest)), &r) || !r.Input.Digest.Valid() || r.Input.Digest != made[t.Package+" for "+t.Platform.Name] {
				s.t.Errorf("%s for %s %s was built from %s, which isn't the SRPM that was made", t.Package, t.Platform.Name, t.Arch, r.Input.Digest.Short())
			}
			if r.Network || slices.ContainsFunc(r.Commands, func(argv []string) bool { return slices.Contains(argv, "-bs") }) {
				s.t.Errorf("%s for %s %s was made with network %v by %q", t.Package, t.Platform.Name, t.Arch, r.Network, r.Commands)
			}
			read++
		}
	}
	if len(made) == 0 || read == 0 || read%len(made) != 0 {
		s.t.Errorf("%d records were read of the rebuilds of %d SRPMs", read, len(made))
	}
}

// span is a time from, to.
type span struct{ from, to time.Time }

// both is how long two spans have in common.
func (s span) both(o span) time.Duration {
	from, to := s.from, s.to
	if o.from.After(from) {
		from = o.from
	}
	if o.to.Before(to) {
		to = o.to
	}
	return max(to.Sub(from), 0)
}

// noneIdle wants that no node, each of which does one task at a time, stood idle for longer than
// dispatching while a task waited that it could do. SRPMs are made on sourceArch.
func (s *site) noneIdle(b client.Build, began time.Time, nodes map[string][]albs.Arch, sourceArch albs.Arch) {
	s.t.Helper()
	when := s.scheduled(b)
	var worst time.Duration
	for name, can := range nodes {
		idle := idleSpans(when, name, began)
		done := len(idle)
		for _, t := range b.Tasks {
			arch := t.Arch
			if t.Kind == albs.KindSource {
				arch = sourceArch
			}
			if t.Kind != albs.KindSource && t.Kind != albs.KindBuild || !slices.Contains(can, arch) {
				continue
			}
			waited := span{when[t.ID].Ready, when[t.ID].Started}
			if waited.from.IsZero() || waited.to.Before(waited.from) {
				s.t.Errorf("%s was ready at %v and begun at %v", when[t.ID].Label, waited.from, waited.to)
			}
			for _, gap := range idle {
				d := gap.both(waited)
				worst = max(worst, d)
				if d > dispatching {
					s.t.Errorf("%s was idle from %v to %v, and %s waited from %v to %v", name, gap.from, gap.to, when[t.ID].Label, waited.from, waited.to)
				}
			}
		}
		if done < 2 {
			s.t.Errorf("%s has done nothing", name)
		}
		s.t.Logf("%s did %d tasks", name, done-1)
	}
	s.t.Logf("no node was idle beside what it could do for longer than %v; %v are allowed", worst.Round(time.Millisecond), dispatching)
}

// idleSpans returns the times, from began on, in which a worker did nothing: one more than
// it did tasks.
func idleSpans(when map[albs.TaskID]client.Scheduled, worker string, began time.Time) []span {
	var busy []span
	for _, x := range when {
		if x.Worker == worker {
			busy = append(busy, span{x.Started, x.Finished})
		}
	}
	slices.SortFunc(busy, func(a, b span) int { return a.from.Compare(b.from) })
	var idle []span
	for _, x := range busy {
		idle = append(idle, span{began, x.from})
		began = x.to
	}
	return append(idle, span{began, time.Now()})
}
