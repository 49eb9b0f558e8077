// Package survey says what packages would do to others of their repositories, which
// nobody has to install for that: files that two packages have and that differ, and
// requirements that a newer version leaves without a provider.
//
// It reads the metadata of the repositories once for all packages of a task, as a stream,
// and headers of the few packages that have a path of theirs. It installs nothing and
// knows nothing of roots. Like dnf it takes of each name and arch the newest.
package survey

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/repodata"
	"albs/internal/rpm"
	"albs/internal/rpm/depend"
)

// Open opens a file of a repository, by the repository's id and the path in it.
type Open func(ctx context.Context, repo, name string) (io.ReadCloser, error)

// Repository is one of the repositories of a task.
type Repository struct {
	ID string
	// Own marks those that the packages under test lie in; what lies in the others is
	// there already.
	Own bool
}

// Findings are what a package would do to others, a sentence each.
type Findings struct {
	Conflicts []string // files that another package has otherwise
	Unmet     []string // requirements of others that it leaves without a provider
}

// Bounds of what is told of one package, and of whose headers are read for it.
const (
	maxFound  = 20
	maxOthers = 64
)

// Headers returns the headers of packages by the digests of their files: those that lie in
// the own repositories, and of the rest those that lie in others; what lies in none is
// missing in the answer. Errors are open's, and Invalid where a repository or a package is
// malformed.
func Headers(ctx context.Context, open Open, repos []Repository, want []albs.Digest) (map[albs.Digest]*rpm.Package, error) {
	headers := make(map[albs.Digest]*rpm.Package, len(want))
	missing := map[albs.Digest]bool{}
	for _, d := range want {
		missing[d] = true
	}
	for _, own := range []bool{true, false} {
		for _, r := range repos {
			if r.Own != own || len(missing) == 0 {
				continue
			}
			paths := map[albs.Digest]string{}
			err := read(ctx, open, r.ID, "primary", func(f io.Reader) error {
				return repodata.ReadPrimary(f, func(l repodata.Listed) error {
					if missing[l.Digest] {
						paths[l.Digest] = l.Path
					}
					return nil
				})
			})
			if err != nil {
				return nil, err
			}
			for d, name := range paths {
				if headers[d], err = header(ctx, open, r.ID, name); err != nil {
					return nil, err
				}
				delete(missing, d)
			}
		}
	}
	return headers, nil
}

// read has f read a metadata file of a repository; one that it hasn't is passed over.
func read(ctx context.Context, open Open, repo, typ string, f func(io.Reader) error) error {
	wrap := func(err error) error {
		if err != nil {
			return fmt.Errorf("read the %s of repository %s: %w", typ, repo, err)
		}
		return nil
	}
	body, err := open(ctx, repo, "repodata/repomd.xml")
	if err != nil {
		return wrap(err)
	}
	md, err := repodata.ParseRepomd(body)
	body.Close()
	if err != nil {
		return wrap(err)
	}
	data, ok := md.Find(typ)
	if !ok {
		return nil
	}
	if body, err = open(ctx, repo, data.Path); err != nil {
		return wrap(err)
	}
	defer body.Close()
	return wrap(f(body))
}

func header(ctx context.Context, open Open, repo, name string) (*rpm.Package, error) {
	body, err := open(ctx, repo, name)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	p, err := rpm.Read(body)
	if err != nil {
		return nil, fmt.Errorf("read %s of repository %s: %w", name, repo, err)
	}
	return p, nil
}

// key is what versions of one package have in common.
type key struct{ name, arch string }

// place is the newest version of a package, and where it lies.
type place struct {
	nevra  rpm.NEVRA
	repo   string
	path   string
	digest albs.Digest
}

// earlier is the version before one under test.
type earlier struct {
	nevra    rpm.NEVRA
	provides []depend.Capability
}

// survey is one Take at work.
type survey struct {
	open     Open
	repos    []Repository
	subjects map[albs.Digest]*rpm.Package
	keys     map[key]bool // of the subjects
	newest   map[key]place
	before   map[key]earlier // what is there already of the subjects' names
}

// Take returns what each of the subjects, which are in the own repositories, would do to
// others. Errors are open's, the cause of ctx where that ended, and Invalid where a
// repository or a package in it is malformed.
func Take(ctx context.Context, open Open, repos []Repository, subjects map[albs.Digest]*rpm.Package) (map[albs.Digest]Findings, error) {
	s := &survey{open: open, repos: repos, subjects: subjects, keys: map[key]bool{}, newest: map[key]place{}, before: map[key]earlier{}}
	for _, p := range subjects {
		s.keys[key{p.Name, p.Arch}] = true
	}
	if err := s.list(ctx); err != nil {
		return nil, err
	}
	unmet, err := s.unmet(ctx)
	if err != nil {
		return nil, err
	}
	conflicts, err := s.conflicts(ctx)
	if err != nil {
		return nil, err
	}
	out := make(map[albs.Digest]Findings, len(subjects))
	for d := range subjects {
		out[d] = Findings{Conflicts: bound(conflicts[d]), Unmet: bound(unmet[d])}
	}
	return out, nil
}

