package client

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"time"

	"albs/internal/albs"
)

// Record is a metadata file that a repository of a product was given.
type Record struct {
	Repository string      `json:"repository"` // its path in the product
	Type       string      `json:"type"`
	SHA256     albs.Digest `json:"sha256"` // of the file uncompressed
	Size       int64       `json:"size"`
	Files      []struct {
		Type   string      `json:"type"`
		Name   string      `json:"name"`
		Digest albs.Digest `json:"digest"`
	} `json:"files"`
	Actor string    `json:"given_by"`
	At    time.Time `json:"given_at"`
}

func recordsPath(product, typ, repository string) string {
	path := "/products/" + url.PathEscape(product) + "/metadata/" + url.PathEscape(typ)
	if repository == "" {
		return path
	}
	return path + "?" + url.Values{"repository": {repository}}.Encode()
}

// Records lists the metadata files of a product's repositories, or of the one with that
// path.
func (c *Client) Records(ctx context.Context, product, repository string) (Doc[[]Record], error) {
	return get[[]Record](ctx, c, recordsPath(product, "", repository))
}

// SetRecord gives a repository the file that is to be its metadata of a type.
func (c *Client) SetRecord(ctx context.Context, product, repository, typ string, file []byte) (Doc[[]Record], error) {
	var out Doc[[]Record]
	err := c.Upload(ctx, recordsPath(product, typ, repository), bytes.NewReader(file), int64(len(file)), &out)
	return out, err
}

// RemoveRecord takes the metadata of a type from a repository, or is NotFound.
func (c *Client) RemoveRecord(ctx context.Context, product, repository, typ string) error {
	return c.Send(ctx, http.MethodDelete, recordsPath(product, typ, repository), nil, nil)
}
