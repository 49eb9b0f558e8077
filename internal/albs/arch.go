package albs

import "slices"

// Arch is an RPM architecture as rpm spells it.
type Arch string

// Arches that packages are built for; Noarch and Src are arches of packages only.
const (
	X8664   Arch = "x86_64"
	X8664v2 Arch = "x86_64_v2"
	I686    Arch = "i686"
	AArch64 Arch = "aarch64"
	PPC64LE Arch = "ppc64le"
	S390X   Arch = "s390x"
	RISCV64 Arch = "riscv64"
	Noarch  Arch = "noarch"
	Src     Arch = "src"
)

// BuildArches are the arches that a platform may list.
var BuildArches = []Arch{X8664, X8664v2, I686, AArch64, PPC64LE, S390X, RISCV64}

// ParseArch returns s as an arch that can be built for, or an Invalid error
// that lists the choices.
func ParseArch(s string) (Arch, error) {
	if a := Arch(s); slices.Contains(BuildArches, a) {
		return a, nil
	}
	return "", Errorf(Invalid, "arch %.40q is not one of %v", s, BuildArches)
}

// EmulatedLabel returns the label of a worker that runs the programs of a by an
// emulator. Its identity must have it too, and what it builds is stated as emulated.
func EmulatedLabel(a Arch) string { return "emulated:" + string(a) }

// HostArch returns the arch that goarch (a GOARCH value) builds natively, or ""
// where none does.
func HostArch(goarch string) Arch {
	return map[string]Arch{
		"amd64": X8664, "arm64": AArch64, "ppc64le": PPC64LE, "s390x": S390X, "riscv64": RISCV64,
	}[goarch]
}

// Host returns the arch of the hosts whose kernel and processor run programs of a.
func (a Arch) Host() Arch {
	if a == I686 || a == X8664v2 {
		return X8664
	}
	return a
}

// Within reports whether packages of a can be built in a root of arch root: in one of
// their own arch, or in one whose compiler makes them when rpmbuild is told its target.
func (a Arch) Within(root Arch) bool { return a == root || a != Noarch && a.Host() == root }
