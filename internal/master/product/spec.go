package product

import (
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/master/platform"
	"albs/internal/repodata"
)

// Spec is a product as people write it, in YAML, which JSON is a part of.
type Spec struct {
	// Name is the product's, as "almalinux".
	Name string `yaml:"name" json:"name"`
	// Title is the product's name for people; it may be empty.
	Title string `yaml:"title" json:"title,omitempty"`
	// Team is the team whose maintainers shape and release the product.
	Team string `yaml:"team" json:"team"`
	// Platforms are the names of the platforms that the product is released for.
	Platforms []string `yaml:"platforms" json:"platforms"`
	// Repositories are what the product's public tree consists of.
	Repositories []Repository `yaml:"repositories" json:"repositories"`
	// Key is the key that signs packages and metadata, by fingerprint or by the
	// name under which it was made; without one nothing can be released.
	Key string `yaml:"key" json:"key,omitempty"`
	// Keys are further ones: those that come after Key, or went before. They are published
	// beside it, and the first that may be used takes the place of a Key that may not,
	// since its time is over or it was revoked.
	Keys []string `yaml:"keys" json:"keys,omitempty"`
	// Metadata is how the metadata of all the product's repositories is compressed. Empty
	// leaves it to the platform of each.
	Metadata repodata.Compression `yaml:"metadata" json:"metadata,omitempty"`
	// Gate is what a package has to pass before it may be released.
	Gate Gate `yaml:"gate" json:"gate"`
	// Approvals say who has to agree to a release.
	Approvals Approvals `yaml:"approvals" json:"approvals"`
	// Closure is what it means that a release would leave requirements of packages without
	// a provider; empty stands for Advised.
	Closure Closure `yaml:"closure" json:"closure,omitempty"`
	// Sources say whether packages have to come from verified ones; empty stands for Any.
	Sources Sources `yaml:"sources" json:"sources,omitempty"`
	// Retention says how much of the product's past is kept.
	Retention Retention `yaml:"retention" json:"retention,omitzero"`
}

// Closure says what unresolved requirements mean for a release.
type Closure string

// The policies on unresolved requirements.
const (
	Closed    Closure = "required" // they bar it
	Advised   Closure = "advisory" // they are shown
	Unchecked Closure = "off"      // nobody looks for them
)

// Sources says where packages may come from.
type Sources string

// The policies on sources.
const (
	VerifiedSources Sources = "verified" // from commits that are notarized, by the ledger's proof
	AnySources      Sources = "any"
)

// SourcesPolicy returns the policy that holds.
func (s Spec) SourcesPolicy() Sources {
	if s.Sources == "" {
		return AnySources
	}
	return s.Sources
}

// ClosurePolicy returns the policy that holds.
func (s Spec) ClosurePolicy() Closure {
	if s.Closure == "" {
		return Advised
	}
	return s.Closure
}

// AllKeys returns the product's keys, by fingerprint or name, the one to use first.
func (s Spec) AllKeys() []string {
	if s.Key == "" {
		return nil
	}
	return append([]string{s.Key}, s.Keys...)
}

// Repository is one repository of a product.
type Repository struct {
	// Path is the folder below the product's public root, as "BaseOS/x86_64/os".
	Path     string    `yaml:"path" json:"path"`
	Platform string    `yaml:"platform" json:"platform"`
	Arch     albs.Arch `yaml:"arch" json:"arch"` // src for a source repository
	Kind     Kind      `yaml:"kind" json:"kind"`
	// Place is the part of the distribution that the repository is, as the platform's
	// references name it. It may be empty where the repository is the only one of its
	// platform, arch and kind.
	Place string `yaml:"place" json:"place,omitempty"`
}

// Kind says which packages a repository holds.
type Kind string

// The kinds of repository.
const (
	RPM    Kind = "rpm"    // binary packages
	Debug  Kind = "debug"  // debuginfo and debugsource packages
	Source Kind = "source" // SRPMs
)

var kinds = []Kind{RPM, Debug, Source}

// Gate is the policy on tests.
type Gate struct {
	// Tests is the policy on all stages that Stages doesn't name.
	Tests Tests `yaml:"tests" json:"tests"`
	// Stages are the policies on single stages of tests.
	Stages map[albs.TestStage]Tests `yaml:"stages" json:"stages,omitempty"`
	// Network lets the tests that packages' maintainers wrote use the network.
	Network bool `yaml:"network" json:"network,omitempty"`
}

// Tests says what failed or missing tests mean for a release.
type Tests string

// The policies on tests.
const (
	Required Tests = "required" // they bar it, unless waived
	Advisory Tests = "advisory" // they are shown
	Off      Tests = "off"      // they are not carried out
)

func (t Tests) known() bool { return t == Required || t == Advisory || t == Off }

// Of returns the policy on a stage.
func (g Gate) Of(s albs.TestStage) Tests {
	if t, ok := g.Stages[s]; ok {
		return t
	}
	return g.Tests
}

