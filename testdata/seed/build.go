package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// pkg is one unpacked .deb.
type pkg struct {
	other   bool // it is in another repository
	control map[string]string
	dir     string   // its files, already moved under /usr
	files   []string // what place moved to the common root, relative paths
	moved   []string // paths under /bin and /sbin that became /usr/bin and /usr/sbin
}

// build makes work/repo: RPMs of debs and their metadata. Where others, which are among
// debs, are of another repository, it holds nothing of these.
func build(ctx context.Context, a *apt, debs, others []deb, work string, say func(string, ...any)) error {
	pkgs, err := unpackAll(ctx, a, debs, others, filepath.Join(work, "tree"))
	if err != nil {
		return err
	}
	root := filepath.Join(work, "root")
	spec, err := compose(pkgs, len(others) > 0, root, work)
	if err != nil {
		return err
	}
	specFile := filepath.Join(work, "seed.spec")
	if err := os.WriteFile(specFile, []byte(spec), 0o644); err != nil {
		return err
	}
	say("unpacked; rpmbuild")
	top := filepath.Join(work, "rpmbuild")
	err = command(ctx, filepath.Join(work, "rpmbuild.log"), []string{"HOME=" + work, "LC_ALL=C.UTF-8"},
		"rpmbuild", "-bb", "--nodeps", "--target", arches[a.arch], "--define", "_topdir "+top, "--define", "_tmppath "+work, specFile)
	if err != nil {
		return err
	}
	say("rpmbuild done; metadata")
	repo := filepath.Join(work, "repo")
	if err := os.MkdirAll(repo, 0o755); err != nil {
		return err
	}
	rpms, err := filepath.Glob(filepath.Join(top, "RPMS", "*", "*.rpm"))
	if err != nil {
		return err
	}
	for _, r := range rpms {
		if err := os.Rename(r, filepath.Join(repo, filepath.Base(r))); err != nil {
			return err
		}
	}
	return command(ctx, filepath.Join(work, "createrepo.log"), nil, "createrepo_c", "--quiet", "--no-database", repo)
}

// unpackAll unpacks every .deb but the dropped ones, sorted by name.
func unpackAll(ctx context.Context, a *apt, debs, others []deb, tree string) ([]*pkg, error) {
	var (
		mu    sync.Mutex
		pkgs  []*pkg
		errs  []error
		wg    sync.WaitGroup
		slots = make(chan struct{}, 2*runtime.NumCPU())
	)
	for _, d := range debs {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			p, err := unpack(ctx, a.path(d), tree, slices.Contains(others, d))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, fmt.Errorf("unpack %s: %w", d.file, err))
			} else if p != nil {
				pkgs = append(pkgs, p)
			}
		})
	}
	wg.Wait()
	slices.SortFunc(pkgs, func(x, y *pkg) int { return strings.Compare(x.control["Package"], y.control["Package"]) })
	return pkgs, errors.Join(errs...)
}

// unpack returns nil for a dropped package.
func unpack(ctx context.Context, file, tree string, other bool) (*pkg, error) {
	out, err := exec.CommandContext(ctx, "dpkg-deb", "-f", file).Output()
	if err != nil {
		return nil, err
	}
	p := &pkg{other: other, control: map[string]string{}}
	for line := range strings.Lines(string(out)) {
		if k, v, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, " ") {
			p.control[k] = strings.TrimSpace(v)
		}
	}
	name := p.control["Package"]
	if dropped[name] {
		return nil, nil
	}
	p.dir = filepath.Join(tree, name)
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return nil, err
	}
	if err := exec.CommandContext(ctx, "dpkg-deb", "-x", file, p.dir).Run(); err != nil {
		return nil, err
	}
	for _, m := range merged {
		if err := p.merge(m); err != nil {
			return nil, err
		}
	}
	for _, dir := range pruned {
		if slices.Contains(testers, name) || strings.HasPrefix(name, "python3") {
			break // their modules lie in a pruned folder
		}
		if err := os.RemoveAll(filepath.Join(p.dir, dir)); err != nil {
			return nil, err
		}
	}
	for link, target := range links[name] {
		link = filepath.Join(p.dir, link)
		if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
			return nil, err
		}
		if err := os.Symlink(target, link); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	return p, nil
}

