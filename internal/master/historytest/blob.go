package historytest

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/blob"
	"albs/internal/repodata"
)

type blobs struct{ blob.Store }

func (b blobs) Open(ctx context.Context, d albs.Digest) (io.ReadCloser, error) {
	return b.Store.Open(ctx, d)
}

// blobs: I3, the bytes of every artifact are there and hash to its name, and so do
// those of every other blob.
func (c *checker) blobs(ctx context.Context) error {
	var rows []struct {
		Digest albs.Digest
		Size   int64
		Name   string
	}
	if err := c.DB.SelectContext(ctx, &rows, `SELECT digest, size, name FROM artifact`); err != nil {
		return fmt.Errorf("read artifacts: %w", err)
	}
	told := make(map[albs.Digest]bool, len(rows))
	for _, r := range rows {
		told[r.Digest] = true
		if err := c.intact(ctx, r.Digest, r.Size); err != nil {
			c.broken("I3", "artifact %s (%s): %v", r.Name, r.Digest.Short(), err)
		}
	}
	err := c.Blobs.Walk(ctx, func(d albs.Digest, size int64) error {
		if told[d] {
			return nil
		}
		if err := c.intact(ctx, d, size); err != nil {
			c.broken("I3", "blob %s: %v", d.Short(), err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("walk blobs: %w", err)
	}
	return nil
}

// intact reads a blob whole, once; size < 0 is any.
func (c *checker) intact(ctx context.Context, d albs.Digest, size int64) error {
	h, ok := c.hashed[d]
	if !ok {
		h.size, h.err = c.hash(ctx, d)
		c.hashed[d] = h
	}
	if h.err == nil && size >= 0 && h.size != size {
		return fmt.Errorf("it has %d bytes instead of %d", h.size, size)
	}
	return h.err
}

func (c *checker) hash(ctx context.Context, d albs.Digest) (int64, error) {
	r, err := c.Blobs.Open(ctx, d)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	got, n, err := albs.DigestReader(r)
	if err == nil && got != d {
		err = fmt.Errorf("its bytes hash to %s", got.Short())
	}
	return n, err
}

func (c *checker) bytes(ctx context.Context, d albs.Digest) ([]byte, error) {
	r, err := c.Blobs.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// history reads the trees that products have shown: I4, each is there unless it was
// retired; I7, their serials count from 1 and the newest is current, and those retired
// are the oldest.
func (c *checker) history(ctx context.Context) error {
	var rows []struct {
		Product string
		Serial  int64
		Digest  albs.Digest
		Current bool
		Retired bool
	}
	if err := c.DB.SelectContext(ctx, &rows, `SELECT product, serial, digest, current, retired_at IS NOT NULL AS retired FROM tree ORDER BY product, serial`); err != nil {
		return fmt.Errorf("read trees: %w", err)
	}
	retired := 0
	for i, r := range rows {
		last := i == len(rows)-1 || rows[i+1].Product != r.Product
		first := i == 0 || rows[i-1].Product != r.Product
		if r.Current != last {
			c.broken("I7", "tree %d of %s: current is %v, and it is the newest: %v", r.Serial, r.Product, r.Current, last)
		}
		if first && r.Serial < 1 || !first && r.Serial <= rows[i-1].Serial {
			c.broken("I7", "tree %d of %s doesn't come after the one before", r.Serial, r.Product)
		}
		if r.Retired {
			if retired++; r.Current || !first && !rows[i-1].Retired {
				c.broken("I7", "tree %d of %s is retired, and is current or comes after one that isn't", r.Serial, r.Product)
			}
			continue
		}
		b, err := c.bytes(ctx, r.Digest)
		if err != nil {
			c.broken("I4", "tree %d of %s: %v", r.Serial, r.Product, err)
			continue
		}
		t, err := repodata.ParseTree(b)
		if err != nil || t.Product != r.Product || t.Serial != r.Serial {
			c.broken("I7", "tree %d of %s: its document is that of %d of %s (%v)", r.Serial, r.Product, t.Serial, t.Product, err)
			continue
		}
		c.trees = append(c.trees, shownTree{t, r.Digest})
	}
	if retired != c.retired { // what was needed by these may go
		c.retired = retired
		clear(c.needed)
		maps.DeleteFunc(c.looked, func(what string, _ bool) bool { return strings.HasPrefix(what, "reach ") })
	}
	return nil
}

// references: I4, whatever a current pointer, a release or a tree reaches is there.
func (c *checker) references(ctx context.Context) error {
	var snapshots []albs.Digest
	const kept = ` FROM release_repository p JOIN release r ON r.id = p.release_id WHERE NOT EXISTS (SELECT 1 FROM tree t
		WHERE t.product = r.product AND t.serial = r.serial AND t.retired_at IS NOT NULL)`
	err := c.DB.SelectContext(ctx, &snapshots, `SELECT snapshot FROM repository WHERE snapshot IS NOT NULL
		UNION SELECT p.snapshot`+kept+` UNION SELECT p.sealed`+kept+` AND p.sealed IS NOT NULL`)
	if err != nil {
		return fmt.Errorf("read snapshots: %w", err)
	}
	for _, t := range c.trees {
		for _, r := range t.Repositories {
			snapshots = append(snapshots, r.Snapshot)
		}
		for _, f := range t.Files {
			if err := c.intact(ctx, f.Digest, f.Size); err != nil {
				c.broken("I4", "file %s of tree %d of %s: %v", f.Path, t.Serial, t.Product, err)
			}
		}
	}
	if err := c.stillThere(ctx); err != nil {
		return err
	}
	known := make(map[albs.Digest]bool)
	slices.Sort(snapshots)
	for _, d := range slices.Compact(snapshots) {
		if c.looked["reach "+string(d)] {
			continue
		}
		before := len(c.found)
		s, err := repodata.Open(ctx, blobs{c.Blobs}, d)
		if err != nil {
			c.broken("I4", "snapshot %s: %v", d.Short(), err)
			continue
		}
		for _, part := range s.Parts() {
			known[part] = c.looked["reach "+string(part)]
		}
		err = s.Reach(ctx, blobs{c.Blobs}, known, func(d albs.Digest) error {
			if err := c.intact(ctx, d, -1); err != nil {
				c.broken("I4", "snapshot %s needs %s: %v", s.Digest().Short(), d.Short(), err)
			}
			c.needed[d] = s.Digest()
			return nil
		})
		if err != nil {
			c.broken("I4", "snapshot %s: %v", d.Short(), err)
		}
		if len(c.found) == before {
			c.looked["reach "+string(d)] = true
			for _, part := range s.Parts() {
				c.looked["reach "+string(part)] = true
			}
		}
	}
	return nil
}

// stillThere: I4, what was there when the snapshots were looked at that need it.
func (c *checker) stillThere(ctx context.Context) error {
	if len(c.needed) == 0 {
		return nil
	}
	there := make(map[albs.Digest]bool, len(c.needed))
	if err := c.Blobs.Walk(ctx, func(d albs.Digest, _ int64) error { there[d] = true; return nil }); err != nil {
		return fmt.Errorf("walk blobs: %w", err)
	}
	for d, snapshot := range c.needed {
		if !there[d] {
			c.broken("I4", "snapshot %s needs %s, which was there before", snapshot.Short(), d.Short())
		}
	}
	return nil
}

// references to files that must be artifacts, by what refers to them. Those of deleted
// builds are kept for others alone.
var references = []struct{ who, query string }{
	{"a build", `SELECT a.digest FROM build_artifact a JOIN build b ON b.id = a.build_id WHERE b.deleted_at IS NULL`},
	{"a build's item", `SELECT i.srpm AS digest FROM build_item i JOIN build b ON b.id = i.build_id WHERE i.srpm IS NOT NULL AND b.deleted_at IS NULL`},
	{"a test's log", `SELECT l.digest FROM test_log l JOIN test_run r ON r.id = l.run_id JOIN build b ON b.id = r.build_id WHERE b.deleted_at IS NULL`},
	{"a test", `SELECT p.digest FROM test_package p JOIN test_run r ON r.id = p.run_id JOIN build b ON b.id = r.build_id WHERE b.deleted_at IS NULL`},
	// Packages that it left are kept for a while only.
	{"a rebuild", `SELECT f.digest FROM rebuild_file f JOIN rebuild r ON r.id = f.rebuild_id JOIN build b ON b.id = r.build_id WHERE b.deleted_at IS NULL AND f.kind <> 'source'`},
	{"a signed package", `SELECT unsigned AS digest FROM artifact WHERE unsigned IS NOT NULL`},
	{"a wish for a signature", `SELECT p.unsigned AS digest FROM sign_package p JOIN sign_task t ON t.task_id = p.task_id WHERE NOT t.ended`},
	{"a signature", `SELECT signed AS digest FROM signed_package`},
	{"a release", `SELECT digest FROM released_package`},
}

// named: I4, every file that a row names is an artifact.
func (c *checker) named(ctx context.Context) error {
	for _, r := range references {
		var lost []albs.Digest
		err := c.DB.SelectContext(ctx, &lost, `SELECT DISTINCT d.digest FROM (`+r.query+`) d
			WHERE NOT EXISTS (SELECT 1 FROM artifact WHERE artifact.digest = d.digest) ORDER BY d.digest`)
		if err != nil {
			return fmt.Errorf("read what is named by %s: %w", r.who, err)
		}
		for _, d := range lost {
			c.broken("I4", "%s names %s, which is no artifact", r.who, d.Short())
		}
	}
	return nil
}
