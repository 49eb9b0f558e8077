package platform

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/singleflight"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/db"
	"albs/internal/repodata"
)

// pin is what a mirror showed at a time.
type pin struct {
	digest albs.Digest
	at     time.Time
}

const (
	pinAge      = time.Minute // a build of many packages pins once
	pinDeadline = 30 * time.Second
	maxRepomd   = 1 << 20
)

func repomdOf(url string) string { return url + "/repodata/repomd.xml" }

// pin returns the digest of the repomd.xml of the mirror at url, which is kept as
// a document. Askers at the same moment share one look; who gives up waiting
// doesn't end it for the others.
func (p *Platforms) pin(ctx context.Context, url string) (albs.Digest, error) {
	if d, ok := p.young(url); ok {
		return d, nil
	}
	ch := p.flights.DoChan(url, func() (any, error) {
		// A look may have ended between the one above and this one's begin.
		if d, ok := p.young(url); ok {
			return d, nil
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pinDeadline)
		defer cancel()
		d, err := p.look(ctx, url)
		if err == nil {
			p.mu.Lock()
			p.pins[url] = pin{d, time.Now()}
			p.mu.Unlock()
		}
		return d, err
	})
	var got singleflight.Result
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case got = <-ch:
	}
	d, _ := got.Val.(albs.Digest)
	return d, got.Err
}

// young returns the pin of the mirror at url if it was made within pinAge.
func (p *Platforms) young(url string) (albs.Digest, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.pins[url]
	return known.digest, known.digest != "" && time.Since(known.at) < pinAge
}

// look asks the mirror, and the database for what it showed last if the mirror
// doesn't answer with what it should.
func (p *Platforms) look(ctx context.Context, url string) (albs.Digest, error) {
	repomd, _, err := Repomd(ctx, p.outside, url)
	last, lastErr := lastPin(ctx, p.d, url)
	if lastErr != nil && albs.KindOf(lastErr) != albs.NotFound {
		return "", fmt.Errorf("read pin of %s: %w", url, lastErr)
	}
	if err != nil {
		if lastErr != nil {
			return "", albs.Errorf(albs.Unavailable, "the repository %s can't be used and was never seen before; check its URL and the egress policy, or try later: %w", url, err)
		}
		p.log.Warn().Err(err).Str("url", url).Str("repomd", string(last.Digest)).Time("seen", last.At.Time).Msg("mirror away, its last pin holds")
		return last.Digest, nil
	}
	d, err := p.documents.Pin(ctx, repomd)
	if err != nil {
		return "", fmt.Errorf("keep repomd.xml of %s: %w", url, err)
	}
	if d == last.Digest {
		return d, nil
	}
	err = p.d.InTx(ctx, func(tx db.Tx) error { return setPin(ctx, tx, url, d, db.Now()) })
	if err != nil {
		return "", fmt.Errorf("record pin of %s: %w", url, err)
	}
	return d, nil
}

// Repomd returns the bytes of the repomd.xml of the repository at url, and the primary
// metadata that it names by sha256, without which no package of the repository could be
// told from another. Errors are out's; Invalid for what is no such repomd.xml, TooLarge
// for one of more than a MiB.
func Repomd(ctx context.Context, out Outside, url string) ([]byte, repodata.RepomdData, error) {
	url = repomdOf(url)
	body, _, err := out.Get(ctx, url, maxRepomd)
	if err != nil {
		return nil, repodata.RepomdData{}, err
	}
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(body, maxRepomd+1))
	if err != nil {
		return nil, repodata.RepomdData{}, fmt.Errorf("read %s: %w", url, err)
	}
	if len(b) > maxRepomd {
		return nil, repodata.RepomdData{}, albs.Errorf(albs.TooLarge, "%s has more than %d bytes", url, maxRepomd)
	}
	md, err := repodata.ParseRepomd(bytes.NewReader(b))
	if err != nil {
		return nil, repodata.RepomdData{}, fmt.Errorf("parse %s: %w", url, err)
	}
	primary, ok := md.Find("primary")
	if !ok || primary.Digest == "" {
		return nil, repodata.RepomdData{}, albs.Errorf(albs.Invalid, "%s names no primary metadata by sha256", url)
	}
	return b, primary, nil
}

// Roots calls yield for the documents that mirrors are pinned to.
func (p *Platforms) Roots(ctx context.Context, _ db.Time, yield func(artifact.Ref) error) error {
	ds, err := pins(ctx, p.d)
	if err != nil {
		return fmt.Errorf("read pins: %w", err)
	}
	for _, d := range ds {
		if err := yield(artifact.Ref{Digest: d}); err != nil {
			return err
		}
	}
	return nil
}
