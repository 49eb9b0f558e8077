package tlog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/transparency-dev/formats/proof"
	"github.com/transparency-dev/merkle/compact"
	mproof "github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/api/layout"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"

	"albs/internal/albs"
)

// Checkpoint is what a log said of itself at some time: all of its leaves by one hash.
type Checkpoint struct {
	Origin string
	Size   uint64
	Root   albs.Digest
	// Note is the checkpoint as it was signed, a c2sp.org/tlog-checkpoint.
	Note []byte
}

// ParseCheckpoint returns a checkpoint that the log with the key vkey signed, whoever
// witnessed it. The error is Invalid.
func ParseCheckpoint(b []byte, vkey string) (Checkpoint, error) {
	v, err := logKey(vkey)
	if err != nil {
		return Checkpoint{}, err
	}
	c, err := keys{logs: []note.Verifier{v}}.checkpoint(b)
	if err != nil {
		return Checkpoint{}, err
	}
	return Checkpoint{Origin: c.Origin, Size: c.Size, Root: albs.Digest(fmt.Sprintf("%x", c.Hash)), Note: b}, nil
}

// Reader reads the files of a log from a folder, in the layout of c2sp.org/tlog-tiles.
// Nothing that it reads is believed before it was proven.
type Reader struct{ dir string }

// Read returns a Reader of the log in dir; it does no I/O.
func Read(dir string) Reader { return Reader{dir} }

// The files of a log that have a name of their own.
const (
	checkpointFile = "checkpoint"
	vkeyFile       = "log.vkey"
)

// tilePath is what tlog-tiles calls its tiles and bundles of entries.
var tilePath = regexp.MustCompile(`^tile/([0-9]{1,2}|entries)(/x[0-9]{3}){0,6}/[0-9]{3}(\.p/[0-9]{1,3})?$`)

// Public reports whether a file of a log is for everybody, and whether it never changes:
// all is but the checkpoint and what is not full yet.
func Public(name string) (public, fixed bool) {
	if name == checkpointFile || name == vkeyFile {
		return true, false
	}
	m := tilePath.FindStringSubmatch(name)
	return m != nil, m != nil && m[3] == ""
}

