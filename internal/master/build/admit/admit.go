// Package admit says whether what a node made may be taken for what its task was to
// make, by the headers alone: a task can't slip in a package that it wasn't asked for.
// It is pure.
package admit

import (
	"maps"

	"albs/internal/albs"
	"albs/internal/rpm"
)

// Proposed is one package as its header tells it, and its digest.
type Proposed struct {
	rpm.NEVRA
	SourceRPM string
	Digest    albs.Digest
}

// SRPM says whether an SRPM may be the source of an item: its header must
// call it a source package, and by the name that the imported spec file has; and
// held, the repository that it is for, must have no file of its name. spec is ""
// and held nil for an SRPM that was given and not made.
func SRPM(p Proposed, spec string, held map[string]albs.Digest) error {
	if p.Arch != string(albs.Src) {
		return albs.Errorf(albs.Invalid, "%s is not a source package (its arch is %s)", p.NEVRA, p.Arch)
	}
	if spec != "" && p.Name != spec {
		return albs.Errorf(albs.Invalid, "%s was made from %s.spec: the package must have the spec file's name", p.NEVRA, spec)
	}
	return checkNames([]Proposed{p}, held)
}

// Packages says whether RPMs may be the result of rebuilding the SRPM with
// file name srpm for arch: each header must name that SRPM as its source and be
// of that arch or noarch; and no two of them and of held, the packages of earlier
// tasks in the same repository by file name, may have one file name.
func Packages(ps []Proposed, srpm string, arch albs.Arch, held map[string]albs.Digest) error {
	if len(ps) == 0 {
		return albs.Errorf(albs.Invalid, "the build of %s left no package", srpm)
	}
	for _, p := range ps {
		if p.SourceRPM != srpm {
			return albs.Errorf(albs.Invalid, "%s says that it comes from %q, the task was to build %s", p.NEVRA, p.SourceRPM, srpm)
		}
		if p.Arch != string(arch) && p.Arch != string(albs.Noarch) {
			return albs.Errorf(albs.Invalid, "%s has arch %s, the task was to build for %s", p.NEVRA, p.Arch, arch)
		}
	}
	return checkNames(ps, held)
}

// checkNames refuses two packages of one file name, which has no epoch: a
// repository has one file of a name.
func checkNames(ps []Proposed, held map[string]albs.Digest) error {
	seen := maps.Collect(maps.All(held))
	for _, p := range ps {
		name := p.Filename()
		if d, ok := seen[name]; ok {
			return albs.Errorf(albs.Invalid, "%s is there twice, as %s and as %s: give one of them another release", name, d.Short(), p.Digest.Short())
		}
		seen[name] = p.Digest
	}
	return nil
}
