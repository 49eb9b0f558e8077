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
	"albs/internal/advisory/csaf"
	"albs/internal/master/release"
	"albs/internal/master/release/plan"
	"albs/internal/repodata"
	"albs/internal/repodata/updateinfo"
)

const (
	typeUpdateinfo = "updateinfo"
	joiners        = 8 // files over all advisories that are made at once; most of the time is the disk's
)

// over is what is made over all advisories of a platform that have a piece of it: files of
// one form, or the record of a repository.
type over struct {
	name string   // of the form, or the path of the repository
	of   []string // the names of those advisories on the shelf, by id
	make func(pack func(parts [][]byte) []byte) (joined, error)
}

// joined is what came of it.
type joined struct {
	Files  []plan.File
	Record repodata.Record // no type: none
	// Rests are what is on the shelf for when it is made anew.
	Rests []string
}

// join makes what is over all advisories of a platform. What was made of the same pieces
// before isn't made again.
func (p *Publisher) join(ctx context.Context, o *outcome, a release.Ask, is *shown) error {
	overs := p.overs(o, a, is)
	out := make([]joined, len(overs))
	all, gctx := errgroup.WithContext(ctx)
	all.SetLimit(joiners)
	for i, v := range overs {
		all.Go(func() (err error) {
			if out[i], err = p.joinOne(gctx, o, is, v); err != nil {
				return fmt.Errorf("%s: %w", v.name, err)
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	for i, j := range out {
		o.files = append(o.files, j.Files...)
		if j.Record.Type != "" {
			o.records[overs[i].name] = []repodata.Record{j.Record}
		}
	}
	return nil
}

func (p *Publisher) joinOne(ctx context.Context, o *outcome, is *shown, v over) (joined, error) {
	head, err := json.Marshal(struct {
		Dist    advisory.Distribution
		Updated time.Time
		Name    string
		Of      []string
	}{is.dist, is.updated, v.name, v.of})
	if err != nil {
		return joined{}, fmt.Errorf("encode platform: %w", err)
	}
	name := p.cache.name("joined", head)
	var j joined
	if b, ok := is.shelf.get(name); ok && json.Unmarshal(b, &j) == nil {
		files := j.Files
		if j.Record.Type != "" {
			files = append(files, plan.File{TreeFile: repodata.TreeFile{Digest: j.Record.Digest}})
		}
		if there, err := o.there(ctx, files); err != nil || there {
			is.shelf.use(j.Rests...)
			return j, err
		}
	}
	var rests []string
	j, err = v.make(func(parts [][]byte) []byte {
		return gzipped(parts, func(b []byte) []byte {
			if len(b) < minPacked {
				return deflated(b)
			}
			name := p.cache.name("packed", b)
			rests = append(rests, name)
			z, ok := is.shelf.get(name)
			if !ok {
				z = deflated(b)
				is.shelf.set(name, z)
			}
			return z
		})
	})
	if err != nil {
		return j, err
	}
	j.Rests = rests
	b, err := json.Marshal(j)
	if err != nil {
		return j, fmt.Errorf("encode what was joined: %w", err)
	}
	is.shelf.set(name, b)
	return j, nil
}

// minPacked is from how many bytes on it is sooner to read what they are packed than to
// pack them.
const minPacked = 8 << 10

// overs returns what a platform is to have over all of its advisories.
func (p *Publisher) overs(o *outcome, a release.Ask, is *shown) []over {
	var out []over
	for i, f := range forms {
		if f.join == nil {
			continue
		}
		v := over{name: f.name}
		var pieces []advisory.Piece
		for _, r := range is.advisories {
			if r.pieces[i].ID != "" {
				v.of, pieces = append(v.of, r.name), append(pieces, r.pieces[i])
			}
		}
		v.make = func(pack func([][]byte) []byte) (joined, error) {
			files, err := f.join(is.dist, pieces, is.updated, pack)
			return joined{Files: o.keepAll(folder(is.name), files)}, err
		}
		out = append(out, v)
	}
	notices := map[string][]updateinfo.Piece{}
	names := map[string][]string{}
	for _, r := range is.advisories {
		for _, n := range r.notices {
			notices[n.repository] = append(notices[n.repository], n.Piece)
			names[n.repository] = append(names[n.repository], r.name)
		}
	}
	for _, in := range a.Product.Repositories {
		if in.Platform != is.name || len(names[in.Path]) == 0 {
			continue
		}
		out = append(out, over{in.Path, names[in.Path], func(func([][]byte) []byte) (joined, error) {
			f, err := updateinfo.Join(notices[in.Path])
			if err == nil {
				o.keep(f.Name, f.Bytes)
			}
			return joined{Record: f.Record}, err
		}})
	}
	return out
}

// provider adds what tells of all platforms of the product where their documents of CSAF are
// and which key signs them. The one at the well-known place counts, where that is known from
// the platforms' addresses; else each platform has its own.
func (p *Publisher) provider(o *outcome, a release.Ask, shows []*shown) error {
	const name = "provider-metadata.json"
	add := func(canonical, key string, of []*shown, at ...string) error {
		var ds []advisory.Distribution
		var updated time.Time
		for _, is := range of {
			ds = append(ds, is.dist)
			if is.updated.After(updated) {
				updated = is.updated
			}
		}
		var keys []csaf.Key
		for _, k := range of[0].keys {
			if key != "" {
				keys = append(keys, csaf.Key{Fingerprint: k, URL: key})
			}
		}
		b, err := csaf.Provider(canonical, ds, keys, updated)
		if err != nil {
			return err
		}
		f := o.keep(at[0], b)
		for _, f.Path = range at {
			o.files = append(o.files, plan.File{TreeFile: f})
		}
		return nil
	}
	byRoot := map[string][]*shown{} // of one vendor and place
	for _, is := range shows {
		at, ok := strings.CutSuffix(is.dist.URL, "/"+folder(is.name))
		if !ok {
			at = ""
		}
		k := at + " " + is.dist.Vendor + " " + is.dist.Namespace
		byRoot[k] = append(byRoot[k], is)
	}
	for _, k := range slices.Sorted(maps.Keys(byRoot)) {
		of := byRoot[k]
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
			if err := add(is.dist.URL+"/"+csaf.Folder+name, key, []*shown{is}, folder(is.name)+"/"+csaf.Folder+name); err != nil {
				return err
			}
		}
	}
	return nil
}
