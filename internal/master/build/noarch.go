package build

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/rpm"
)

// Difference tells that two arches made one noarch package of an item otherwise. All
// arches have the first one's.
type Difference struct {
	Package string   `json:"package"` // file name
	First   Copy     `json:"first"`
	Second  Copy     `json:"second"`
	Differs []string `json:"differs"` // files, scripts and dependencies
}

// Copy is a package as the rebuild for an arch left it.
type Copy struct {
	Arch   albs.Arch   `json:"arch"`
	Digest albs.Digest `json:"sha256"`
}

// made is what the rebuild of an item for an arch put into the repository.
type made struct {
	arch  albs.Arch
	task  albs.TaskID
	told  bool // it is settled: others know of the files
	files []artifactRow
}

// noarch reports whether a package's file is for all arches.
func noarch(file string) bool { return strings.HasSuffix(file, ".noarch.rpm") }

func (m made) noarch() bool {
	return slices.ContainsFunc(m.files, func(f artifactRow) bool { return noarch(f.Name) })
}

func (m made) file(name string) (artifactRow, bool) {
	i := slices.IndexFunc(m.files, func(f artifactRow) bool { return f.Name == name })
	if i < 0 {
		return artifactRow{}, false
	}
	return m.files[i], true
}

// unified is what becomes of a noarch package: one copy for all arches.
type unified struct {
	winner  artifactRow
	losers  []artifactRow // other arches' copies with other bytes
	missing []made        // arches that made none
}

// unify chooses, for each noarch package of an item, the copy of the first that made
// it. What was made for an arch without it gets it too: a noarch package that only some
// arches have is no accident that users should find.
func unify(all []made) []unified {
	var out []unified
	seen := map[string]bool{}
	for _, m := range all {
		for _, f := range m.files {
			if !noarch(f.Name) || seen[f.Name] {
				continue
			}
			seen[f.Name] = true
			u := unified{winner: f}
			for _, o := range all {
				switch other, ok := o.file(f.Name); {
				case !ok:
					u.missing = append(u.missing, o)
				case other.Digest != f.Digest:
					u.losers = append(u.losers, other)
				}
			}
			out = append(out, u)
		}
	}
	return out
}

// winning sorts what arches made into the order in which their noarch packages win: what
// was settled before stays, and else it is the order of the platform's arches, weak ones
// behind the others.
func winning(all []made, arches, weak []albs.Arch) {
	rank := func(m made) int {
		n := slices.Index(arches, m.arch)
		if slices.Contains(weak, m.arch) {
			n += len(arches)
		}
		if !m.told {
			n += 2 * len(arches)
		}
		return n
	}
	slices.SortFunc(all, func(a, b made) int { return rank(a) - rank(b) })
}

// compare says in what the copies of a noarch package differ for those who install them.
func (b *Builds) compare(ctx context.Context, u unified) ([]Difference, error) {
	if len(u.losers) == 0 {
		return nil, nil
	}
	first, err := b.header(ctx, u.winner.Digest)
	if err != nil {
		return nil, err
	}
	var out []Difference
	for _, l := range u.losers {
		second, err := b.header(ctx, l.Digest)
		if err != nil {
			return nil, err
		}
		if differs := rpm.Differences(first, second); len(differs) > 0 {
			out = append(out, Difference{
				Package: u.winner.Name, First: Copy{u.winner.Arch, u.winner.Digest}, Second: Copy{l.Arch, l.Digest}, Differs: differs,
			})
		}
	}
	return out, nil
}

// header reads a package that is admitted, though it may have no row yet.
func (b *Builds) header(ctx context.Context, d albs.Digest) (*rpm.Package, error) {
	r, err := b.artifacts.Blobs().OpenRange(ctx, d, 0, -1)
	if err != nil {
		return nil, fmt.Errorf("open package %s: %w", d.Short(), err)
	}
	defer r.Close()
	return rpm.Read(r)
}

func (d Difference) String() string {
	return fmt.Sprintf("%s of %s is not what %s made: %s", d.Package, d.Second.Arch, d.First.Arch, strings.Join(d.Differs, "; "))
}

// shareNoarch gives all arches one copy of each noarch package.
func (b *Builds) shareNoarch(ctx context.Context, in admission, all []made, s *settlement) error {
	for _, u := range unify(all) {
		differ, err := b.compare(ctx, u)
		if err != nil {
			return err
		}
		if len(differ) > 0 && s.platform.NoarchEqual {
			return albs.Errorf(albs.Invalid, "platform %s wants noarch packages to be equal on all arches, but %s", in.item.Platform, differ[0])
		}
		s.differ = append(s.differ, differ...)
		if len(u.losers)+len(u.missing) == 0 {
			continue
		}
		winner, err := s.artifact(ctx, b, u.winner.Digest)
		if err != nil {
			return err
		}
		for _, l := range u.losers {
			s.replace = append(s.replace, replacement{l, winner.Digest})
			if l.TaskID == in.task.TaskID {
				s.lost[l.Name] = true
				s.into.add(repoFor(in.item, l.Arch, winner.NEVRA), winner)
				continue
			}
			s.into.replace(repoFor(in.item, l.Arch, winner.NEVRA), winner)
		}
		for _, m := range u.missing {
			if err := b.give(ctx, in, m, winner, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// give puts a package that another arch made beside what m is. Two packages of one name
// in a repository are refused, as CheckPackages does.
func (b *Builds) give(ctx context.Context, in admission, m made, a artifact.Artifact, s *settlement) error {
	held, err := b.held(ctx, in, m.arch)
	if err != nil {
		return err
	}
	if d, ok := held[a.Name]; ok {
		return albs.Errorf(albs.Invalid, "%s is there twice for %s, as %s and as %s: give one of them another release", a.Name, m.arch, d.Short(), a.Digest.Short())
	}
	s.add = append(s.add, artifactRow{
		BuildID: in.item.BuildID, ItemID: in.item.ID, TaskID: m.task, Attempt: m.files[0].Attempt,
		Digest: a.Digest, Kind: string(a.Kind), Name: a.Name, Arch: m.arch,
	})
	s.into.add(repoFor(in.item, m.arch, a.NEVRA), a)
	return nil
}
