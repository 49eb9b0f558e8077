package publish

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"albs/internal/advisory"
	"albs/internal/advisory/update"
	"albs/internal/albs"
	"albs/internal/master/errata"
	"albs/internal/master/release/plan"
	"albs/internal/repodata/updateinfo"
)

// rendered is what one advisory is in all forms.
type rendered struct {
	name    string // of the advisory and all that makes it what it is, on the shelf
	id      string
	updated time.Time
	files   []plan.File
	pieces  []advisory.Piece // as many as forms, in their order
	notices []notice
}

// notice is what the updateinfo of a repository has of an advisory.
type notice struct {
	repository string
	updateinfo.Piece
}

const renderers = 4 // advisories that are rendered at once

// render makes the advisories of a platform what they are in all forms, by id: base has
// their digests by file name, and those in fresh aren't kept anywhere yet.
func (p *Publisher) render(ctx context.Context, o *outcome, is *shown, base map[string]albs.Digest, fresh []issue) error {
	head, err := json.Marshal(is.dist)
	if err != nil {
		return fmt.Errorf("encode platform: %w", err)
	}
	files := slices.Sorted(maps.Keys(base))
	is.advisories = make([]rendered, len(files))
	all, gctx := errgroup.WithContext(ctx)
	all.SetLimit(renderers)
	for i, file := range files {
		all.Go(func() error {
			name := p.cache.name("advisory", head, []byte(base[file]))
			if b, ok := is.shelf.get(name); ok {
				if r, ok := decode(b); ok && len(r.pieces) == len(forms) {
					there, err := o.there(gctx, r.files)
					if err != nil {
						return err
					}
					if there {
						r.name = name
						is.advisories[i] = r
						return nil
					}
				}
			}
			n := slices.IndexFunc(fresh, func(n issue) bool { return fileName(n.ID) == file })
			var adv advisory.Advisory
			var err error
			if n >= 0 {
				adv = fresh[n].Advisory
			} else if adv, err = p.read(gctx, base[file]); err != nil {
				return fmt.Errorf("read %s: %w", file, err)
			}
			r, err := p.make(gctx, o, adv, is.dist)
			if err != nil {
				return fmt.Errorf("advisory %s: %w", adv.ID, err)
			}
			r.name = name
			is.advisories[i] = r
			is.shelf.set(name, r.encode())
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	slices.SortFunc(is.advisories, func(x, y rendered) int { return strings.Compare(x.id, y.id) })
	for _, r := range is.advisories {
		o.files = append(o.files, r.files...)
		if r.updated.After(is.updated) {
			is.updated = r.updated
		}
	}
	return nil
}

// make renders one advisory and keeps the files that are its own.
func (p *Publisher) make(ctx context.Context, o *outcome, a advisory.Advisory, d advisory.Distribution) (rendered, error) {
	r := rendered{id: a.ID, updated: a.Updated, pieces: make([]advisory.Piece, len(forms))}
	before, err := p.before(ctx, a)
	if err != nil {
		return r, err
	}
	for i, f := range forms {
		var files []advisory.File
		if files, r.pieces[i], err = f.make(a, d, before); err != nil {
			return r, fmt.Errorf("as %s: %w", f.name, err)
		}
		r.files = append(r.files, o.keepAll(folder(a.Platform), files)...)
	}
	for _, q := range a.Packages {
		if q.Repository == "" || slices.ContainsFunc(r.notices, func(n notice) bool { return n.repository == q.Repository }) {
			continue
		}
		u, ok := update.Of(a, q.Repository)
		if !ok {
			break // it is withdrawn
		}
		piece, err := updateinfo.Make(u)
		if err != nil {
			return r, err
		}
		r.notices = append(r.notices, notice{q.Repository, piece})
	}
	return r, nil
}

// before returns the versions that were published before an advisory, from the first on.
func (p *Publisher) before(ctx context.Context, a advisory.Advisory) ([]earlier, error) {
	var out []earlier
	for n := 1; n < a.Version; n++ {
		i, err := p.Errata.Issue(ctx, errata.Key{ID: a.ID, Platform: a.Platform}, n)
		if err != nil {
			return nil, fmt.Errorf("version %d: %w", n, err)
		}
		was, err := advisory.Parse(i.Document)
		if err != nil {
			return nil, fmt.Errorf("version %d: %w", n, err)
		}
		out = append(out, earlier{was.Updated})
	}
	return out, nil
}
