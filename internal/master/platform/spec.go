package platform

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"albs/internal/albs"
	"albs/internal/repodata"
)

// Spec is a platform as people write it, in YAML, which JSON is a part of.
type Spec struct {
	// Name is how builds and products call the platform, as "almalinux-9".
	Name string `yaml:"name" json:"name"`
	// Dist is the dist tag with its dot, the macro %dist of every build.
	Dist string `yaml:"dist" json:"dist"`
	// Releasever is dnf's release version.
	Releasever string `yaml:"releasever" json:"releasever"`
	// OS is the distribution that packages are of, as bills of materials name it.
	OS OS `yaml:"os" json:"os,omitzero"`
	// Arches are what the platform is built for, in the order in which lists show them.
	Arches []albs.Arch `yaml:"arches" json:"arches"`
	// WeakArches are those of Arches that follow another one.
	WeakArches []WeakArch `yaml:"weak_arches" json:"weak_arches,omitempty"`
	// RootArches says of which arch the root of one of Arches is, where it isn't its
	// own: i686 and x86_64_v2 can be built in roots of x86_64.
	RootArches map[albs.Arch]albs.Arch `yaml:"root_arches" json:"root_arches,omitempty"`
	// Multilib says which packages of one arch another one's repository has too.
	Multilib []Multilib `yaml:"multilib" json:"multilib,omitempty"`
	// NoarchEqual fails a rebuild whose noarch packages differ from those that another
	// arch made of the same source; else a difference is only told.
	NoarchEqual bool `yaml:"noarch_equal" json:"noarch_equal,omitempty"`
	// Repositories are what dnf fills roots from.
	Repositories []Repository `yaml:"repositories" json:"repositories"`
	// References say which place packages have in the distribution, for releases.
	References []Reference `yaml:"references" json:"references,omitempty"`
	// Errata is what the platform's advisories are like; without it there are none.
	Errata Errata `yaml:"errata" json:"errata,omitzero"`
	// Compatible are other platforms whose builds may be released into repositories of
	// this one too, as those of the stream that becomes this one.
	Compatible []string `yaml:"compatible" json:"compatible,omitempty"`
	// Macros are rpm macros of every build, name without % → body.
	Macros map[string]string `yaml:"macros" json:"macros,omitempty"`
	// Reproducible asks for builds that come out the same when they are done again.
	Reproducible Reproducible `yaml:"reproducible" json:"reproducible,omitzero"`
	// SecureBootMacros are those of builds for secure boot, beside the others and in
	// place of those of their names.
	SecureBootMacros map[string]string `yaml:"secure_boot_macros" json:"secure_boot_macros,omitempty"`
	// SecureBootPackages are names, or patterns of names, of what ought to be built for
	// secure boot: a build of them that isn't is warned of.
	SecureBootPackages []string `yaml:"secure_boot_packages" json:"secure_boot_packages,omitempty"`
	// Packages are the requirement strings that a buildroot begins with.
	Packages []string `yaml:"packages" json:"packages"`
	// TestPackages are the same for the roots in which packages are tested.
	TestPackages []string `yaml:"test_packages" json:"test_packages"`
	// TestEngine is what makes those roots; empty is albs.EngineNative.
	TestEngine string `yaml:"test_engine" json:"test_engine,omitempty"`
	// RPMDB says where the roots' rpm keeps its database, and in which form.
	RPMDB RPMDB `yaml:"rpmdb" json:"rpmdb"`
	// Metadata is how the metadata of repositories for the platform is compressed, unless
	// their product has it otherwise: by what the oldest dnf about can read. Empty is gzip.
	Metadata repodata.Compression `yaml:"metadata" json:"metadata,omitempty"`
	// ModuleID is dnf's module_platform_id; empty where there are no modules.
	ModuleID string `yaml:"module_id" json:"module_id,omitempty"`
	// Network lets builds reach the network; their provenance says so.
	Network bool `yaml:"network" json:"network,omitempty"`
	// CCache lets builds use a compiler cache of their owner's; their provenance says so.
	// The platform's repositories need the package ccache.
	CCache bool `yaml:"ccache" json:"ccache,omitempty"`
	// SingleUID says that every file of the packages in a root belongs to root.
	SingleUID bool `yaml:"single_uid" json:"single_uid,omitempty"`
	// Lookaside are the patterns of URLs from which sources that are not in git
	// come; {name}, {file}, {hashtype} and {hash} are filled in.
	Lookaside []string `yaml:"lookaside" json:"lookaside,omitempty"`
	// Autospec has release and changelog of specs that ask for it filled in by
	// rpmautospec, which the repositories must have.
	Autospec bool `yaml:"rpmautospec" json:"rpmautospec,omitempty"`
	// Timeout and MaxSilence limit a build; zero leaves it to the worker.
	Timeout    Duration `yaml:"timeout" json:"timeout,omitzero"`
	MaxSilence Duration `yaml:"max_silence" json:"max_silence,omitzero"`
	// Room is what tasks need of their workers' machines.
	Room Rooms `yaml:"room" json:"room,omitzero"`
}

