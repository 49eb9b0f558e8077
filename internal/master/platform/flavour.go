package platform

import (
	"context"
	"io"
	"maps"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/revision"
)

// FlavourSpec is a flavour as people write it, in YAML, which JSON is a part of: what
// some builds have beside their platform.
type FlavourSpec struct {
	// Name is how builds call the flavour, as "epel-9".
	Name string `yaml:"name" json:"name"`
	// Platforms are those that it goes with; none is any.
	Platforms []string `yaml:"platforms" json:"platforms,omitempty"`
	// Repositories are those that dnf has behind the platform's.
	Repositories []Repository `yaml:"repositories" json:"repositories,omitempty"`
	// Macros are set in place of the platform's of the same name.
	Macros map[string]string `yaml:"macros" json:"macros,omitempty"`
	// Packages are requirement strings that a buildroot has beside the platform's.
	Packages []string `yaml:"packages" json:"packages,omitempty"`
}

// Flavour is one revision of a flavour.
type Flavour struct {
	FlavourSpec
	revision.Stamp
}

type flavourRevisions = revision.Store[FlavourSpec, Flavour]

// Flavours keeps flavours. It may be used concurrently. Get, ByID, GetRevision, All
// and History are revision.Store's.
type Flavours struct {
	*flavourRevisions
	outside Outside
}

func newFlavours(d *db.DB, events revision.Events, outside Outside) *Flavours {
	return &Flavours{revision.New(d, events, revision.Flavour, func(s FlavourSpec, at revision.Stamp) Flavour { return Flavour{s, at} }), outside}
}

// Apply makes s the flavour of its name and returns its revision, which is durable. A
// spec equal to the present one changes nothing; builds keep the revision that they
// were made with. It is Forbidden to actors without platform.apply and Invalid if s has
// a fault or names a URL that the master's egress policy refuses; mirrors are not
// contacted.
func (f *Flavours) Apply(ctx context.Context, s FlavourSpec) (Flavour, error) {
	if err := auth.Can(ctx, auth.PlatformApply, auth.Object{}); err != nil {
		return Flavour{}, err
	}
	if err := s.check(); err != nil {
		return Flavour{}, err
	}
	for _, r := range s.Repositories {
		for _, a := range albs.BuildArches {
			if len(forArch([]Repository{r}, a)) == 0 {
				continue
			}
			if err := f.outside.CheckURL(repomdOf(r.at(a))); err != nil {
				return Flavour{}, albs.Errorf(albs.Invalid, "flavour %s: %w", s.Name, err)
			}
		}
	}
	return f.flavourRevisions.Apply(ctx, s.Name, s, nil, nil)
}

// ParseFlavour reads a flavour's YAML and checks all that needs no network. An unknown
// key is an Invalid error with its line.
func ParseFlavour(r io.Reader) (FlavourSpec, error) {
	var s FlavourSpec
	if err := Decode(r, &s); err != nil {
		return FlavourSpec{}, err
	}
	return s, s.check()
}

// maxPlatforms bounds the platforms that a flavour names.
const maxPlatforms = 64

// check returns an Invalid error that says what in s is wrong and what would be right.
func (s FlavourSpec) check() error {
	bad := func(format string, args ...any) error {
		return albs.Errorf(albs.Invalid, "flavour %.64q: "+format, append([]any{s.Name}, args...)...)
	}
	switch {
	case !nameForm.MatchString(s.Name):
		return albs.Errorf(albs.Invalid, "name %.80q: a flavour's name has 1 to 64 lower-case letters, digits, dots, hyphens and underscores, and begins with a letter or digit", s.Name)
	case len(s.Repositories)+len(s.Macros)+len(s.Packages) == 0:
		return bad("it changes nothing: it has no repositories, no macros and no packages")
	case len(s.Platforms) > maxPlatforms:
		return bad("more than %d platforms", maxPlatforms)
	case len(s.Repositories) > maxRepositories:
		return bad("more than %d repositories", maxRepositories)
	}
	for i, name := range s.Platforms {
		if !nameForm.MatchString(name) || slices.Contains(s.Platforms[:i], name) {
			return bad("platforms: %.80q is not the name of a platform or there twice", name)
		}
	}
	for i, r := range s.Repositories {
		if err := r.check(); err != nil {
			return bad("%w", err)
		}
		if r.Arch != "" && !slices.Contains(albs.BuildArches, r.Arch) {
			return bad("repository %s: arch %.20q is not one of %v", r.ID, r.Arch, albs.BuildArches)
		}
		for _, o := range s.Repositories[:i] {
			if o.ID == r.ID && (o.Arch == r.Arch || o.Arch == "" || r.Arch == "") {
				return bad("repository %s is there twice for one arch", r.ID)
			}
		}
	}
	if err := checkMacros(s.Macros, bad); err != nil {
		return err
	}
	if len(s.Packages) == 0 {
		return nil
	}
	return checkRequirements("packages", s.Packages, bad)
}

// fits returns an Invalid error unless the flavours go with the platform and with each
// other: what one says must not depend on the order in which they are named, and a
// repository's id stands for one place.
func (pl Platform) fits(with []Flavour) error {
	macros, ids := map[string]string{}, map[string]string{}
	for _, r := range pl.Repositories {
		ids[r.ID] = "platform " + pl.Name
	}
	for i, f := range with {
		if slices.ContainsFunc(with[:i], func(o Flavour) bool { return o.Name == f.Name }) {
			return albs.Errorf(albs.Invalid, "flavour %s is named twice", f.Name)
		}
		if len(f.Platforms) > 0 && !slices.Contains(f.Platforms, pl.Name) {
			return albs.Errorf(albs.Invalid, "flavour %s is for the platforms %v, not for %s", f.Name, f.Platforms, pl.Name)
		}
		for _, name := range slices.Sorted(maps.Keys(f.Macros)) {
			if o, ok := macros[name]; ok {
				return albs.Errorf(albs.Invalid, "the flavours %s and %s both set the macro %s: a build can have one of them", o, f.Name, name)
			}
			macros[name] = f.Name
		}
		for _, r := range f.Repositories {
			if o, ok := ids[r.ID]; ok && o != "flavour "+f.Name {
				return albs.Errorf(albs.Invalid, "%s and flavour %s both have a repository %s: give one another id", o, f.Name, r.ID)
			}
			ids[r.ID] = "flavour " + f.Name
		}
	}
	return nil
}
