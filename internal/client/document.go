package client

import (
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"albs/internal/albs"
)

// Document downloads what lies at path (below Prefix) as it is, a document of that
// media type and of at most limit bytes, asking again as Get does. It is for what
// others parse: bundles, trust files, public keys.
func (c *Client) Document(ctx context.Context, path, media string, limit int64) ([]byte, error) {
	var b []byte
	err := c.again(ctx, func() error {
		ctx, cancel := context.WithTimeout(ctx, c.Patience.Call)
		defer cancel()
		req, err := c.request(ctx, http.MethodGet, path, nil)
		if err != nil {
			return err
		}
		resp, err := c.do(req)
		if err != nil {
			return err
		}
		defer drain(resp)
		if got, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); got != media { // a page, for instance
			return albs.Errorf(albs.Internal, "%w", &Stranger{Host: req.URL.Host, Said: fmt.Sprintf("%.80q for %s", got, media)})
		}
		if b, err = io.ReadAll(io.LimitReader(resp.Body, limit+1)); err != nil {
			return unreached(ctx, c.Base(), err)
		}
		if int64(len(b)) > limit {
			return albs.Errorf(albs.TooLarge, "%s is larger than the %d bytes that are taken", path, limit)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return b, nil
}

// Bundle downloads the statements that lead to a package, and the proof that the
// ledger holds them, as albs verify wants them; limit bounds each. Of a package in the
// public log they are those that the log's proof is about, or if current, those of now.
func (c *Client) Bundle(ctx context.Context, d albs.Digest, current bool, limit int64) (envelopes, proof []byte, err error) {
	const lines = "application/jsonl"
	query := ""
	if current {
		query = "?current=true"
	}
	if envelopes, err = c.Document(ctx, artifactPath(d, "bundle"+query), lines, limit); err != nil {
		return nil, nil, err
	}
	proof, err = c.Document(ctx, artifactPath(d, "ledger-proof"+query), lines, limit)
	return envelopes, proof, err
}

// LogProof downloads the proof that the release of a package is in the public log, of at
// most limit bytes; NotFound if there is none, or not yet.
func (c *Client) LogProof(ctx context.Context, d albs.Digest, limit int64) ([]byte, error) {
	return c.Document(ctx, artifactPath(d, "log-proof"), "text/plain", limit)
}

// Summary downloads the verification summary of a package with all of that, of at most limit
// bytes; NotFound if there is none, or not yet.
func (c *Client) Summary(ctx context.Context, d albs.Digest, limit int64) ([]byte, error) {
	return c.Document(ctx, artifactPath(d, "vsa"), "application/json", limit)
}

// SBOM downloads the bill of materials of a package or of the root in which it was built (by
// its sha256 or NEVRA), of a build or a release (by its number), which of says, in a format
// of that media type; limit bounds it.
func (c *Client) SBOM(ctx context.Context, of, what, format, media string, limit int64) ([]byte, error) {
	media, _, _ = strings.Cut(media, ";")
	return c.Document(ctx, "/sbom/"+url.PathEscape(of)+"/"+url.PathEscape(what)+"?format="+url.QueryEscape(format), media, limit)
}

// Trust downloads what a stranger needs to verify packages of a product, of all if it is
// ""; without their keys it is what a signer needs. limit bounds it.
func (c *Client) Trust(ctx context.Context, product string, keys bool, limit int64) ([]byte, error) {
	q := url.Values{}
	if product != "" {
		q.Set("product", product)
	}
	if !keys {
		q.Set("keys", "false")
	}
	path := "/trust"
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return c.Document(ctx, path, jsonType, limit)
}
