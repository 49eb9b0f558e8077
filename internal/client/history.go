package client

import (
	"context"
	"net/url"
	"time"

	"albs/internal/albs"
)

// Shown is a repository as a product showed it.
type Shown struct {
	Product    string    `json:"product"`
	Repository string    `json:"repository"`
	Serial     int64     `json:"serial"`
	Since      time.Time `json:"since"`
}

// Held is a repository with what it held.
type Held struct {
	Shown
	Packages []struct {
		NEVRA  string      `json:"nevra"`
		SHA256 albs.Digest `json:"sha256"`
	} `json:"packages"`
	Records []struct {
		Type   string      `json:"type"`
		Name   string      `json:"name"`
		Digest albs.Digest `json:"digest"`
	} `json:"records"`
}

// RepoDiff is what changed between two repositories, or two moments of one.
type RepoDiff struct {
	From     Shown `json:"from"`
	To       Shown `json:"to"`
	Packages []struct {
		What string `json:"what"`
		Name string `json:"name"`
		Arch string `json:"arch"`
		From string `json:"from"`
		To   string `json:"to"`
	} `json:"packages"`
	Records []struct {
		What string      `json:"what"`
		Type string      `json:"type"`
		From albs.Digest `json:"from_sha256"`
		To   albs.Digest `json:"to_sha256"`
	} `json:"records"`
}

// ShowRepo returns what a repository, named PRODUCT/PATH and perhaps @SERIAL or @TIME,
// held, or NotFound.
func (c *Client) ShowRepo(ctx context.Context, repository string) (Doc[Held], error) {
	return get[Held](ctx, c, "/repositories/show?"+url.Values{"repository": {repository}}.Encode())
}

// DiffRepos returns what changed from one repository to another, named as for ShowRepo.
func (c *Client) DiffRepos(ctx context.Context, from, to string) (Doc[RepoDiff], error) {
	return get[RepoDiff](ctx, c, "/repositories/diff?"+url.Values{"from": {from}, "to": {to}}.Encode())
}
