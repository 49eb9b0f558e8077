package release

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"albs/internal/albs"
	"albs/internal/attest/effect"
	"albs/internal/master/artifact"
	"albs/internal/master/release/plan"
	"albs/internal/master/repo"
	"albs/internal/master/sign"
	"albs/internal/pgp"
	"albs/internal/repodata"
)

// next is what a publication shows, all of it durable.
type next struct {
	from         int64 // the serial that is shown now
	repositories []repositoryRow
	documents    map[albs.Digest]artifact.Artifact // the repomd.xml that are to be signed, by digest
	key          *artifact.Artifact                // the key file, if it is a new one
	files        []repodata.TreeFile
	kept         []artifact.Artifact          // of the parts, which are new
	signed       map[string]artifact.Artifact // those of them that are to be signed, by path
	effects      artifact.Artifact            // of the plan, which people approved and the signer reads
}

const extensions = 4 // repositories that are extended at once

// prepare makes the snapshots that a plan comes to. Repositories that it doesn't
// touch keep theirs, sealed as it is. It is errMoved if the product shows another
// serial than when the plan was computed.
func (r *Releases) prepare(ctx context.Context, what plan.Plan) (next, error) {
	n := next{documents: map[albs.Digest]artifact.Artifact{}}
	serial, tree, err := r.gather.Current(ctx, what.Product)
	if err != nil {
		return n, err
	}
	if serial != what.Serial {
		return n, errMoved // the plan doesn't know what was released since
	}
	n.from = serial
	if n.effects, err = r.artifacts.Save(ctx, bytes.NewReader(what.Effects().Encode()), effect.Max, "effects.json", artifact.Document); err != nil {
		return n, err
	}
	shown := map[string]albs.Digest{}
	for _, t := range tree.Repositories {
		shown[t.Path] = t.Snapshot
	}
	n.repositories = make([]repositoryRow, len(what.Repositories))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(extensions)
	for i, p := range what.Repositories {
		g.Go(func() (err error) {
			if n.repositories[i], err = r.extend(gctx, what.Key, p, shown[p.Path]); err != nil {
				return fmt.Errorf("repository %s: %w", p.Path, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return n, err
	}
	for _, row := range n.repositories {
		if row.Sealed != "" || n.documents[row.Repomd].Digest != "" {
			continue
		}
		a, err := r.document(ctx, row.Repomd)
		if err != nil {
			return n, fmt.Errorf("repository %s: %w", row.Path, err)
		}
		n.documents[row.Repomd] = a
	}
	tree.Files = plan.ApplyFiles(tree.Files, what.Files)
	n.kept, n.signed = shareOf(what)
	return n, r.keyFile(ctx, what, tree, &n)
}

// extend makes the next snapshot of one repository.
func (r *Releases) extend(ctx context.Context, key string, p plan.Repository, from albs.Digest) (repositoryRow, error) {
	row := repositoryRow{Path: p.Path}
	if from == "" {
		empty, err := repodata.Empty(ctx, r.repos.Blobs(), time.Now().Unix())
		if err != nil {
			return row, err
		}
		from = empty.Digest()
	}
	var add []artifact.Artifact
	for _, c := range p.Packages {
		if c.Action != plan.Add {
			continue
		}
		a, err := r.artifacts.Get(ctx, r.d, c.Digest)
		if err != nil {
			return row, err
		}
		add = append(add, a)
	}
	var records []repodata.Record
	if len(p.Records) > 0 {
		base, err := r.repos.Open(ctx, from)
		if err != nil {
			return row, err
		}
		records = plan.ApplyRecords(base.Records(), p.Records)
	}
	snapshot, err := r.repos.ExtendSnapshot(ctx, from, repo.Change{Add: add, Records: records, Compression: p.Metadata})
	if err != nil {
		return row, err
	}
	s, err := r.repos.Open(ctx, snapshot)
	if err != nil {
		return row, err
	}
	row.Snapshot, row.Repomd = snapshot, s.Repomd()
	if s.Signature() != "" {
		// Sealed before: by this key, or by one that the product had then.
		asc, err := r.signs.DocumentSignature(ctx, s.Repomd(), key)
		if err != nil && !errors.Is(err, albs.NotFound) {
			return row, err
		}
		if err == nil && albs.DigestOf(asc) == s.Signature() {
			row.Sealed = snapshot
		}
	}
	return row, nil
}

// document keeps a repomd.xml as an artifact, so that the signer can read it and
// the ledger has a record of it.
func (r *Releases) document(ctx context.Context, d albs.Digest) (artifact.Artifact, error) {
	body, err := r.artifacts.Blobs().Open(ctx, d)
	if err != nil {
		return artifact.Artifact{}, err
	}
	defer body.Close()
	return r.artifacts.Save(ctx, body, sign.MaxDocument, "repomd.xml", artifact.Document)
}

const maxKeyFile = 1 << 20

// keyFile puts RPM-GPG-KEY-<product> among the tree's files: the plan's key, the
// product's others, and those that the tree before had, for what they signed stays
// published. Those that were revoked since have the certificate of that.
func (r *Releases) keyFile(ctx context.Context, plan plan.Plan, tree repodata.Tree, n *next) error {
	name := "RPM-GPG-KEY-" + plan.Product
	var held string
	var shown repodata.TreeFile
	for _, f := range tree.Files {
		if f.Path != name {
			n.files = append(n.files, f)
			continue
		}
		body, err := r.artifacts.Open(ctx, f.Digest, 0, -1)
		if err != nil {
			return fmt.Errorf("key file as shown: %w", err)
		}
		b, err := io.ReadAll(io.LimitReader(body, maxKeyFile))
		if err := errors.Join(err, body.Close()); err != nil {
			return fmt.Errorf("key file as shown: %w", err)
		}
		held, shown = string(b), f
	}
	p, err := r.products.Get(ctx, plan.Product)
	if err != nil {
		return err
	}
	keys, err := r.signs.Keys(ctx)
	if err != nil {
		return err
	}
	text, err := keyText(plan.Key, p.AllKeys(), held, keys)
	if err != nil {
		return fmt.Errorf("key file: %w", err)
	}
	if text == held {
		n.files = append(n.files, shown)
		return nil
	}
	a, err := r.artifacts.Save(ctx, strings.NewReader(text), maxKeyFile, name, artifact.Document)
	if err != nil {
		return fmt.Errorf("key file: %w", err)
	}
	n.key = &a
	n.files = append(n.files, repodata.TreeFile{Path: name, Digest: a.Digest, Size: a.Size})
	return nil
}

// keyText returns a key file that begins with the key to use, since who imports only
// one takes that, goes on with what else the product names, and ends with what was held.
func keyText(use string, named []string, held string, all []sign.Key) (string, error) {
	var out []string
	add := func(public []byte) {
		if text := strings.TrimSpace(string(public)); text != "" && !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	for _, name := range append([]string{use}, named...) {
		for _, k := range all {
			if k.Fingerprint == name || k.Name == name {
				add(k.Public)
			}
		}
	}
	const end = "-----END PGP PUBLIC KEY BLOCK-----"
	for _, block := range strings.SplitAfter(held, end) {
		if !strings.Contains(block, end) {
			continue
		}
		kr, err := pgp.ReadKeyring([]byte(block))
		if err != nil {
			return "", err
		}
		for _, shown := range kr.Keys() {
			if i := slices.IndexFunc(all, func(k sign.Key) bool { return k.Fingerprint == shown.Fingerprint }); i >= 0 {
				add(all[i].Public) // it may have been revoked since
			} else {
				add([]byte(block))
			}
		}
	}
	return strings.Join(out, "\n") + "\n", nil
}
