package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"albs/internal/albs"
)

// Repo is one repository as dnf is told of it. BaseURL is http on 127.0.0.1 (a depot)
// or a file URL of a folder; nothing else is reachable from where dnf runs.
type Repo struct {
	ID       string
	BaseURL  string
	Priority int // dnf's: lower wins; 0 is dnf's default
}

// Ports in dnf's network that stand for folders, one for each repository.
const (
	firstFolderPort = 1024
	maxRepos        = 100
)

// Where dnf finds things in its view of the host.
const (
	viewRoot  = "/installroot"
	viewConf  = "/albs"
	viewCache = "/var/cache/albs" // in the view and in the root: dnf puts the root before the path, dnf 5 doesn't
)

var (
	repoID     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,199}$`)
	plainWord  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:+-]{0,99}$`)
	plainPath  = regexp.MustCompile(`^/[A-Za-z0-9/._-]{1,199}$`)
	maxRequire = 20_000 // requirements in one call, and 1 MiB: argv has its bounds
)

// surroundings is the part of dnf's run that a root and its repositories decide.
type surroundings struct {
	conf, home string
	ports      []int
	folders    map[int]string
}

// surround checks root and repos, so that none of their strings is more to dnf than it
// says, and writes dnf's configuration out of them.
func surround(root albs.Root, repos []Repo) (*surroundings, error) {
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
	s := &surroundings{folders: map[int]string{}, home: "%_dbpath " + root.RPMDBPath + "\n%_netsharedpath /proc:/dev\n%__transaction_systemd_inhibit %{nil}\n"}
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
`, viewCache)
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
		fmt.Fprintf(&b, "\n[%s]\nname=%[1]s\nbaseurl=%s\nenabled=1\ngpgcheck=0\nskip_if_unavailable=0\n", r.ID, base)
		if r.Priority > 0 {
			fmt.Fprintf(&b, "priority=%d\n", r.Priority)
		}
	}
	s.conf = b.String()
	return s, nil
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
func (s *surroundings) reach(i int, r Repo) (string, error) {
	u, err := url.Parse(r.BaseURL)
	if err != nil || strings.ContainsFunc(r.BaseURL, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '$' }) {
		return "", albs.Errorf(albs.Invalid, "repository %s: %.100q is not a URL", r.ID, r.BaseURL)
	}
	switch {
	case u.Scheme == "file" && u.Host == "" && filepath.IsAbs(u.Path):
		port := firstFolderPort + i // below those that a system gives out by itself
		s.ports = append(s.ports, port)
		s.folders[port] = filepath.Clean(u.Path)
		return "http://127.0.0.1:" + strconv.Itoa(port) + "/", nil
	case u.Scheme == "http" && u.Hostname() == "127.0.0.1":
		port, err := strconv.Atoi(u.Port())
		if err != nil || port < firstFolderPort+maxRepos {
			return "", albs.Errorf(albs.Invalid, "repository %s: %.100q names no port above %d", r.ID, r.BaseURL, firstFolderPort+maxRepos-1)
		}
		if !slices.Contains(s.ports, port) {
			s.ports = append(s.ports, port)
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

// place is what dnf works on: folders of the host, or overlays of them.
type place struct {
	root  albs.Root
	mount mount // of the root
	cache mount // of dnf's cache
	conf  string
}

// program runs a program of the host on a root that it sees as viewRoot, as root of
// the namespace and under limits: scriptlets of packages run below dnf.
func (e *Engine) program(ctx context.Context, p place, s *surroundings, lim Limits, argv []string, streams stdio) (int, error) {
	for name, text := range map[string]string{
		"dnf.conf": s.conf, ".rpmmacros": s.home,
		"passwd": "root:x:0:0:root:/albs:/bin/sh\n", "group": "root:x:0:\n", "hosts": "127.0.0.1 localhost\n", "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
	} {
		if err := os.MkdirAll(p.conf, 0o755); err != nil {
			return 0, fmt.Errorf("write dnf's configuration: %w", err)
		}
		if err := os.WriteFile(filepath.Join(p.conf, name), []byte(text), 0o644); err != nil {
			return 0, fmt.Errorf("write dnf's configuration: %w", err)
		}
	}
	at := func(name string) string { return filepath.Join(stage, name) }
	args := append([]string{"--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--hostname", "albs"}, rootCaps...)
	args = append(args, e.view...)
	for _, name := range []string{"passwd", "group", "hosts", "nsswitch.conf"} {
		args = append(args, "--ro-bind", at("conf")+"/"+name, "/etc/"+name)
	}
	args = append(args, "--proc", "/proc", "--dev", "/dev",
		"--bind", at(rootName), viewRoot, "--proc", viewRoot+"/proc", "--dev", viewRoot+"/dev",
		"--bind", at("cache"), viewRoot+viewCache, "--bind", at("cache"), viewCache,
		"--ro-bind", at("conf"), viewConf)
	args = append(args, "--chdir", "/", "--")
	j := &job{
		Op:      opExec,
		Mounts:  []mount{p.mount, p.cache, {Name: "conf", Source: p.conf}},
		Ports:   s.ports,
		folders: s.folders,
		Limits:  lim.rlimits(),
		Disk:    lim.Disk,
		Watch:   []string{p.mount.written(), p.cache.written()},
		Env:     []string{"PATH=" + hostPath, "HOME=" + viewConf, "LANG=C.UTF-8", "LC_ALL=C.UTF-8", "TERM=dumb", "COLUMNS=200", "PYTHONDONTWRITEBYTECODE=1"},
	}
	j.Argv = bubblewrap(append(args, argv...))
	return e.step(ctx, j, streams, lim, false)
}

// rootCaps are what root of the namespace keeps: enough for rpm to lay files out and
// run scriptlets, and no mount, so that leaving a chroot leads nowhere.
var rootCaps = func() []string {
	args := []string{"--cap-drop", "ALL"}
	for _, c := range []string{"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "SETFCAP", "SYS_CHROOT"} {
		args = append(args, "--cap-add", "CAP_"+c)
	}
	return args
}()

// dnf runs one dnf command on p, its output going to log. What dnf can't resolve, and a
// package whose scriptlet stops the transaction, is an Invalid error that names it; else
// a failure is Unavailable, for then it is the repositories or this host.
func (e *Engine) dnf(ctx context.Context, p place, repos []Repo, args []string, log io.Writer) error {
	s, err := surround(p.root, repos)
	if err != nil {
		return err
	}
	argv := []string{"dnf", "--config=" + viewConf + "/dnf.conf", "--installroot=" + viewRoot, "--releasever=" + p.root.Releasever}
	if p.root.Arch != albs.HostArch(runtime.GOARCH) {
		argv = append(argv, "--forcearch="+string(p.root.Arch))
	}
	said := NewTail(256 << 10)
	both := io.MultiWriter(log, said)
	exit, err := e.program(ctx, p, s, e.cfg.Limits, append(argv, args...), stdio{out: both, err: both})
	if errors.Is(err, albs.Invalid) { // a limit, passed by dnf or by a scriptlet: without its kind
		return albs.Errorf(albs.Unavailable, "dnf %s: %v", args[0], err)
	}
	if err != nil {
		return fmt.Errorf("dnf %s: %w", args[0], err)
	}
	if exit == 0 {
		return nil
	}
	if why := unresolved(said.Bytes()); len(why) > 0 {
		return albs.Errorf(albs.Invalid, "dnf can't resolve: %s", strings.Join(why, "; "))
	}
	if why := scriptletFailed.Find(said.Bytes()); why != nil {
		return albs.Errorf(albs.Invalid, "a package refuses: %.300s", why)
	}
	return albs.Errorf(albs.Unavailable, "dnf %s ended with code %d: %s", args[0], exit, lastLine(said.Bytes()))
}

// scriptletFailed finds rpm's words of a scriptlet that ended with an error (psm.c); of
// one whose failure stops nothing rpm only warns.
var scriptletFailed = regexp.MustCompile(`(?m)%[a-z]+\(\S+\) scriptlet failed, .*$`)

// unresolved finds in dnf's words what it had no package for, or what contradicts
// itself. dnf has one exit code for everything, so its words must do; they are the
// same in dnf 4 and dnf 5.
func unresolved(said []byte) []string {
	var why []string
	problem := ""
	for line := range strings.Lines(string(said)) {
		l := strings.TrimLeft(strings.TrimSpace(line), "- ")
		_, missing, ok := strings.Cut(l, "No match for argument: ")
		switch {
		case ok:
			why = append(why, "no package provides "+missing)
		case strings.HasPrefix(l, "All matches were filtered out by "):
			reason, what, _ := strings.Cut(strings.TrimPrefix(l, "All matches were filtered out by "), " filtering for argument: ")
			why = append(why, "every package that provides "+what+" is excluded ("+reason+" filtering)")
		case strings.HasPrefix(l, "missing groups or modules: "), strings.HasPrefix(l, "Unable to resolve argument "):
			why = append(why, l)
		case strings.Contains(l, "nothing provides "):
			why = append(why, l[strings.Index(l, "nothing provides "):])
		case strings.HasPrefix(l, "Problem"):
			problem = l
		}
	}
	if len(why) == 0 && problem != "" {
		why = []string{problem}
	}
	slices.Sort(why)
	return slices.Compact(why)
}

func lastLine(b []byte) string {
	b = bytes.TrimSpace(b)
	return string(b[bytes.LastIndexByte(b, '\n')+1:])
}

// Tail is an io.Writer that keeps the last bytes written to it: a program says at its
// end why it failed.
type Tail struct {
	b     bytes.Buffer
	limit int
}

// NewTail returns a Tail that keeps limit bytes.
func NewTail(limit int) *Tail { return &Tail{limit: limit} }

// Write implements io.Writer; it never fails.
func (t *Tail) Write(p []byte) (int, error) {
	t.b.Write(p)
	if over := t.b.Len() - t.limit; over > 0 {
		t.b.Next(over)
	}
	return len(p), nil
}

// Bytes returns what is kept, valid until the next Write.
func (t *Tail) Bytes() []byte { return t.b.Bytes() }