// OS is a distribution in the words of its os-release(5), which scanners compare.
type OS struct {
	ID      string `yaml:"id" json:"id"`                     // "almalinux"
	Name    string `yaml:"name" json:"name,omitempty"`       // "AlmaLinux"; the id if it is empty
	Version string `yaml:"version" json:"version,omitempty"` // "9"; empty where there is none, as in a rolling one
}

// WeakArch is an arch whose failures don't hold up the one that it depends on.
type WeakArch struct {
	Name      albs.Arch `yaml:"name" json:"name"`
	DependsOn albs.Arch `yaml:"depends_on" json:"depends_on"`
}

// Multilib puts packages of an arch into the build repository of another.
type Multilib struct {
	From albs.Arch `yaml:"from" json:"from"`
	Into albs.Arch `yaml:"into" json:"into"`
	// Packages are names, or patterns of names with *.
	Packages []string `yaml:"packages" json:"packages"`
}

// Takes reports whether m is about a package of that name.
func (m Multilib) Takes(name string) bool {
	return matches(m.Packages, name)
}

func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, err := path.Match(pattern, name)
		return ok && err == nil
	})
}

// WantsSecureBoot reports whether a package of that name ought to be built for secure
// boot.
func (s Spec) WantsSecureBoot(name string) bool { return matches(s.SecureBootPackages, name) }

// Root returns the arch of the root in which packages of arch are built and tested.
func (s Spec) Root(arch albs.Arch) albs.Arch {
	if root, ok := s.RootArches[arch]; ok {
		return root
	}
	return arch
}

// Weak reports whether a failure for arch holds up nothing.
func (s Spec) Weak(arch albs.Arch) bool {
	return slices.ContainsFunc(s.WeakArches, func(w WeakArch) bool { return w.Name == arch })
}

// Repository is one outside repository.
type Repository struct {
	// ID is dnf's repository id.
	ID string `yaml:"id" json:"id"`
	// Arch is the one arch that has the repository; empty stands for all.
	Arch albs.Arch `yaml:"arch" json:"arch,omitempty"`
	// URL is the folder that holds repodata/; $arch in it stands for the arch.
	URL string `yaml:"url" json:"url"`
	// Priority is dnf's: lower wins; 0 is dnf's default of 99.
	Priority int `yaml:"priority" json:"priority,omitempty"`
}

// RPMDB is a root's package database.
type RPMDB struct {
	Path    string `yaml:"path" json:"path"`
	Backend string `yaml:"backend" json:"backend"` // sqlite, ndb or bdb
}

// Duration is a time.Duration that YAML and JSON spell as "12h" or "30m".
type Duration time.Duration

// MarshalText spells d as time.Duration does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration does.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return albs.Errorf(albs.Invalid, "%.40q is not a duration such as 12h or 30m", b)
	}
	*d = Duration(v)
	return nil
}