// Requires reports whether any stage has to be passed.
func (g Gate) Requires() bool {
	return slices.ContainsFunc(albs.TestStages, func(s albs.TestStage) bool { return !s.Setup() && g.Of(s) == Required })
}

// Unsigned returns the part of the policy that is about packages before they are signed.
func (g Gate) Unsigned() Gate {
	stages := maps.Clone(g.Stages)
	if stages == nil {
		stages = map[albs.TestStage]Tests{}
	}
	stages[albs.StageSigned] = Off
	return Gate{Tests: g.Tests, Stages: stages}
}

// Signed returns the part of the policy that is about signed copies: their stage alone.
func (g Gate) Signed() Gate {
	return Gate{Tests: Off, Stages: map[albs.TestStage]Tests{albs.StageSigned: g.Of(albs.StageSigned)}}
}

// check returns an Invalid error that says what in g is wrong.
func (g Gate) check(bad func(format string, args ...any) error) error {
	if !g.Tests.known() {
		return bad("gate.tests %.40q is neither %s nor %s nor %s", g.Tests, Required, Advisory, Off)
	}
	for _, s := range slices.Sorted(maps.Keys(g.Stages)) {
		t := g.Stages[s]
		if !s.Known() || s.Setup() {
			return bad("gate.stages names %.40q, which is no stage of tests that can fail", s)
		}
		if !t.known() {
			return bad("gate.stages.%s %.40q is neither %s nor %s nor %s", s, t, Required, Advisory, Off)
		}
	}
	return nil
}

// Approvals is the policy on a release's approval.
type Approvals struct {
	// Count is how many people have to approve a plan.
	Count int `yaml:"count" json:"count"`
	// Distinct keeps the person who made the plan from being counted.
	Distinct bool `yaml:"distinct" json:"distinct"`
	// Signed counts only approvals that people signed with keys of their own; one that a
	// session gave is no more than the master's word.
	Signed bool `yaml:"signed" json:"signed,omitempty"`
	// Requests has requests for signatures approved too, by the same rules: of a build's
	// packages before they are signed, and of other files.
	Requests bool `yaml:"requests" json:"requests,omitempty"`
}

// Counts reports whether an approval counts, by whether the person's own key signed it and
// whether that person had a hand in what is approved.
func (a Approvals) Counts(signed, own bool) bool {
	return (signed || !a.Signed) && !(own && a.Distinct)
}

// Words is what is asked for, in the plural.
func (a Approvals) Words() string {
	if a.Signed {
		return "approvals by people's own keys"
	}
	return "approvals"
}

// Bounds of a product.
const (
	maxPlatforms    = 32
	maxRepositories = 1024
	maxPath         = 200
	maxApprovals    = 16
	maxTitle        = 200
	maxKeys         = 16
)

// Parse reads a product's YAML and checks all that needs no database. What it
// leaves out is strict: tests are required, and one person approves who is not
// the planner. An unknown key is an Invalid error with its line.
func Parse(r io.Reader) (Spec, error) {
	s := Spec{Gate: Gate{Tests: Required}, Approvals: Approvals{Count: 1, Distinct: true}}
	if err := platform.Decode(r, &s); err != nil {
		return Spec{}, err
	}
	return s, s.check()
}

var (
	nameForm        = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)
	segmentForm     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$`)
	fingerprintForm = regexp.MustCompile(`^[0-9A-F]{40}$`)
	keyNameForm     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 ._+@<>()-]{0,199}$`)
)

// reserved names belong to a repository's own layout or to the public place.
var reserved = []string{"repodata", "Packages", "pool"}