// bound sorts what was found and keeps the first of it.
func bound(list []string) []string {
	slices.Sort(list)
	list = slices.Compact(list)
	if n := len(list) - maxFound; n > 0 {
		return append(list[:maxFound:maxFound], fmt.Sprintf("and %d more", n))
	}
	return list
}

// primaries reads the primaries of all repositories.
func (s *survey) primaries(ctx context.Context, yield func(r Repository, l repodata.Listed) error) error {
	for _, r := range s.repos {
		err := read(ctx, s.open, r.ID, "primary", func(f io.Reader) error {
			return repodata.ReadPrimary(f, func(l repodata.Listed) error {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if l.NEVRA.Arch == string(albs.Src) || l.NEVRA.Arch == "nosrc" {
					return nil
				}
				return yield(r, l)
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// list finds out which version of each package is the newest, and what there is already of
// those under test.
func (s *survey) list(ctx context.Context) error {
	return s.primaries(ctx, func(r Repository, l repodata.Listed) error {
		k := key{l.NEVRA.Name, l.NEVRA.Arch}
		have, ok := s.newest[k]
		order := rpm.Compare(have.nevra.EVR(), l.NEVRA.EVR())
		if !ok || order < 0 || order == 0 && r.Own { // what is under test comes to take its place
			s.newest[k] = place{l.NEVRA, r.ID, l.Path, l.Digest}
		}
		if r.Own || !s.keys[k] {
			return nil
		}
		if have, ok := s.before[k]; !ok || rpm.Compare(have.nevra.EVR(), l.NEVRA.EVR()) < 0 {
			s.before[k] = earlier{l.NEVRA, capabilities(l)}
		}
		return nil
	})
}

// capabilities are what a listed package provides, the paths that are listed among it.
func capabilities(l repodata.Listed) []depend.Capability {
	list := make([]depend.Capability, 0, len(l.Provides)+len(l.Files))
	for _, c := range l.Provides {
		list = append(list, c.Depend())
	}
	for _, f := range l.Files {
		list = append(list, depend.Capability{Name: f})
	}
	return list
}

// replacing returns the subject that takes the place of the package k, if one does.
func (s *survey) replacing(k key) (albs.Digest, *rpm.Package) {
	d := s.newest[k].digest
	return d, s.subjects[d]
}

// unmet finds requirements that the versions before met and that nothing meets when the
// subjects have taken their places. Boolean ones aren't judged: what they come to hangs on
// more than one package.
func (s *survey) unmet(ctx context.Context) (map[albs.Digest][]string, error) {
	type loss struct {
		what depend.Capability
		by   albs.Digest // the subject that takes the place of what had it
	}
	lost := map[string][]loss{}
	for k, was := range s.before {
		d, p := s.replacing(k)
		if p == nil || rpm.Compare(was.nevra.EVR(), p.EVR()) >= 0 {
			continue // dnf wouldn't install it in the place of what is there
		}
		provides := map[depend.Capability]bool{}
		for _, c := range depend.Provides(p) {
			provides[c] = true
		}
		for _, f := range p.Files {
			provides[depend.Capability{Name: f.Path}] = true
		}
		for _, c := range was.provides {
			if !provides[c] {
				lost[c.Name] = append(lost[c.Name], loss{c, d})
			}
		}
	}
	out := map[albs.Digest][]string{}
	if len(lost) == 0 {
		return out, nil
	}
	type need struct {
		of   rpm.NEVRA
		what depend.Capability
		by   albs.Digest
	}
	var needs []need
	have := depend.Providers[rpm.NEVRA]{}
	add := func(c depend.Capability, by rpm.NEVRA) {
		if lost[c.Name] != nil {
			have.Add(c, by)
		}
	}
	err := s.primaries(ctx, func(_ Repository, l repodata.Listed) error {
		k := key{l.NEVRA.Name, l.NEVRA.Arch}
		if s.newest[k].nevra != l.NEVRA {
			return nil
		}
		for _, c := range capabilities(l) {
			add(c, l.NEVRA)
		}
		for _, r := range l.Requires {
			c := r.Depend()
			for _, x := range lost[c.Name] {
				if x.what.Meets(c) {
					needs = append(needs, need{l.NEVRA, c, x.by})
					break
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, p := range s.subjects { // primary doesn't list all of their files
		if s.newest[key{p.Name, p.Arch}].nevra == p.NEVRA {
			for _, f := range p.Files {
				add(depend.Capability{Name: f.Path}, p.NEVRA)
			}
		}
	}
	for _, n := range needs {
		if !have.Meet(n.what) {
			was := s.before[key{s.subjects[n.by].Name, s.subjects[n.by].Arch}].nevra
			out[n.by] = append(out[n.by], fmt.Sprintf("%s needs %s, which %s provides and nothing any more", n.of, n.what, was))
		}
	}
	return out, nil
}

// conflicts finds files that a subject and another package have and that differ, so that
// rpm won't install both, where neither says so.
func (s *survey) conflicts(ctx context.Context) (map[albs.Digest][]string, error) {
	brings := map[string][]albs.Digest{} // path → subjects
	for d, p := range s.subjects {
		for _, f := range p.Files {
			if !f.Dir() && !f.Ghost() {
				brings[f.Path] = append(brings[f.Path], d)
			}
		}
	}
	out := map[albs.Digest][]string{}
	if len(brings) == 0 {
		return out, nil
	}
	meets := map[key]map[albs.Digest]bool{} // other packages → subjects that have a path of theirs
	for _, r := range s.repos {
		err := read(ctx, s.open, r.ID, "filelists", func(f io.Reader) error {
			return repodata.ReadFilelists(f, func(l repodata.ListedFile) error {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if l.Dir || l.Ghost || brings[l.Path] == nil {
					return nil
				}
				k := key{l.NEVRA.Name, l.NEVRA.Arch}
				at := s.newest[k]
				if at.nevra != l.NEVRA || at.repo != r.ID {
					return nil
				}
				for _, d := range brings[l.Path] {
					if !s.together(s.subjects[d], k) {
						continue
					}
					if meets[k] == nil {
						meets[k] = map[albs.Digest]bool{}
					}
					meets[k][d] = true
				}
				return nil
			})
		})
		if err != nil {
			return nil, err
		}
	}
	compared := 0
	for _, k := range slices.SortedFunc(maps.Keys(meets), func(a, b key) int { return strings.Compare(a.name+" "+a.arch, b.name+" "+b.arch) }) {
		var other *rpm.Package
		for d := range meets[k] {
			if compared == maxOthers {
				out[d] = append(out[d], fmt.Sprintf("its files are in so many packages that only %d were compared", maxOthers))
				continue
			}
			if other == nil {
				var err error
				if other, err = header(ctx, s.open, s.newest[k].repo, s.newest[k].path); err != nil {
					return nil, err
				}
			}
			out[d] = append(out[d], Conflicts(s.subjects[d], other)...)
		}
		if other != nil {
			compared++
		}
	}
	return out, nil
}

// together reports whether p and a package k may be asked for in one system: another
// version of p takes its place, and what two arches of a package share rpm settles.
func (s *survey) together(p *rpm.Package, k key) bool {
	return p.Name != k.name && (p.Arch == k.arch || p.Arch == string(albs.Noarch) || k.arch == string(albs.Noarch))
}

// Conflicts returns the files that two packages have and that rpm would not take for the
// same (rpmfilesCompare in rpm's rpmfi.c); none if one of the two conflicts with the other
// or obsoletes it by what its header says.
func Conflicts(p, other *rpm.Package) []string {
	if excludes(p, other) || excludes(other, p) {
		return nil
	}
	have := make(map[string]rpm.FileInfo, len(other.Files))
	for _, f := range other.Files {
		have[f.Path] = f
	}
	var out []string
	for _, f := range p.Files {
		o, ok := have[f.Path]
		if !ok || f.Dir() && o.Dir() {
			continue
		}
		if how := differs(f, o); how != "" {
			out = append(out, fmt.Sprintf("%s is in %s too, with another %s", f.Path, other.NEVRA, how))
		}
	}
	return out
}

// excludes reports whether a says that it can't be together with b, or takes its place.
func excludes(a, b *rpm.Package) bool {
	have := depend.Providers[int]{}
	for _, c := range depend.Provides(b) {
		have.Add(c, 1)
	}
	for _, d := range a.Conflicts {
		if have.Meet(depend.Of(d)) {
			return true
		}
	}
	for _, d := range a.Obsoletes { // by name alone, as rpm has it
		if d.Name == b.Name && depend.Of(d).Meets(depend.Capability{Name: b.Name, Op: rpm.Equal, EVR: b.EVR()}) {
			return true
		}
	}
	return false
}

// differs says in what two files of one path differ, "" if rpm takes them for the same.
func differs(a, b rpm.FileInfo) string {
	link := a.Mode&0o170000 == 0o120000
	switch {
	case a.Ghost() || b.Ghost():
		return ""
	case a.Mode&0o170000 != b.Mode&0o170000:
		return "kind"
	case a.Mode != b.Mode:
		return "mode"
	case a.User != b.User || a.Group != b.Group:
		return "owner"
	case link && a.Link != b.Link:
		return "target"
	case !link && (a.Size != b.Size || a.Digest != b.Digest):
		return "content"
	}
	return ""
}
