package monitor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"albs/internal/advisory"
	"albs/internal/albs"
)

// A file that goes changes no metadata. So the files are looked at too, some in each check: of
// a repository so many, going on behind the last one of the check before, and those that were
// found missing; more if a person asks. It is their size that is asked for: what they hold was
// checked when they were laid there, and reading them all would be a mirror's work.
const (
	filesAtOnce = 1000
	filesAsked  = 20_000
	askers      = 8
)

// file is a package's file that an advisory names.
type file struct {
	held
	advisory, pkg string
}

// filesOf returns the files of a repository that advisories name, by path, each once.
func filesOf(path string, as []advisory.Advisory, in listed) []file {
	var out []file
	for _, a := range as {
		if a.Withdrawn != nil {
			continue
		}
		for _, p := range a.Packages {
			if p.Repository != path {
				continue
			}
			has := in.packages[p.NEVRA]
			if i := slices.IndexFunc(has, func(h held) bool { return h.digest == p.Digest }); i >= 0 {
				out = append(out, file{has[i], a.ID, p.NEVRA.String()})
			}
		}
	}
	slices.SortStableFunc(out, func(x, y file) int { return strings.Compare(x.path, y.path) })
	return slices.CompactFunc(out, func(x, y file) bool { return x.path == y.path })
}

// turn returns the files whose turn it is, of all by path: those after one, n at most, from the
// first on again after the last; then those that are in lost, n at most.
func turn(all []file, after string, n int, lost map[string]Trouble) []file {
	i, found := slices.BinarySearchFunc(all, after, func(f file, path string) int { return strings.Compare(f.path, path) })
	if found {
		i++
	}
	var out []file
	for k, f := range slices.Concat(all[i:], all[:i]) {
		if _, ok := lost[f.path]; k < n || ok && len(out) < 2*n {
			out = append(out, f)
		}
	}
	return out
}

// look asks for some files, most at the most, of a repository whose turn it is, and notes in is which of them are
// missing or of another size. Of one of which that can't be learned at the moment it leaves
// what was known; an error says that it couldn't be learned of any.
func (p place) look(ctx context.Context, is *known, platform, path string, most int) error {
	asked := turn(is.files, is.after, most, is.lost)
	found, unknown := make([]Trouble, len(asked)), make([]error, len(asked))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(askers)
	for i, f := range asked {
		g.Go(func() error {
			t := Trouble{Platform: platform, Repository: path, Advisory: f.advisory, Package: f.pkg}
			size, err := p.Size(gctx, p.url(f.path))
			switch {
			case errors.Is(err, albs.NotFound):
				t.Kind, t.Detail = MissingFile, fmt.Sprintf("there is no file %.300s", f.path)
			case err != nil:
				unknown[i] = err
				return ctx.Err()
			case size >= 0 && size != f.size:
				t.Kind, t.Detail = WrongFile, fmt.Sprintf("the file %.300s has %d bytes, and the repository lists %d", f.path, size, f.size)
			}
			found[i] = t
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	lost := map[string]Trouble{}
	for _, f := range is.files {
		if t, ok := is.lost[f.path]; ok {
			lost[f.path] = t
		}
	}
	learned := len(asked) == 0
	for i, f := range asked {
		if unknown[i] != nil {
			continue
		}
		learned = true
		if delete(lost, f.path); found[i].Kind != "" {
			lost[f.path] = found[i]
		}
	}
	if !learned {
		return unknown[0]
	}
	is.lost = lost
	if n := min(most, len(is.files)); n > 0 {
		is.after = asked[n-1].path
	}
	return nil
}

// all returns what was found in the repository, in a fixed order.
func (k known) all() []Trouble {
	out := slices.Clone(k.troubles)
	for _, t := range k.lost {
		out = append(out, t)
	}
	slices.SortFunc(out, byAdvisory)
	return out
}

func byAdvisory(x, y Trouble) int {
	return cmp.Or(strings.Compare(x.Advisory, y.Advisory), strings.Compare(x.Package, y.Package), strings.Compare(string(x.Kind), string(y.Kind)))
}