// merge moves what lies in the top directory m to usr/m.
func (p *pkg) merge(m string) error {
	top := filepath.Join(p.dir, m)
	info, err := os.Lstat(top)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		return os.Remove(top)
	}
	err = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(path, p.dir)
		to := filepath.Join(p.dir, "usr", rel)
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		if m == "bin" || m == "sbin" {
			p.moved = append(p.moved, rel)
		}
		return os.Rename(path, to)
	})
	return errors.Join(err, os.RemoveAll(top))
}

// compose fills root with the files of all packages, each file once, and returns
// the spec that packs them again; file lists go to folder lists. With beside, what the
// distribution itself holds is no part of it.
func compose(pkgs []*pkg, beside bool, root, lists string) (string, error) {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say("Name: seed\nVersion: 1\nRelease: 1\nSummary: Seed Linux\nLicense: various")
	for _, off := range []string{"debug_package", "__os_install_post", "__perl_requires", "__perl_provides", "__perllib_requires", "__perllib_provides"} {
		say("%%global %s %%{nil}", off)
	}
	say("%%global _build_id_links none\n%%global _binary_payload w1.zstdio")
	say(`%%global __requires_exclude ^(perl\\(|/usr/bin/perl|/usr/bin/python|/usr/local/bin/python|python|pkgconfig|/usr/bin/pkg-config|/usr/share/debconf|/usr/bin/debconf|/bin/dash)`)
	say("%%description\nSeed Linux.\n%%install\nrm -rf %%{buildroot}\ncp -al %s %%{buildroot}", root)

	owned := map[string]bool{}
	if beside {
		_, err := ownFiles(filepath.Join(lists, "own"), owned)
		if err = errors.Join(err, os.MkdirAll(filepath.Join(root, "usr", "src"), 0o755)); err != nil { // what place falls back to
			return "", err
		}
	} else {
		own, err := ownFiles(root, owned)
		if err != nil {
			return "", err
		}
		b.WriteString(own)
	}

	provider := map[string]string{}
	for _, p := range pkgs {
		name := p.control["Package"]
		provider[name] = name
	}
	for _, p := range pkgs {
		for _, v := range fields(p.control["Provides"]) {
			if provider[v] == "" {
				provider[v] = p.control["Package"]
			}
		}
	}
	// The files of others are claimed first.
	slices.SortStableFunc(pkgs, func(x, y *pkg) int { return cmp.Compare(rank(x), rank(y)) })
	for _, p := range pkgs {
		name := p.control["Package"]
		list, err := p.place(root, owned)
		if err != nil {
			return "", fmt.Errorf("lay out %s: %w", name, err)
		}
		if p.other {
			continue
		}
		file := filepath.Join(lists, name+".list")
		if err := os.WriteFile(file, []byte(strings.Join(list, "\n")+"\n"), 0o644); err != nil {
			return "", err
		}
		epoch, version, release := p.evr()
		say("%%package -n %s\nSummary: %s\nVersion: %s\nRelease: %s", name, p.control["Description"], version, release)
		if epoch != "" {
			say("Epoch: %s", epoch)
		}
		say("Requires: filesystem")
		for _, r := range p.requires(provider) {
			say("Requires: %s", r)
		}
		for _, v := range slices.Concat(p.moved, provides[name], p.modules()) {
			say("Provides: %s", v)
		}
		say("%%description -n %s\nSeed Linux's %s, from Debian.", name, name)
		if name == "libc-bin" {
			say("%%post -n %s -p /usr/sbin/ldconfig", name)
		}
		say("%%files -n %s -f %s\n%%defattr(-,root,root,-)", name, file)
	}
	return b.String(), nil
}

// rank is what packages are placed by.
func rank(p *pkg) int {
	if p.other {
		return 0
	}
	return 1
}

