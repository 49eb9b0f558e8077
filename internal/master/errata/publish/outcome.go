package publish

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path"

	"golang.org/x/sync/errgroup"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/release/plan"
	"albs/internal/repodata"
)

// outcome gathers what a share shows. Files are stored while others are made, for a disk
// takes many at once in the time that it takes for one.
type outcome struct {
	ctx     context.Context // ends when a file can't be stored
	kept    *artifact.Artifacts
	stores  *errgroup.Group
	tree    map[string]albs.Digest // what is shown now, by path
	files   []plan.File
	records map[string][]repodata.Record
}

const storers = 16 // files that are stored at once

func (p *Publisher) outcome(ctx context.Context, shown repodata.Tree) *outcome {
	o := &outcome{kept: p.Artifacts, tree: make(map[string]albs.Digest, len(shown.Files)), records: map[string][]repodata.Record{}}
	for _, f := range shown.Files {
		o.tree[f.Path] = f.Digest
	}
	o.stores, o.ctx = errgroup.WithContext(ctx)
	o.stores.SetLimit(storers)
	return o
}

// stored waits until all that was kept is stored. Nothing is kept after it.
func (o *outcome) stored() error { return o.stores.Wait() }

// keep stores a file's bytes among the blobs and returns the file as the tree has it. It may
// be used concurrently. Whether it was stored, stored tells.
func (o *outcome) keep(name string, b []byte) repodata.TreeFile {
	f := repodata.TreeFile{Path: name, Digest: albs.DigestOf(b), Size: int64(len(b))}
	o.stores.Go(func() error {
		if _, err := o.kept.Blobs().Put(o.ctx, f.Digest, bytes.NewReader(b)); err != nil {
			return fmt.Errorf("keep %s: %w", name, err)
		}
		return nil
	})
	return f
}

// keepAll is keep of files of a form, whose paths are below a folder.
func (o *outcome) keepAll(dir string, files []advisory.File) []plan.File {
	var out []plan.File
	for _, f := range files {
		out = append(out, plan.File{TreeFile: o.keep(path.Join(dir, f.Path), f.Bytes), Sign: signed(f.Path)})
	}
	return out
}

// there reports whether files that were made before are shown now, or are stored; what is
// stored stays for the time that a plan has.
func (o *outcome) there(ctx context.Context, files []plan.File) (bool, error) {
	for _, f := range files {
		if o.tree[f.Path] == f.Digest {
			continue
		}
		var none nothing
		_, err := o.kept.Blobs().Put(ctx, f.Digest, &none) // of what is stored it reads nothing
		if none.read {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("look for %s: %w", f.Path, err)
		}
	}
	return true, nil
}

// nothing fails to be read, and tells whether it was.
type nothing struct{ read bool }

// Read implements io.Reader.
func (n *nothing) Read([]byte) (int, error) {
	n.read = true
	return 0, io.ErrUnexpectedEOF
}
