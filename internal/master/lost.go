package master

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"albs/internal/albs"
	"albs/internal/blob/scrub"
	"albs/internal/master/artifact"
	"albs/internal/master/release"
)

// maxLost is how many releases are named of one blob that is lost.
const maxLost = 20

// what says, for people, what a blob is and which releases it is part of.
func (m *Master) what(artifacts *artifact.Artifacts) func(context.Context, albs.Digest) (string, error) {
	return func(ctx context.Context, d albs.Digest) (string, error) {
		a, err := artifacts.Get(ctx, m.db, d)
		if errors.Is(err, albs.NotFound) {
			return "no build's file: a part of repositories' metadata, or of what nothing needs any more", nil
		}
		if err != nil {
			return "", err
		}
		held, err := m.releases.Holding(ctx, d)
		if err != nil {
			return "", err
		}
		return inWords(a, held), nil
	}
}

func inWords(a artifact.Artifact, held []release.Held) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", a.Kind, a.Name)
	if a.SignedBy != "" {
		fmt.Fprintf(&b, ", signed by %s: signing %s again gives other bytes", a.SignedBy, a.Unsigned.Short())
	}
	if len(held) == 0 {
		return b.String() + "; never released"
	}
	for i, h := range held {
		if i == maxLost {
			fmt.Fprintf(&b, " and %d more", len(held)-i)
			break
		}
		fmt.Fprintf(&b, "; in %s of product %s since release %d", h.Path, h.Product, h.Release)
	}
	return b.String()
}

// copies are where the bytes of blobs may lie beside their store: what the operator
// named, and the store's own cache.
func (b Blobs) copies(inS3 scrub.Copy) []scrub.Copy {
	var out []scrub.Copy
	if b.S3.Bucket != "" {
		out = append(out, inS3)
	}
	for _, dir := range b.Copies {
		out = append(out, scrub.Folder(dir))
	}
	return out
}