// ownFiles writes the packages that the recipe holds itself and returns their part
// of the spec.
func ownFiles(root string, owned map[string]bool) (string, error) {
	lists := map[string][]string{}
	for _, dir := range directories {
		mode := os.FileMode(0o755)
		attr := ""
		if dir == "tmp" || dir == "var/tmp" {
			mode, attr = 0o777|os.ModeSticky, "%attr(1777,root,root) "
		}
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return "", err
		}
		if err := os.Chmod(filepath.Join(root, dir), mode); err != nil {
			return "", err
		}
		lists["filesystem"] = append(lists["filesystem"], attr+"%dir /"+dir)
		owned[dir] = true
	}
	for link, target := range map[string]string{"var/run": "../run"} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			return "", err
		}
		lists["filesystem"] = append(lists["filesystem"], "/"+link)
	}
	for _, m := range merged {
		if err := os.Symlink("usr/"+m, filepath.Join(root, m)); err != nil {
			return "", err
		}
		lists["filesystem"] = append(lists["filesystem"], "/"+m)
	}
	for name, content := range files {
		for path, text := range content {
			to := filepath.Join(root, path)
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				return "", err
			}
			if err := os.WriteFile(to, []byte(text), 0o644); err != nil {
				return "", err
			}
			lists[name] = append(lists[name], "/"+path)
			owned[path] = true
		}
	}
	head := map[string]string{
		"filesystem":        "Version: 3.16\nProvides: setup = 2.13",
		"system-release":    "Version: 9\nBuildArch: noarch\nProvides: seed-release = 9\nProvides: redhat-release = 9\nRequires: filesystem",
		"redhat-rpm-config": "Version: 209\nBuildArch: noarch\nRequires: debugedit\nRequires: elfutils\nRequires: dwz\nRequires: file\nRequires: pkgconf",
	}
	var b strings.Builder
	for _, name := range []string{"filesystem", "system-release", "redhat-rpm-config"} {
		slices.Sort(lists[name])
		fmt.Fprintf(&b, "%%package -n %s\nSummary: Seed Linux's %s\n%s\n%%description -n %s\nSeed Linux's %s.\n%%files -n %s\n%%defattr(-,root,root,-)\n%s\n",
			name, name, head[name], name, name, name, strings.Join(lists[name], "\n"))
	}
	return b.String(), nil
}

// place moves the files of p to root, but for those that another package owns, and
// returns the lines of its file list.
func (p *pkg) place(root string, owned map[string]bool) ([]string, error) {
	var list []string
	err := filepath.WalkDir(p.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(p.dir, path)
		if err != nil || rel == "." {
			return err
		}
		to := filepath.Join(root, rel)
		if d.IsDir() {
			entries, err := os.ReadDir(path)
			if err != nil {
				return err
			}
			if p.other {
				return nil
			}
			if len(entries) == 0 && !owned[rel] {
				owned[rel] = true
				list = append(list, `%dir "/`+rel+`"`)
			}
			return os.MkdirAll(to, 0o755)
		}
		if owned[rel] {
			return nil
		}
		owned[rel] = true
		if p.other {
			return nil
		}
		p.files = append(p.files, rel)
		list = append(list, `"/`+rel+`"`)
		return os.Rename(path, to)
	})
	if len(list) == 0 {
		list = []string{"%dir /usr/src"} // rpm refuses a -f list without a line
	}
	return list, err
}

var unfit = regexp.MustCompile(`[^A-Za-z0-9._~+^]`)

// evr returns Debian's version in RPM's alphabet.
func (p *pkg) evr() (epoch, version, release string) {
	version = p.control["Version"]
	if e, v, ok := strings.Cut(version, ":"); ok {
		epoch, version = e, v
	}
	release = "1"
	if i := strings.LastIndexByte(version, '-'); i >= 0 {
		version, release = version[:i], version[i+1:]
	}
	return epoch, unfit.ReplaceAllString(version, "_"), unfit.ReplaceAllString(release, "_")
}

// requires translates Debian's dependencies; of alternatives the first that is
// there counts.
func (p *pkg) requires(provider map[string]string) []string {
	var names []string
	for clause := range strings.SplitSeq(p.control["Depends"]+","+p.control["Pre-Depends"], ",") {
		for alt := range strings.SplitSeq(clause, "|") {
			n := fields(alt)
			if len(n) == 0 {
				continue
			}
			if r := provider[n[0]]; r != "" {
				if r != p.control["Package"] {
					names = append(names, r)
				}
				break
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// fields returns the package names of a comma-separated relation, without
// versions and architectures.
func fields(relation string) []string {
	var names []string
	for part := range strings.SplitSeq(relation, ",") {
		name, _, _ := strings.Cut(strings.TrimSpace(part), " ")
		if name, _, _ = strings.Cut(name, ":"); name != "" {
			names = append(names, name)
		}
	}
	return names
}

var module = regexp.MustCompile(`(?:perl5|perl-base|perl/[0-9.]+)/((?:[A-Z]\w*/)*[A-Z]\w*)\.pm$`)

// modules returns perl(…) for each module of p, by its path: rpm's own generator
// runs perl once a file, which would take longer than all the rest.
func (p *pkg) modules() []string {
	var names []string
	for _, rel := range p.files {
		if m := module.FindStringSubmatch(rel); m != nil {
			names = append(names, "perl("+strings.ReplaceAll(m[1], "/", "::")+")")
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
