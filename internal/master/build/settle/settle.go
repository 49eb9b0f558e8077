// Package settle finds what follows from the end of an item's rebuild for one arch
// beside what it made itself: one copy of each noarch package for all arches, and
// multilib. docs/design/settling.md has the reasons.
//
// It changes nothing: its effects hold only if the item's other arches are, when they
// are applied, as they were told here, for which the caller answers. What it has to
// know of packages it asks for (Packages).
package settle

import (
	"context"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/build/repository"
	"albs/internal/master/platform"
	"albs/internal/rpm"
)

// File is a package that an attempt's rebuild put into the repository of its arch.
type File struct {
	Task    albs.TaskID
	Attempt int
	Arch    albs.Arch
	Name    string
	Digest  albs.Digest
}

// Made is what the rebuild of an item for an arch put into the repository.
type Made struct {
	Arch  albs.Arch
	Task  albs.TaskID
	Told  bool // it is settled: others know of the files
	Files []File
}

// End is the end of an item's rebuild for an arch, and what the others are by then.
type End struct {
	Build    albs.BuildID
	Platform platform.Platform
	Arches   []albs.Arch // for which the item is built, in their order
	Weak     []albs.Arch // those of them that aren't waited for

	Arch     albs.Arch
	Task     albs.TaskID
	Attempt  int
	Packages []artifact.Artifact // none if it failed or its arch is excluded
	Failed   bool

	Others  []Made // what other arches made, those that made something
	Settled bool   // all of the others that aren't weak have ended
}

// Effects are what an end brings about.
type Effects struct {
	Into    repository.Changes
	Replace []Replacement
	Add     []File // packages that an arch has from another
	Differ  []Difference
	Tell    []Made // those whose packages are now as they will stay
}

// Replacement is a file whose bytes others take the place of.
type Replacement struct {
	File
	By albs.Digest
}

// Packages tells of packages that the master holds, those of the end itself too, which
// may have no row yet.
type Packages interface {
	// Artifact returns the facts of a package.
	Artifact(ctx context.Context, d albs.Digest) (artifact.Artifact, error)
	// Header reads a package's header.
	Header(ctx context.Context, d albs.Digest) (*rpm.Package, error)
	// Held returns what the item's repository of an arch has, by file name.
	Held(ctx context.Context, arch albs.Arch) (map[string]albs.Digest, error)
}

// settling is the work on one end.
type settling struct {
	End
	Effects
	packages Packages
	lost     map[string]bool // files of this rebuild in whose place another arch's is
}

// Settle returns the effects of an end. It is Invalid if the result can't be taken for
// what other arches made: where the platform wants noarch packages to be equal and they
// aren't, or where a package would be in a repository twice.
//
// Packages of multilib come when both of their arches are made. Noarch packages are
// settled when all arches but the weak have ended: one that comes later, being weak or
// tried again, takes what was settled.
func Settle(ctx context.Context, e End, p Packages) (Effects, error) {
	s := settling{End: e, Effects: Effects{Into: repository.Changes{}}, packages: p, lost: map[string]bool{}}
	settled := e.Settled
	if e.Failed && e.Platform.NoarchEqual {
		settled = false // what differs would have to fail this one, which has failed
	}
	all := slices.Clone(e.Others)
	if len(e.Packages) > 0 {
		own := Made{Arch: e.Arch, Task: e.Task}
		for _, a := range e.Packages {
			own.Files = append(own.Files, File{Task: e.Task, Attempt: e.Attempt, Arch: e.Arch, Name: a.Name, Digest: a.Digest})
		}
		all = append(all, own)
	}
	if settled {
		winning(all, e.Arches, e.Weak)
		if err := s.shareNoarch(ctx, all); err != nil {
			return Effects{}, err
		}
	}
	if err := s.shareMultilib(ctx, all); err != nil {
		return Effects{}, err
	}
	for _, m := range all {
		if !m.Told && (settled || m.Task == e.Task && !m.noarch()) {
			s.Tell = append(s.Tell, m)
		}
	}
	for _, a := range e.Packages {
		if !s.lost[a.Name] {
			s.Into.Add(s.repository(e.Arch, a), a)
		}
	}
	if len(e.Packages) > 0 { // an arch with debug data alone has a repository too
		s.Into.Add(repository.Name(e.Build, e.Platform.Name, e.Arch))
	}
	return s.Effects, nil
}

// repository names the repository of an arch for a package.
func (s *settling) repository(arch albs.Arch, a artifact.Artifact) string {
	return repository.NameFor(s.Build, s.Platform.Name, arch, a.NEVRA)
}

// give puts a package that another arch made beside what m is. Two packages of one name
// in a repository are refused, as they are of one rebuild.
func (s *settling) give(ctx context.Context, m Made, a artifact.Artifact) error {
	held, err := s.packages.Held(ctx, m.Arch)
	if err != nil {
		return err
	}
	if d, ok := held[a.Name]; ok {
		return albs.Errorf(albs.Invalid, "%s is there twice for %s, as %s and as %s: give one of them another release", a.Name, m.Arch, d.Short(), a.Digest.Short())
	}
	s.Add = append(s.Add, File{Task: m.Task, Attempt: m.Files[0].Attempt, Arch: m.Arch, Name: a.Name, Digest: a.Digest})
	s.Into.Add(s.repository(m.Arch, a), a)
	return nil
}
