// Package dnf writes what dnf is told of a root and its repositories, and reads what dnf
// says when it fails. It runs nothing and touches no file.
//
// It owns dnf's configuration, the bounds on what goes into it, and the meaning of dnf's
// and rpm's words; it knows nothing of where dnf runs. What always holds: no string of a
// root, a repository or a requirement is more to dnf than it says.
package dnf

import (
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"albs/internal/albs"
)

// Repo is one repository as dnf is told of it. BaseURL is http on 127.0.0.1 (a depot)
// or a file URL of a folder; nothing else is reachable from where dnf runs. The first
// folder of an http address may be a secret.
type Repo struct {
	ID       string
	BaseURL  string
	Priority int // dnf's: lower wins; 0 is dnf's default
	// Own marks what is built, or was for this. Unless it is Modular it has no modules, so that
	// dnf is to see all packages, also those with a module's label, whichever streams are enabled.
	Own, Modular bool
	// Keys are armored public keys, as a key file has them, by one of which the repository's
	// packages have to be signed for dnf to take them; with "", signatures aren't looked at.
	Keys string
}

// Ports in dnf's network that stand for folders, one for each repository.
const (
	firstFolderPort = 1024
	maxRepos        = 100
)

// CacheDir is dnf's cache in its view of the host and in the root: dnf puts the root
// before the path, dnf 5 doesn't.
const CacheDir = "/var/cache/albs"

// ConfDir is where dnf finds the files of its configuration, in its view of the host.
const ConfDir = "/albs"

var (
	repoID     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,199}$`)
	plainWord  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:+-]{0,99}$`)
	plainNEVRA = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:+~^-]{0,254}$`)
	plainPath  = regexp.MustCompile(`^/[A-Za-z0-9/._-]{1,199}$`)
	maxRequire = 20_000 // requirements in one call, and 1 MiB: argv has its bounds
)

// Surroundings is the part of dnf's run that a root and its repositories decide.
type Surroundings struct {
	Conf    string            // dnf's configuration
	Macros  string            // rpm's, for a file in its home
	Ports   []int             // where its network must lead to the repositories, on loopback
	Folders map[int]string    // those of Ports that stand for a host folder
	Keys    map[string]string // further files of ConfDir, by name: keys of repositories
}

// Surround checks root and repos, so that none of their strings is more to dnf than it
// says, and writes dnf's configuration out of them. What can't be is Invalid.
func Surround(root albs.Root, repos []Repo) (*Surroundings, error) {
	if !plainWord.MatchString(root.Releasever) {
		return nil, albs.Errorf(albs.Invalid, "releasever %.40q is not one plain word", root.Releasever)
	}
	if root.ModuleID != "" && !plainWord.MatchString(root.ModuleID) {
		return nil, albs.Errorf(albs.Invalid, "module id %.40q is not one plain word", root.ModuleID)
	}
	if !plainPath.MatchString(root.RPMDBPath) || filepath.Clean(root.RPMDBPath) != root.RPMDBPath {
		return nil, albs.Errorf(albs.Invalid, "rpmdb path %.40q is not a plain absolute path", root.RPMDBPath)
	}
	// The host's rpm fills the root, and it writes no other form.
	if root.RPMDB != "" && root.RPMDB != "sqlite" {
		return nil, albs.Errorf(albs.Invalid, "platform %s keeps its rpmdb as %s, which the native engine can't write: it needs mock", root.Platform, root.RPMDB)
	}
	if _, err := albs.ParseArch(string(root.Arch)); err != nil {
		return nil, err
	}
	// rpm can't give owners to /proc and /dev of a root while they are mounts.
	if len(repos) > maxRepos {
		return nil, albs.Errorf(albs.Invalid, "%d repositories are more than %d", len(repos), maxRepos)
	}
	s := &Surroundings{Folders: map[int]string{}, Keys: map[string]string{}, Macros: "%_dbpath " + root.RPMDBPath + "\n%_netsharedpath /proc:/dev\n%__transaction_systemd_inhibit %{nil}\n"}
	var b strings.Builder
	fmt.Fprintf(&b, `[main]