// check returns an Invalid error that says what in s is wrong and what would be right.
func (s Spec) check() error {
	bad := func(format string, args ...any) error {
		return albs.Errorf(albs.Invalid, "product %.64q: "+format, append([]any{s.Name}, args...)...)
	}
	switch {
	case !nameForm.MatchString(s.Name):
		return albs.Errorf(albs.Invalid, "name %.80q: a product's name has 1 to 64 lower-case letters, digits, dots, hyphens and underscores, and begins with a letter or digit", s.Name)
	case len(s.Title) > maxTitle || strings.ContainsFunc(s.Title, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }):
		return bad("title is one line of at most %d bytes", maxTitle)
	case !nameForm.MatchString(s.Team):
		return bad("team %.80q is not a team's name", s.Team)
	case len(s.Keys) > maxKeys:
		return bad("keys has at most %d entries", maxKeys)
	case s.Key == "" && len(s.Keys) > 0:
		return bad("keys come beside key, which is not set")
	case !slices.Contains([]Closure{"", Closed, Advised, Unchecked}, s.Closure):
		return bad("closure %.40q is neither %s nor %s nor %s", s.Closure, Closed, Advised, Unchecked)
	case !slices.Contains([]Sources{"", VerifiedSources, AnySources}, s.Sources):
		return bad("sources %.40q is neither %s nor %s", s.Sources, VerifiedSources, AnySources)
	case s.Approvals.Count < 1 || s.Approvals.Count > maxApprovals:
		return bad("approvals.count %d is not between 1 and %d", s.Approvals.Count, maxApprovals)
	case len(s.Platforms) == 0 || len(s.Platforms) > maxPlatforms:
		return bad("platforms has between 1 and %d entries", maxPlatforms)
	case len(s.Repositories) == 0 || len(s.Repositories) > maxRepositories:
		return bad("repositories has between 1 and %d entries", maxRepositories)
	}
	if err := s.Gate.check(bad); err != nil {
		return err
	}
	if err := s.Metadata.Check(); err != nil {
		return bad("metadata: %w", err)
	}
	for i, k := range s.AllKeys() {
		if !fingerprintForm.MatchString(k) && !keyNameForm.MatchString(k) {
			return bad("key %.80q is neither a fingerprint of 40 upper-case hex digits nor a key's name", k)
		}
		if slices.Contains(s.AllKeys()[:i], k) {
			return bad("key %.80q is named twice", k)
		}
	}
	for i, p := range s.Platforms {
		if !nameForm.MatchString(p) {
			return bad("platform %.80q is not a platform's name", p)
		}
		if slices.Contains(s.Platforms[:i], p) {
			return bad("platforms names %s twice", p)
		}
		if !slices.ContainsFunc(s.Repositories, func(r Repository) bool { return r.Platform == p && r.Kind == RPM }) {
			return bad("there is no repository of kind %s for platform %s", RPM, p)
		}
	}
	if err := s.Retention.check(); err != nil {
		return bad("%w", err)
	}
	return s.checkRepositories(bad)
}

func (s Spec) checkRepositories(bad func(string, ...any) error) error {
	type target struct {
		platform string
		arch     albs.Arch
		kind     Kind
	}
	byTarget := make(map[target][]Repository)
	for i, r := range s.Repositories {
		if err := checkPath(r.Path); err != nil {
			return bad("repository %.200q: %w", r.Path, err)
		}
		switch {
		case !slices.Contains(kinds, r.Kind):
			return bad("repository %s: kind %.40q is not one of %v", r.Path, r.Kind, kinds)
		case !slices.Contains(s.Platforms, r.Platform):
			return bad("repository %s: platform %.80q is not among platforms", r.Path, r.Platform)
		case (r.Kind == Source) != (r.Arch == albs.Src):
			return bad("repository %s: arch %s and kind %s go together", r.Path, albs.Src, Source)
		}
		if r.Kind != Source {
			if _, err := albs.ParseArch(string(r.Arch)); err != nil {
				return bad("repository %s: %w", r.Path, err)
			}
		}
		if r.Place != "" {
			if err := platform.CheckPlace(r.Place); err != nil {
				return bad("repository %s: %w", r.Path, err)
			}
		}
		t := target{r.Platform, r.Arch, r.Kind}
		for _, o := range byTarget[t] {
			if o.Place == "" || r.Place == "" || o.Place == r.Place {
				return bad("%s and %s are both the %s repository of %s for %s; a package must know where it goes, so give each a place of its own",
					o.Path, r.Path, r.Kind, r.Platform, r.Arch)
			}
		}
		byTarget[t] = append(byTarget[t], r)
		for _, o := range s.Repositories[:i] {
			if strings.HasPrefix(r.Path+"/", o.Path+"/") || strings.HasPrefix(o.Path+"/", r.Path+"/") {
				return bad("repositories %s and %s lie within each other", o.Path, r.Path)
			}
		}
	}
	return nil
}

func checkPath(p string) error {
	if len(p) > maxPath {
		return albs.Errorf(albs.Invalid, "the path has more than %d bytes", maxPath)
	}
	for part := range strings.SplitSeq(p, "/") {
		if !segmentForm.MatchString(part) {
			return albs.Errorf(albs.Invalid, "%.80q is not a part of a path: letters, digits, dots, underscores, plus and hyphens, beginning with a letter or digit", part)
		}
		if slices.Contains(reserved, part) {
			return albs.Errorf(albs.Invalid, "%s belongs to the layout of a repository and can't be a part of its path", part)
		}
	}
	return nil
}

// Targets returns the repositories into which packages of a kind, built on a platform
// for arch, may be released, of which a package's place picks if they are several; arch
// is ignored for Source. It is NotFound, with a sentence for the plan, if the product
// has none.
func (s Spec) Targets(platform string, arch albs.Arch, kind Kind) ([]Repository, error) {
	if kind == Source {
		arch = albs.Src
	}
	var out []Repository
	for _, r := range s.Repositories {
		if r.Platform == platform && r.Arch == arch && r.Kind == kind {
			out = append(out, r)
		}
	}
	if len(out) == 0 {
		return nil, albs.Errorf(albs.NotFound, "product %s has no %s repository of platform %s for %s", s.Name, kind, platform, arch)
	}
	return out, nil
}