// Checkpoint returns the newest checkpoint that was published, signed by the log with
// the key vkey. NotFound if there is none, Invalid if it is another's.
func (r Reader) Checkpoint(vkey string) (Checkpoint, error) {
	b, err := os.ReadFile(filepath.Join(r.dir, checkpointFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Checkpoint{}, albs.Errorf(albs.NotFound, "the log in %s has no checkpoint", r.dir)
	}
	if err != nil {
		return Checkpoint{}, fmt.Errorf("read checkpoint: %w", err)
	}
	return ParseCheckpoint(b, vkey)
}

func (r Reader) files() client.FileFetcher { return client.FileFetcher{Root: r.dir} }

// Entries calls yield for the leaves from index from up to that of index to, which is
// not among them, of a log that has to of them or more.
func (r Reader) Entries(ctx context.Context, from, to uint64, yield func(index uint64, leaf []byte) error) error {
	for from < to {
		bundle, err := client.GetEntryBundle(ctx, r.files().ReadEntryBundle, from/layout.EntryBundleWidth, to)
		if err != nil {
			return fmt.Errorf("read leaf %d of the log: %w", from, err)
		}
		first := from % layout.EntryBundleWidth
		if uint64(len(bundle.Entries)) <= first {
			return albs.Errorf(albs.Internal, "the log in %s lacks leaf %d", r.dir, from)
		}
		for _, leaf := range bundle.Entries[first:] {
			if from == to {
				break
			}
			if err := yield(from, leaf); err != nil {
				return err
			}
			from++
		}
	}
	return nil
}

// Proofs returns for each index the proof that the leaf there is in the log that c
// tells of, a c2sp.org/tlog-proof@v1, as Verify takes it.
func (r Reader) Proofs(ctx context.Context, c Checkpoint, indexes ...uint64) ([][]byte, error) {
	b, err := client.NewProofBuilder(ctx, c.Size, r.files().ReadTile)
	if err != nil {
		return nil, fmt.Errorf("prove: %w", err)
	}
	var out [][]byte
	for _, i := range indexes {
		hashes, err := b.InclusionProof(ctx, i)
		if err != nil {
			return nil, fmt.Errorf("prove leaf %d: %w", i, err)
		}
		p := proof.TLogProof{Index: i, Checkpoint: c.Note}
		for _, h := range hashes {
			p.Hashes = append(p.Hashes, [32]byte(h))
		}
		out = append(out, p.Marshal())
	}
	return out, nil
}

// Continues proves that the log that c tells of has all that the one of before had, in
// its place. Conflict if it hasn't: it was put back, or is another.
func (r Reader) Continues(ctx context.Context, before, c Checkpoint) error {
	if before.Size == 0 {
		return nil
	}
	if c.Size < before.Size {
		return albs.Errorf(albs.Conflict, "the log %s has %d leaves, and %d were published: it was put back", before.Origin, c.Size, before.Size)
	}
	b, err := client.NewProofBuilder(ctx, c.Size, r.files().ReadTile)
	if err != nil {
		return fmt.Errorf("prove consistency: %w", err)
	}
	hashes, err := b.ConsistencyProof(ctx, before.Size, c.Size)
	if err != nil {
		return fmt.Errorf("prove consistency: %w", err)
	}
	if err := mproof.VerifyConsistency(rfc6962.DefaultHasher, before.Size, c.Size, hashes, before.Root.Bytes(), c.Root.Bytes()); err != nil {
		return albs.Errorf(albs.Conflict, "the log %s has other leaves than the %d that were published: %w", before.Origin, before.Size, err)
	}
	return nil
}

// root returns the hash of the first size leaves; fs.ErrNotExist if some aren't there.
func (r Reader) root(ctx context.Context, size uint64) (albs.Digest, error) {
	h := rfc6962.DefaultHasher
	if size == 0 {
		return albs.Digest(fmt.Sprintf("%x", h.EmptyRoot())), nil
	}
	var gone error // FetchRangeNodes only keeps its words
	nodes, err := client.FetchRangeNodes(ctx, size, func(ctx context.Context, level, index uint64, p uint8) ([]byte, error) {
		b, err := r.files().ReadTile(ctx, level, index, p)
		if errors.Is(err, fs.ErrNotExist) {
			gone = fs.ErrNotExist
		}
		return b, err
	})
	if gone != nil {
		return "", fmt.Errorf("read the tree of the log: %w", gone)
	}
	if err != nil {
		return "", fmt.Errorf("read the tree of the log: %w", err)
	}
	tree, err := (&compact.RangeFactory{Hash: h.HashChildren}).NewRange(0, size, nodes)
	if err != nil {
		return "", fmt.Errorf("read the tree of the log: %w", err)
	}
	root, err := tree.GetRootHash(nil)
	return albs.Digest(fmt.Sprintf("%x", root)), err
}

// Check reads the whole log and holds its leaves and tiles to its checkpoint. The error
// is Conflict if they don't fit.
func (r Reader) Check(ctx context.Context, vkey string) error {
	quiet()
	v, err := logKey(vkey)
	if err != nil {
		return err
	}
	if err := fsck.New(v.Name(), v, r.files(), leafHashes, fsck.Opts{}).Check(ctx); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return albs.Errorf(albs.Conflict, "the log %s doesn't fit together: %w", v.Name(), err)
	}
	return nil
}

func leafHashes(b []byte) ([][]byte, error) {
	var bundle api.EntryBundle
	if err := bundle.UnmarshalText(b); err != nil {
		return nil, err
	}
	var out [][]byte
	for _, e := range bundle.Entries {
		out = append(out, rfc6962.DefaultHasher.HashLeaf(e))
	}
	return out, nil
}
