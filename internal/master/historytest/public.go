package historytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"albs/internal/albs"
	"albs/internal/pgp"
	"albs/internal/repodata"
)

// public: I7, what readers see is one complete tree that the master asked for, and
// each of its files is the one that the tree names.
func (c *checker) public(ctx context.Context) error {
	if c.Public == "" {
		return nil
	}
	var rows []albs.Digest
	if err := c.DB.SelectContext(ctx, &rows, `SELECT digest FROM artifact WHERE unsigned IS NOT NULL`); err != nil {
		return fmt.Errorf("read signed packages: %w", err)
	}
	signed := make(map[albs.Digest]bool, len(rows))
	for _, d := range rows {
		signed[d] = true
	}
	products, err := os.ReadDir(c.Public)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read public place: %w", err)
	}
	for _, p := range products {
		dir := filepath.Join(c.Public, p.Name())
		target, err := os.Readlink(filepath.Join(dir, "current"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read public place: %w", err)
		}
		serial, err := strconv.ParseInt(filepath.Base(target), 10, 64)
		if err != nil {
			c.broken("I7", "%s shows %q", p.Name(), target)
			continue
		}
		if err := c.shown(ctx, signed, dir, target, p.Name(), serial); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) shown(ctx context.Context, signed map[albs.Digest]bool, dir, target, product string, serial int64) error {
	doc, err := os.ReadFile(filepath.Join(dir, target, "tree.json"))
	if err != nil {
		c.broken("I7", "%s shows serial %d without its document: %v", product, serial, err)
		return nil
	}
	t, err := repodata.ParseTree(doc)
	if err != nil || t.Serial != serial || t.Product != product {
		c.broken("I7", "%s shows under %d the tree %d of %s (%v)", product, serial, t.Serial, t.Product, err)
		return nil
	}
	// The master may not have heard of the switch yet, but it asked for it.
	var asked int
	err = c.DB.GetContext(ctx, &asked, `SELECT count(*) FROM attempt WHERE spec LIKE $1`, "%"+string(albs.DigestOf(doc))+"%")
	if err != nil {
		return fmt.Errorf("read publish tasks: %w", err)
	}
	if asked == 0 {
		c.broken("I7", "%s shows serial %d, for which no task asked", product, serial)
	}
	for _, known := range c.trees {
		if known.Product == product && known.Serial > serial {
			c.broken("I7", "%s shows serial %d and is known to have shown %d", product, serial, known.Serial)
		}
	}
	same := func(name string, want albs.Digest) {
		got, err := c.digest(filepath.Join(dir, target, name))
		if errors.Is(err, fs.ErrNotExist) {
			c.broken("I7", "%s lacks %s: %v", product, name, err)
			return
		}
		if err != nil || got != want {
			c.broken("I7", "%s has %s with %s instead of %s (%v)", product, name, got.Short(), want.Short(), err)
		}
	}
	var keys [][]byte
	for _, f := range t.Files {
		same(f.Path, f.Digest)
		if b, err := c.bytes(ctx, f.Digest); err == nil && strings.HasPrefix(f.Path, "RPM-GPG-KEY") {
			keys = append(keys, b)
		}
	}
	for _, r := range t.Repositories {
		s, err := repodata.Open(ctx, blobs{c.Blobs}, r.Snapshot)
		if err != nil {
			c.broken("I4", "snapshot %s of %s: %v", r.Snapshot.Short(), r.Path, err)
			continue
		}
		if err := c.sealed(ctx, s, keys); err != nil {
			c.broken("I7", "%s shows %s without a good signature: %v", product, r.Path, err)
		}
		for _, f := range s.Files() {
			same(filepath.Join(r.Path, f.Path), f.Digest)
		}
		entries, err := c.entries(ctx, s)
		if err != nil {
			c.broken("I4", "snapshot %s of %s: %v", r.Snapshot.Short(), r.Path, err)
		}
		for _, e := range entries {
			same(filepath.Join(r.Path, e.Path), e.Digest)
			if !signed[e.Digest] {
				c.broken("I5", "%s shows %s in %s, which nobody signed", product, e.Path, r.Path)
			}
		}
	}
	return nil
}

// entries returns what a snapshot lists.
func (c *checker) entries(ctx context.Context, s *repodata.Snapshot) ([]repodata.Entry, error) {
	if es, ok := c.listed[s.Digest()]; ok {
		return es, nil
	}
	if len(c.listed) > 64 {
		clear(c.listed) // all but a few of them are of what isn't shown any more
	}
	var es []repodata.Entry
	err := s.Packages(ctx, blobs{c.Blobs}, func(e repodata.Entry) error {
		es = append(es, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	c.listed[s.Digest()] = es
	return es, nil
}

// digest hashes a file, unless it is one that was hashed before.
func (c *checker) digest(name string) (albs.Digest, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", fmt.Errorf("%s: there is no way to tell it from another file", name)
	}
	is := file{uint64(st.Dev), st.Ino, st.Size, st.Mtim, st.Ctim}
	if d, ok := c.read[is]; ok {
		return d, nil
	}
	d, _, err := albs.DigestReader(f)
	if err != nil {
		return "", err
	}
	c.read[is] = d
	return d, nil
}

// sealed verifies the signature of a snapshot's metadata by the keys that readers
// are given.
func (c *checker) sealed(ctx context.Context, s *repodata.Snapshot, keys [][]byte) error {
	if s.Signature() == "" {
		return errors.New("there is none")
	}
	kr, err := pgp.ReadKeyring(keys...)
	if err != nil {
		return err
	}
	repomd, err := c.bytes(ctx, s.Repomd())
	if err != nil {
		return err
	}
	asc, err := c.bytes(ctx, s.Signature())
	if err != nil {
		return err
	}
	_, _, err = kr.VerifyArmored(bytes.NewReader(repomd), asc)
	return err
}

// released: I8, a name of a released repository never stands for other bytes, by
// its trees and by what the master remembers.
func (c *checker) released(ctx context.Context) error {
	var rows []struct {
		Product string
		Path    string
		File    string
		Digest  albs.Digest
	}
	if err := c.DB.SelectContext(ctx, &rows, `SELECT product, path, file, digest FROM released_package`); err != nil {
		return fmt.Errorf("read released packages: %w", err)
	}
	files := make(map[string]albs.Digest, len(rows))
	for _, r := range rows {
		files[r.Product+" "+r.Path+" "+r.File] = r.Digest
	}
	for _, t := range c.trees {
		for _, r := range t.Repositories {
			once := fmt.Sprintf("names %s %s %s", t.Product, r.Path, r.Snapshot)
			if c.looked[once] {
				continue
			}
			before := len(c.found)
			s, err := repodata.Open(ctx, blobs{c.Blobs}, r.Snapshot)
			if err != nil {
				continue // references told it
			}
			part := func(d albs.Digest) string { return fmt.Sprintf("names %s %s %s", t.Product, r.Path, d) }
			known := make(map[albs.Digest]bool)
			for _, d := range s.Parts() {
				known[d] = c.looked[part(d)]
			}
			err = s.PackagesBut(ctx, blobs{c.Blobs}, known, func(e repodata.Entry) error {
				key := t.Product + " " + r.Path + " " + e.NEVRA.String()
				if d, ok := c.names[key]; ok && d != e.Digest {
					c.broken("I8", "%s was %s and is %s in serial %d", key, d.Short(), e.Digest.Short(), t.Serial)
				}
				c.names[key] = e.Digest
				file := t.Product + " " + r.Path + " " + filepath.Base(e.Path)
				if d, ok := files[file]; !ok || d != e.Digest {
					c.broken("I8", "%s is %s in serial %d and was released as %q", file, e.Digest.Short(), t.Serial, d.Short())
				}
				return nil
			})
			if err != nil {
				c.broken("I4", "snapshot %s: %v", r.Snapshot.Short(), err)
			}
			if len(c.found) == before {
				c.looked[once] = true
				for _, d := range s.Parts() {
					c.looked[part(d)] = true
				}
			}
		}
	}
	return nil
}
