package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// ErrataCheck is what the public sees otherwise than a product's advisories say.
type ErrataCheck struct {
	Product    string    `json:"product"`
	Serial     int64     `json:"serial"`
	Advisories int       `json:"advisories"`
	Checked    time.Time `json:"checked"`
	Troubles   []struct {
		Kind       string `json:"kind"`
		Repository string `json:"repository"`
		Advisory   string `json:"advisory"`
		Package    string `json:"package"`
		Detail     string `json:"detail"`
	} `json:"troubles"`
	More      int      `json:"more"`      // troubles that aren't listed
	Unchecked []string `json:"unchecked"` // why something couldn't be checked
}

// CheckErrata has the server read back what the public sees of a product's advisories, and
// returns what was found.
func (c *Client) CheckErrata(ctx context.Context, product string) (Doc[ErrataCheck], error) {
	return send[ErrataCheck](ctx, c, http.MethodPost, "/products/"+url.PathEscape(product)+"/errata-check/", nil)
}

// ErrataChecked returns what was found last, or NotFound.
func (c *Client) ErrataChecked(ctx context.Context, product string) (Doc[ErrataCheck], error) {
	return get[ErrataCheck](ctx, c, "/products/"+url.PathEscape(product)+"/errata-check/")
}
