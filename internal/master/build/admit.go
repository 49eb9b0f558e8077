package build

import (
	"albs/internal/albs"
	"albs/internal/rpm"
)

// Proposed is one package as its header tells it, and its digest.
type Proposed struct {
	rpm.NEVRA
	SourceRPM string
	Digest    albs.Digest
}

// CheckSRPM says whether an SRPM may be the source of an item: its header must
// call it a source package, and by the name that the imported spec file has.
// spec is "" for an SRPM that was given and not made.
func CheckSRPM(p Proposed, spec string) error {
	if p.Arch != string(albs.Src) {
		return albs.Errorf(albs.Invalid, "%s is not a source package (its arch is %s)", p.NEVRA, p.Arch)
	}
	if spec != "" && p.Name != spec {
		return albs.Errorf(albs.Invalid, "%s was made from %s.spec: the package must have the spec file's name", p.NEVRA, spec)
	}
	return nil
}

// CheckPackages says whether RPMs may be the result of rebuilding the SRPM with
// file name srpm for arch: each header must name that SRPM as its source and be
// of that arch or noarch; no two may share a NEVRA; and none may have the NEVRA
// of an earlier package of the same repository (held) with other content. A task
// can thus not slip in a package that it wasn't asked for.
func CheckPackages(ps []Proposed, srpm string, arch albs.Arch, held []Proposed) error {
	if len(ps) == 0 {
		return albs.Errorf(albs.Invalid, "the build of %s left no package", srpm)
	}
	seen := make(map[rpm.NEVRA]albs.Digest, len(ps)+len(held))
	for _, p := range held {
		seen[p.NEVRA] = p.Digest
	}
	for _, p := range ps {
		if p.SourceRPM != srpm {
			return albs.Errorf(albs.Invalid, "%s says that it comes from %q, the task was to build %s", p.NEVRA, p.SourceRPM, srpm)
		}
		if p.Arch != string(arch) && p.Arch != string(albs.Noarch) {
			return albs.Errorf(albs.Invalid, "%s has arch %s, the task was to build for %s", p.NEVRA, p.Arch, arch)
		}
		if d, ok := seen[p.NEVRA]; ok {
			return albs.Errorf(albs.Invalid, "%s is there twice, as %s and as %s", p.NEVRA, d.Short(), p.Digest.Short())
		}
		seen[p.NEVRA] = p.Digest
	}
	return nil
}