const maxSpec = 256 << 10 // bytes of YAML

// Parse reads a platform's YAML and checks all that needs no network. An unknown
// key is an Invalid error with its line.
func Parse(r io.Reader) (Spec, error) {
	var s Spec
	if err := Decode(r, &s); err != nil {
		return Spec{}, err
	}
	return s, s.check()
}

// Decode reads the one YAML document that r holds, of at most 256 KiB, into a
// struct, as platforms and products are read: an unknown key, a key said twice and
// a second document are Invalid errors with their line.
func Decode(r io.Reader, into any) error {
	b, err := io.ReadAll(io.LimitReader(r, maxSpec+1))
	if err != nil {
		return fmt.Errorf("read YAML: %w", err)
	}
	if len(b) > maxSpec {
		return albs.Errorf(albs.TooLarge, "the YAML has more than %d bytes", maxSpec)
	}
	dec := yaml.NewDecoder(strings.NewReader(string(b)))
	dec.KnownFields(true)
	err = dec.Decode(into)
	if errors.Is(err, io.EOF) {
		return albs.Errorf(albs.Invalid, "the YAML is empty")
	}
	if wrong, ok := errors.AsType[*yaml.TypeError](err); ok {
		words := strings.Join(wrong.Errors, "; ")
		for _, w := range typeErrors {
			words = w.is.ReplaceAllString(words, w.say)
		}
		return albs.Errorf(albs.Invalid, "%s", words)
	}
	if err != nil {
		return albs.Errorf(albs.Invalid, "%w", err)
	}
	var more yaml.Node
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return albs.Errorf(albs.Invalid, "line %d: a second document begins here; give one at a time", more.Line)
	}
	return nil
}

// typeErrors put the YAML package's words for Go programmers into words for people;
// its text is all that it tells.
var typeErrors = []struct {
	is  *regexp.Regexp
	say string
}{
	{regexp.MustCompile(`field (\S+) not found in type [\w.]+`), "there is no key $1 here"},
	{regexp.MustCompile("cannot unmarshal !!\\w+ (`[^`]*` )?into \\S+"), "${1}is not what this key takes"},
}

// Bounds of a platform.
const (
	maxRepositories = 64
	maxPackages     = 512
	maxMacros       = 256
	maxMacroBody    = 4096
	maxURL          = 1024
	maxLimit        = Duration(7 * 24 * time.Hour)
)

