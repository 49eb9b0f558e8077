package publish

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"albs/internal/advisory"
	"albs/internal/advisory/csaf"
	"albs/internal/advisory/update"
	"albs/internal/albs"
	"albs/internal/disk"
	"albs/internal/master/errata"
	"albs/internal/master/release"
	"albs/internal/master/release/plan"
	"albs/internal/repodata"
	"albs/internal/repodata/updateinfo"
)

const typeUpdateinfo = "updateinfo"

// rendered is what one advisory is in all forms.
type rendered struct {
	ID      string
	Updated time.Time
	Files   []plan.File
	Pieces  map[string]advisory.Piece   // by form
	Notices map[string]updateinfo.Piece // by repository
}

const renderers = 4 // advisories that are rendered at once

// render returns what the advisories are in all forms, by id: base has their digests by
// file name, and those in fresh aren't kept anywhere yet.
func (p *Publisher) render(ctx context.Context, a release.Ask, d advisory.Distribution, base map[string]albs.Digest, fresh []issue) ([]rendered, error) {
	tree := make(map[string]albs.Digest, len(a.Tree.Files))
	for _, f := range a.Tree.Files {
		tree[f.Path] = f.Digest
	}
	head, err := json.Marshal(struct {
		Made int
		Dist advisory.Distribution
	}{made, d})
	if err != nil {
		return nil, fmt.Errorf("encode platform: %w", err)
	}
	shelf := p.cache.shelf(a.Product.Name, d.Platform)
	files := slices.Sorted(maps.Keys(base))
	out := make([]rendered, len(files))
	names := make([]string, len(files))
	all, gctx := errgroup.WithContext(ctx)
	all.SetLimit(renderers)
	for i, file := range files {
		all.Go(func() error {
			names[i] = string(albs.DigestOf(append(bytes.Clone(head), base[file]...)))
			if r, ok := shelf.get(names[i]); ok && !slices.ContainsFunc(r.Files, func(f plan.File) bool { return tree[f.Path] != f.Digest }) {
				out[i] = r
				return nil
			}
			n := slices.IndexFunc(fresh, func(n issue) bool { return fileName(n.ID) == file })
			var adv advisory.Advisory
			var err error
			if n >= 0 {
				adv = fresh[n].Advisory
			} else if adv, err = p.read(gctx, base[file]); err != nil {
				return fmt.Errorf("read %s: %w", file, err)
			}
			r, err := p.make(gctx, adv, d)
			if err != nil {
				return fmt.Errorf("advisory %s: %w", adv.ID, err)
			}
			out[i] = r
			shelf.set(names[i], r)
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	shelf.keep(names)
	slices.SortFunc(out, func(x, y rendered) int { return strings.Compare(x.ID, y.ID) })
	return out, nil
}

// make renders one advisory and keeps the files that are its own.
func (p *Publisher) make(ctx context.Context, a advisory.Advisory, d advisory.Distribution) (rendered, error) {
	r := rendered{ID: a.ID, Updated: a.Updated, Pieces: map[string]advisory.Piece{}, Notices: map[string]updateinfo.Piece{}}
	before, err := p.before(ctx, a)
	if err != nil {
		return r, err
	}
	var s plan.Share
	for _, f := range forms {
		files, piece, err := f.make(a, d, before)
		if err != nil {
			return r, fmt.Errorf("as %s: %w", f.name, err)
		}
		if piece.ID != "" {
			r.Pieces[f.name] = piece
		}
		if err := p.keep(ctx, &s, folder(a.Platform), files); err != nil {
			return r, err
		}
	}
	r.Files = s.Files
	for _, q := range a.Packages {
		if _, ok := r.Notices[q.Repository]; ok || q.Repository == "" {
			continue
		}
		u, ok := update.Of(a, q.Repository)
		if !ok {
			break // it is withdrawn
		}
		if r.Notices[q.Repository], err = updateinfo.Make(u); err != nil {
			return r, err
		}
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

// joined adds to the share what is over all advisories of a platform.
func (p *Publisher) joined(ctx context.Context, a release.Ask, is shown, s *plan.Share) error {
	var updated time.Time
	for _, r := range is.advisories {
		if r.Updated.After(updated) {
			updated = r.Updated
		}
	}
	for _, f := range forms {
		if f.join == nil {
			continue
		}
		var pieces []advisory.Piece
		for _, r := range is.advisories {
			if p, ok := r.Pieces[f.name]; ok {
				pieces = append(pieces, p)
			}
		}
		files, err := f.join(is.dist, pieces, updated)
		if err != nil {
			return fmt.Errorf("as %s: %w", f.name, err)
		}
		if err := p.keep(ctx, s, folder(is.name), files); err != nil {
			return err
		}
	}
	for _, in := range a.Product.Repositories {
		if in.Platform != is.name {
			continue
		}
		var notices []updateinfo.Piece
		for _, r := range is.advisories {
			if n, ok := r.Notices[in.Path]; ok {
				notices = append(notices, n)
			}
		}
		if len(notices) == 0 {
			continue
		}
		f, err := updateinfo.Join(notices)
		if err != nil {
			return fmt.Errorf("repository %s: %w", in.Path, err)
		}
		if _, err := p.put(ctx, f.Name, f.Bytes); err != nil {
			return err
		}
		s.Records[in.Path] = []repodata.Record{f.Record}
	}
	return nil
}

// provider adds what tells of all platforms of the product where their documents of CSAF are
// and which key signs them. The one at the well-known place counts, where that is known from
// the platforms' addresses; else each platform has its own.
func (p *Publisher) provider(ctx context.Context, a release.Ask, shows []shown, s *plan.Share) error {
	const name = "provider-metadata.json"
	add := func(canonical, key string, of []shown, at ...string) error {
		var ds []advisory.Distribution
		var updated time.Time
		for _, is := range of {
			ds = append(ds, is.dist)
			for _, r := range is.advisories {
				if r.Updated.After(updated) {
					updated = r.Updated
				}
			}
		}
		var keys []csaf.Key
		for _, k := range of[0].dist.KeyFingerprints {
			if key != "" {
				keys = append(keys, csaf.Key{Fingerprint: k, URL: key})
			}
		}
		b, err := csaf.Provider(canonical, ds, keys, updated)
		if err != nil {
			return err
		}
		for _, path := range at {
			f, err := p.put(ctx, path, b)
			if err != nil {
				return err
			}
			s.Files = append(s.Files, plan.File{TreeFile: f})
		}
		return nil
	}
	byRoot := map[string][]shown{} // of one vendor and place
	for _, is := range shows {
		at, ok := strings.CutSuffix(is.dist.URL, "/"+folder(is.name))
		if !ok {
			at = ""
		}
		k := at + " " + is.dist.Vendor + " " + is.dist.Namespace
		byRoot[k] = append(byRoot[k], is)
	}
	for k, of := range byRoot {
		at, _, _ := strings.Cut(k, " ")
		if len(byRoot) == 1 && at != "" {
			paths := []string{csaf.WellKnown}
			for _, is := range of {
				paths = append(paths, folder(is.name)+"/"+csaf.Folder+name)
			}
			return add(at+"/"+csaf.WellKnown, at+"/RPM-GPG-KEY-"+a.Product.Name, of, paths...)
		}
		for _, is := range of {
			key := ""
			if at != "" {
				key = at + "/RPM-GPG-KEY-" + a.Product.Name
			}
			if err := add(is.dist.URL+"/"+csaf.Folder+name, key, []shown{is}, folder(is.name)+"/"+csaf.Folder+name); err != nil {
				return err
			}
		}
	}
	return nil
}

// cache keeps what advisories are in all forms, a file for each: what is lost is made again.
type cache struct{ dir string }

// shelf is the part of one platform of one product.
type shelf struct{ dir string }

func (c cache) shelf(product, platform string) shelf {
	return shelf{filepath.Join(c.dir, product, platform)}
}

const maxRendered = 256 << 20

// get returns what is kept under a name. A file that isn't what was written is none.
func (s shelf) get(name string) (rendered, bool) {
	var r rendered
	b, err := disk.ReadFile(filepath.Join(s.dir, name), maxRendered)
	if err != nil || len(b) < 64 || string(albs.DigestOf(b[64:])) != string(b[:64]) {
		return r, false
	}
	return r, gob.NewDecoder(bytes.NewReader(b[64:])).Decode(&r) == nil
}

// set keeps something under a name. A disk that is full keeps nothing.
func (s shelf) set(name string, r rendered) {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(r); err != nil {
		return
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return
	}
	body := append([]byte(albs.DigestOf(b.Bytes())), b.Bytes()...)
	if err := os.WriteFile(filepath.Join(s.dir, name), body, 0o600); err != nil {
		_ = os.Remove(filepath.Join(s.dir, name))
	}
}

// keep removes what has none of the names. What can't be listed stays.
func (s shelf) keep(names []string) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return
	}
	used := make(map[string]bool, len(names))
	for _, n := range names {
		used[n] = true
	}
	for _, e := range entries {
		if !used[e.Name()] {
			_ = os.Remove(filepath.Join(s.dir, e.Name()))
		}
	}
}