reposdir=/dev/null
plugins=0
cachedir=%s
logdir=%[1]s/log
persistdir=%[1]s/persist
keepcache=1
metadata_expire=0
assumeyes=1
gpgcheck=0
repo_gpgcheck=0
best=1
install_weak_deps=0
protected_packages=
zchunk=0
deltarpm=0
retries=3
timeout=30
color=never
`, CacheDir)
	if root.ModuleID != "" {
		fmt.Fprintf(&b, "module_platform_id=%s\n", root.ModuleID)
	}
	if err := checkChoice(root); err != nil {
		return nil, err
	}
	if len(root.Excludes) > 0 {
		fmt.Fprintf(&b, "excludepkgs=%s\n", strings.Join(root.Excludes, ","))
	}
	for i, r := range repos {
		if !repoID.MatchString(r.ID) || r.ID == "main" {
			return nil, albs.Errorf(albs.Invalid, "repository id %.40q is not one plain word", r.ID)
		}
		base, err := s.reach(i, r)
		if err != nil {
			return nil, err
		}
		check, err := s.keys(i, r)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "\n[%s]\nname=%[1]s\nbaseurl=%s\nenabled=1\n%sskip_if_unavailable=0\n", r.ID, base, check)
		if r.Priority > 0 {
			fmt.Fprintf(&b, "priority=%d\n", r.Priority)
		}
		if r.Own && !r.Modular {
			b.WriteString("module_hotfixes=1\n")
		}
	}
	s.Conf = b.String()
	return s, nil
}

// maxKeys bounds a repository's keys, in bytes.
const maxKeys = 256 << 10

// keys lays the keys of the i-th repository ready, and returns what its section says of
// signatures. dnf asks for a repository's own files in the root's name: the keys are none of
// those, and what is signed can't bring its key along.
func (s *Surroundings) keys(i int, r Repo) (string, error) {
	switch {
	case r.Keys == "":
		return "gpgcheck=0\n", nil
	case len(r.Keys) > maxKeys:
		return "", albs.Errorf(albs.Invalid, "repository %s: its keys have more than %d bytes", r.ID, maxKeys)
	case !strings.HasPrefix(r.Keys, "-----BEGIN PGP PUBLIC KEY BLOCK-----"):
		return "", albs.Errorf(albs.Invalid, "repository %s: %.40q begins no armored public key", r.ID, r.Keys)
	}
	name := "key-" + strconv.Itoa(i) + ".asc"
	s.Keys[name] = r.Keys
	return "gpgcheck=1\ngpgkey=file://" + ConfDir + "/" + name + "\n", nil
}

// maxChoice bounds excludes and modules, each of which dnf matches with every package.
const maxChoice = 256

// checkChoice checks what narrows dnf's choice of packages.
func checkChoice(root albs.Root) error {
	if len(root.Excludes) > maxChoice || len(root.Modules) > maxChoice {
		return albs.Errorf(albs.Invalid, "more than %d packages are excluded or modules enabled", maxChoice)
	}
	for _, x := range root.Excludes {
		if err := albs.CheckExclude(x); err != nil {
			return err
		}
	}
	for _, m := range root.Modules {
		if err := albs.CheckModule(m); err != nil {
			return err
		}
	}
	if len(root.Modules) > 0 && root.ModuleID == "" {
		return albs.Errorf(albs.Invalid, "platform %s has no modules, so %s can't be enabled", root.Platform, root.Modules[0])
	}
	return nil
}

// reach makes the i-th repository reachable and returns its address in the view.
func (s *Surroundings) reach(i int, r Repo) (string, error) {
	u, err := url.Parse(r.BaseURL)
	if err != nil || strings.ContainsFunc(r.BaseURL, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '$' }) {
		return "", albs.Errorf(albs.Invalid, "repository %s: %.100q is not a URL", r.ID, r.BaseURL)
	}
	switch {
	case u.Scheme == "file" && u.Host == "" && filepath.IsAbs(u.Path):
		port := firstFolderPort + i // below those that a system gives out by itself
		s.Ports = append(s.Ports, port)
		s.Folders[port] = filepath.Clean(u.Path)
		return "http://127.0.0.1:" + strconv.Itoa(port) + "/", nil
	case u.Scheme == "http" && u.Hostname() == "127.0.0.1":
		port, err := strconv.Atoi(u.Port())
		if err != nil || port < firstFolderPort+maxRepos {
			return "", albs.Errorf(albs.Invalid, "repository %s: %.100q names no port above %d", r.ID, r.BaseURL, firstFolderPort+maxRepos-1)
		}
		if !slices.Contains(s.Ports, port) {
			s.Ports = append(s.Ports, port)
		}
		return u.String(), nil
	}
	return "", albs.Errorf(albs.Invalid, "repository %s: %.100q is neither http on 127.0.0.1 nor a file URL", r.ID, r.BaseURL)
}

// CheckRequirements returns an Invalid error unless every string can only be a
// requirement to dnf: not an option, a pattern, a group, a file or an address.
func CheckRequirements(reqs []string) error {
	total := 0
	for _, r := range reqs {
		total += len(r)
		if r == "" || strings.ContainsAny(r[:1], "-@") || strings.ContainsAny(r, "*?[]") || strings.Contains(r, "://") ||
			strings.HasSuffix(r, ".rpm") || strings.ContainsFunc(r, func(c rune) bool { return c < ' ' || c >= 0x7f }) {
			return albs.Errorf(albs.Invalid, "%.100q is not a requirement that can be installed", r)
		}
	}
	if len(reqs) > maxRequire || total > 1<<20 {
		return albs.Errorf(albs.Invalid, "%d requirements are more than %d, or longer than 1 MiB", len(reqs), maxRequire)
	}
	return nil
}

// Protecting returns the option that has dnf refuse to remove packages of these names.
// What is no plain name protects nothing and is left out.
func Protecting(names []string) string {
	plain := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !plainNEVRA.MatchString(n) })
	slices.Sort(plain)
	return "--setopt=protected_packages=" + strings.Join(slices.Compact(plain), ",")
}