// What follows is what dnf, rpm and the files that configure them are given: each
// is one line and none can be read as an option or as two settings.
var (
	nameForm        = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)
	distForm        = regexp.MustCompile(`^\.[A-Za-z0-9][A-Za-z0-9._+~^]{0,31}$`)
	releaseverForm  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$`)
	repoIDForm      = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	macroNameForm   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{2,63}$`) // rpm wants three characters
	requirementForm = regexp.MustCompile(`^[A-Za-z0-9_/@(][A-Za-z0-9 _./@()+~^:=<>*,-]{0,199}$`)
	patternForm     = regexp.MustCompile(`^[A-Za-z0-9_*][A-Za-z0-9_.+*-]{0,99}$`)
	dirForm         = regexp.MustCompile(`^(/[A-Za-z0-9_][A-Za-z0-9._-]{0,63}){1,8}$`)
	osIDForm        = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)
	osNameForm      = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 ._+/-]{0,63}$`)
	moduleIDForm    = regexp.MustCompile(`^platform:[A-Za-z0-9][A-Za-z0-9._-]{0,31}$`)
	placeholderForm = regexp.MustCompile(`\{(name|file|hashtype|hash)\}`)
	luaForm         = regexp.MustCompile(`%\{[?!]*lua\b`)
)

var backends = []string{"sqlite", "ndb", "bdb"}

// check returns an Invalid error that says what in s is wrong and what would be right.
func (s Spec) check() error {
	bad := func(format string, args ...any) error {
		return albs.Errorf(albs.Invalid, "platform %.64q: "+format, append([]any{s.Name}, args...)...)
	}
	switch {
	case !nameForm.MatchString(s.Name):
		return albs.Errorf(albs.Invalid, "name %.80q: a platform's name has 1 to 64 lower-case letters, digits, dots, hyphens and underscores, and begins with a letter or digit", s.Name)
	case !distForm.MatchString(s.Dist):
		return bad("dist %.80q is not a dist tag such as .el9", s.Dist)
	case !releaseverForm.MatchString(s.Releasever):
		return bad("releasever %.80q is not a release version such as 9", s.Releasever)
	case s.ModuleID != "" && !moduleIDForm.MatchString(s.ModuleID):
		return bad("module_id %.80q is not of the form platform:el9", s.ModuleID)
	case s.OS != (OS{}) && !osIDForm.MatchString(s.OS.ID):
		return bad("os.id %.80q is not the ID of an os-release such as almalinux", s.OS.ID)
	case s.OS.Name != "" && !osNameForm.MatchString(s.OS.Name):
		return bad("os.name %.80q is not the name of a distribution such as AlmaLinux", s.OS.Name)
	case s.OS.Version != "" && !releaseverForm.MatchString(s.OS.Version):
		return bad("os.version %.80q is not a version such as 9", s.OS.Version)
	case !dirForm.MatchString(s.RPMDB.Path) || path.Clean(s.RPMDB.Path) != s.RPMDB.Path:
		return bad("rpmdb.path %.80q is not a plain absolute path such as /var/lib/rpm", s.RPMDB.Path)
	case !slices.Contains(backends, s.RPMDB.Backend):
		return bad("rpmdb.backend %.40q is not one of %v", s.RPMDB.Backend, backends)
	case s.Timeout < 0 || s.Timeout > maxLimit || s.MaxSilence < 0 || s.MaxSilence > maxLimit:
		return bad("timeout and max_silence lie between 0 and %s", time.Duration(maxLimit))
	}
	if err := s.Metadata.Check(); err != nil {
		return bad("metadata: %w", err)
	}
	for _, check := range []func(refuse) error{s.checkArches, s.checkRepositories, s.checkReferences, s.checkCompatible, s.checkRoom, s.checkErrata} {
		if err := check(bad); err != nil {
			return err
		}
	}
	if err := checkMacros(s.Macros, bad); err != nil {
		return err
	}
	if err := s.checkSecureBoot(bad); err != nil {
		return err
	}
	if err := s.checkReproducible(bad); err != nil {
		return err
	}
	if err := checkRequirements("packages", s.Packages, bad); err != nil {
		return err
	}
	if err := checkRequirements("test_packages", s.TestPackages, bad); err != nil {
		return err
	}
	if s.TestEngine != "" {
		if err := albs.CheckTestEngine(s.TestEngine); err != nil {
			return bad("test_engine: %w", err)
		}
	}
	for _, pattern := range s.Lookaside {
		if !strings.Contains(pattern, "{hash}") {
			return bad("lookaside %.200q lacks {hash}", pattern)
		}
		if err := checkURL(exampleOf(pattern)); err != nil {
			return bad("lookaside %.200q: %w", pattern, err)
		}
	}
	return nil
}

type refuse func(format string, args ...any) error

func (s Spec) checkArches(bad refuse) error {
	if len(s.Arches) == 0 {
		return bad("arches is empty: name at least one of %v", albs.BuildArches)
	}
	for i, a := range s.Arches {
		if _, err := albs.ParseArch(string(a)); err != nil {
			return bad("arches: %w", err)
		}
		if slices.Contains(s.Arches[:i], a) {
			return bad("arches names %s twice", a)
		}
	}
	weak := make(map[albs.Arch]bool)
	for _, w := range s.WeakArches {
		if !slices.Contains(s.Arches, w.Name) || !slices.Contains(s.Arches, w.DependsOn) {
			return bad("weak_arches: %.20q depends on %.20q, but both have to be among arches", w.Name, w.DependsOn)
		}
		if weak[w.Name] {
			return bad("weak_arches names %s twice", w.Name)
		}
		weak[w.Name] = true
	}
	for _, w := range s.WeakArches {
		if weak[w.DependsOn] {
			return bad("weak_arches: %s depends on %s, which is weak itself", w.Name, w.DependsOn)
		}
	}
	for _, a := range slices.Sorted(maps.Keys(s.RootArches)) {
		switch root := s.RootArches[a]; {
		case !slices.Contains(s.Arches, a):
			return bad("root_arches: %.20q is not among arches", a)
		case a == root || !a.Within(root):
			return bad("root_arches: packages of %.20s can't be built in a root of %.20q", a, root)
		}
	}
	return s.checkMultilib(bad)
}

func (s Spec) checkMultilib(bad refuse) error {
	for _, m := range s.Multilib {
		if !slices.Contains(s.Arches, m.From) || !slices.Contains(s.Arches, m.Into) || m.From == m.Into {
			return bad("multilib: from %.20q into %.20q are not two of arches", m.From, m.Into)
		}
		if len(m.Packages) == 0 {
			return bad("multilib from %s: packages names none", m.From)
		}
		if err := checkPatterns("multilib from "+string(m.From), m.Packages, bad); err != nil {
			return err
		}
	}
	return nil
}

func checkPatterns(what string, patterns []string, bad refuse) error {
	if len(patterns) > maxPackages {
		return bad("%s: more than %d names of packages", what, maxPackages)
	}
	for _, p := range patterns {
		if !patternForm.MatchString(p) {
			return bad("%s: %.80q is not the name of a package, or a pattern of names with *", what, p)
		}
	}
	return nil
}

// signingForm finds the macros by which specs sign modules and boot loaders while they
// are built.
var signingForm = regexp.MustCompile(`^(with_modsign|modsign_|_?pesign|pe_signing)`)

// checkSecureBoot refuses what builds for secure boot can't do yet: it would look done.
func (s Spec) checkSecureBoot(bad refuse) error {
	for _, name := range slices.Sorted(maps.Keys(s.SecureBootMacros)) {
		if signingForm.MatchString(name) {
			return bad("secure_boot_macros: %s signs while a package is built, which takes a way from the build to the signer; there is none yet", name)
		}
	}
	if err := checkMacros(s.SecureBootMacros, func(format string, args ...any) error {
		return bad("secure_boot_macros: "+format, args...)
	}); err != nil {
		return err
	}
	return checkPatterns("secure_boot_packages", s.SecureBootPackages, bad)
}

func (s Spec) checkRepositories(bad refuse) error {
	if len(s.Repositories) > maxRepositories {
		return bad("more than %d repositories", maxRepositories)
	}
	for _, r := range s.Repositories {
		if err := r.check(); err != nil {
			return bad("%w", err)
		}
		if r.Arch != "" && !slices.ContainsFunc(s.Arches, func(a albs.Arch) bool { return s.Root(a) == r.Arch }) {
			return bad("repository %s: arch %.20q is not among arches, or no root is of it", r.ID, r.Arch)
		}
	}
	for _, a := range s.Arches {
		var ids []string
		for _, r := range forArch(s.Repositories, s.Root(a)) {
			if slices.Contains(ids, r.ID) {
				return bad("repository %s is there twice for %s", r.ID, a)
			}
			ids = append(ids, r.ID)
		}
		if len(ids) == 0 {
			return bad("there is no repository for %s", a)
		}
	}
	return nil
}

// check says what is wrong with a repository by itself.
func (r Repository) check() error {
	switch {
	case !repoIDForm.MatchString(r.ID):
		return albs.Errorf(albs.Invalid, "repository id %.80q has other characters than letters, digits, dots, hyphens and underscores", r.ID)
	case r.Priority < 0 || r.Priority > 99:
		return albs.Errorf(albs.Invalid, "repository %s: priority %d is not between 0 and 99", r.ID, r.Priority)
	}
	if err := checkURL(r.at(albs.X8664)); err != nil {
		return albs.Errorf(albs.Invalid, "repository %s: %w", r.ID, err)
	}
	return nil
}

// checkMacros keeps a body on its line. Bodies that run a command or Lua are
// refused too, not for safety's sake (nothing outside a root expands them), but
// because a root's digest would no longer say what its macros are.
func checkMacros(macros map[string]string, bad refuse) error {
	if len(macros) > maxMacros {
		return bad("more than %d macros", maxMacros)
	}
	for _, name := range slices.Sorted(maps.Keys(macros)) {
		body := macros[name]
		switch {
		case !macroNameForm.MatchString(name):
			return bad("macro %.80q: a name has 3 to 64 letters, digits and underscores, no %% and no parameters", name)
		case name == "dist":
			return bad("macro dist: say it once, as the platform's dist")
		case body == "" || len(body) > maxMacroBody:
			return bad("macro %s: the body has between 1 and %d bytes", name, maxMacroBody)
		case strings.ContainsFunc(body, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' || r == '\u2028' || r == '\u2029' }):
			return bad("macro %s: the body is one line of text without control characters", name)
		case strings.HasSuffix(body, `\`) || strings.TrimSpace(body) != body:
			return bad("macro %s: the body neither ends in a backslash nor begins or ends with a blank", name)
		case strings.Contains(body, "%(") || luaForm.MatchString(body):
			return bad("macro %s: a platform's macro runs no command and no Lua; a package of the buildroot may bring such a macro", name)
		}
	}
	return nil
}

// checkRequirements takes what dnf may be asked to install: names, provides, files,
// groups and rich dependencies, but no option, no URL and no RPM file of the host.
func checkRequirements(what string, list []string, bad refuse) error {
	if len(list) == 0 || len(list) > maxPackages {
		return bad("%s has between 1 and %d entries", what, maxPackages)
	}
	for i, p := range list {
		if !requirementForm.MatchString(p) || strings.Contains(p, "://") || strings.HasSuffix(p, ".rpm") || strings.Contains(p, "..") {
			return bad("%s: %.80q is not the name of a package, a group, a file in one or another requirement", what, p)
		}
		if slices.Contains(list[:i], p) {
			return bad("%s names %s twice", what, p)
		}
	}
	return nil
}

// checkURL takes an absolute URL that means the same in a dnf configuration as here.
func checkURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || len(s) > maxURL:
		return albs.Errorf(albs.Invalid, "%.200q is not a URL", s)
	case u.Scheme != "https" && u.Scheme != "http" && u.Scheme != "file":
		return albs.Errorf(albs.Invalid, "the URL %.200q begins with neither https://, http:// nor file:///", s)
	case (u.Host == "") != (u.Scheme == "file") || !strings.HasPrefix(u.Path, "/"):
		return albs.Errorf(albs.Invalid, "the URL %.200q lacks its host or its path", s)
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return albs.Errorf(albs.Invalid, "the URL %.200q has a user, a query or a fragment: secrets don't belong into a platform", u.Redacted())
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"'`\\$<>{}|^,;", r) }):
		return albs.Errorf(albs.Invalid, "the URL %.200q has a character that is not allowed; of variables there is only $arch", s)
	}
	return nil
}

// exampleOf fills a look-aside pattern in, for checks of the URL that it makes.
func exampleOf(pattern string) string {
	return placeholderForm.ReplaceAllString(pattern, "0")
}

// at returns the repository's base URL for arch, without a slash at its end.
func (r Repository) at(arch albs.Arch) string {
	return strings.TrimRight(strings.ReplaceAll(r.URL, "$arch", string(arch)), "/")
}

// forArch returns those of the repositories that arch has, in their order.
func forArch(repositories []Repository, arch albs.Arch) []Repository {
	var out []Repository
	for _, r := range repositories {
		if r.Arch == "" || r.Arch == arch {
			out = append(out, r)
		}
	}
	return out
}
