package settle

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"albs/internal/albs"
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

// noarch reports whether a package's file is for all arches.
func noarch(file string) bool { return strings.HasSuffix(file, ".noarch.rpm") }

func (m Made) noarch() bool {
	return slices.ContainsFunc(m.Files, func(f File) bool { return noarch(f.Name) })
}

func (m Made) file(name string) (File, bool) {
	i := slices.IndexFunc(m.Files, func(f File) bool { return f.Name == name })
	if i < 0 {
		return File{}, false
	}
	return m.Files[i], true
}

// unified is what becomes of a noarch package: one copy for all arches.
type unified struct {
	winner  File
	losers  []File // other arches' copies with other bytes
	missing []Made // arches that made none
}

// unify chooses, for each noarch package of an item, the copy of the first that made
// it. What was made for an arch without it gets it too: a noarch package that only some
// arches have is no accident that users should find.
func unify(all []Made) []unified {
	var out []unified
	seen := map[string]bool{}
	for _, m := range all {
		for _, f := range m.Files {
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
func winning(all []Made, arches, weak []albs.Arch) {
	rank := func(m Made) int {
		n := slices.Index(arches, m.Arch)
		if slices.Contains(weak, m.Arch) {
			n += len(arches)
		}
		if !m.Told {
			n += 2 * len(arches)
		}
		return n
	}
	slices.SortFunc(all, func(a, b Made) int { return rank(a) - rank(b) })
}

// compare says in what the copies of a noarch package differ for those who install them.
func (s *settling) compare(ctx context.Context, u unified) ([]Difference, error) {
	if len(u.losers) == 0 {
		return nil, nil
	}
	first, err := s.packages.Header(ctx, u.winner.Digest)
	if err != nil {
		return nil, err
	}
	var out []Difference
	for _, l := range u.losers {
		second, err := s.packages.Header(ctx, l.Digest)
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

func (d Difference) String() string {
	return fmt.Sprintf("%s of %s is not what %s made: %s", d.Package, d.Second.Arch, d.First.Arch, strings.Join(d.Differs, "; "))
}

// shareNoarch gives all arches one copy of each noarch package.
func (s *settling) shareNoarch(ctx context.Context, all []Made) error {
	for _, u := range unify(all) {
		differ, err := s.compare(ctx, u)
		if err != nil {
			return err
		}
		if len(differ) > 0 && s.Platform.NoarchEqual {
			return albs.Errorf(albs.Invalid, "platform %s wants noarch packages to be equal on all arches, but %s", s.Platform.Name, differ[0])
		}
		s.Differ = append(s.Differ, differ...)
		if len(u.losers)+len(u.missing) == 0 {
			continue
		}
		winner, err := s.packages.Artifact(ctx, u.winner.Digest)
		if err != nil {
			return err
		}
		for _, l := range u.losers {
			s.Replace = append(s.Replace, Replacement{l, winner.Digest})
			if l.Task == s.Task {
				s.lost[l.Name] = true
				s.Into.Add(s.repository(l.Arch, winner), winner)
				continue
			}
			s.Into.Replace(s.repository(l.Arch, winner), winner)
		}
		for _, m := range u.missing {
			if err := s.give(ctx, m, winner); err != nil {
				return err
			}
		}
	}
	return nil
}
