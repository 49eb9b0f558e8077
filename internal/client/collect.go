package client

import (
	"context"
	"net/url"
	"strconv"

	"albs/internal/albs"
)

// Collection is where the collection of garbage stands.
type Collection struct {
	Runs   int        `json:"runs"` // that have ended
	Step   string     `json:"step"` // "" if none runs
	Done   int        `json:"done"`
	Queued bool       `json:"queued"`
	Last   *Collected `json:"last"`
}

// Collected is what a collection did, or would have done.
type Collected struct {
	DryRun bool           `json:"dry_run"`
	Error  string         `json:"error"`
	Builds []albs.BuildID `json:"builds"`
	// Retired are the serials of products that were given up.
	Retired []struct {
		Product string  `json:"product"`
		Serials []int64 `json:"serials"`
		Oldest  int64   `json:"oldest"` // that is kept
	} `json:"retired"`
	Blobs struct {
		Blobs        int   `json:"blobs"`
		Bytes        int64 `json:"bytes"`
		Marked       int   `json:"marked"`
		Waiting      int   `json:"waiting"`
		WaitingBytes int64 `json:"waiting_bytes"`
		Removed      int   `json:"removed"`
		RemovedBytes int64 `json:"removed_bytes"`
	} `json:"blobs"`
	Logs struct {
		Tasks int   `json:"tasks"`
		Bytes int64 `json:"bytes"`
	} `json:"logs"`
	Mirrors int `json:"mirrors"`
}

// Collect begins a collection and returns how many had ended before.
func (c *Client) Collect(ctx context.Context, dryRun bool) (runs int, err error) {
	q := url.Values{"dry_run": {strconv.FormatBool(dryRun)}}
	doc, err := send[struct {
		Runs int `json:"runs"`
	}](ctx, c, "POST", "/gc/?"+q.Encode(), nil)
	return doc.Value.Runs, err
}

// Collection says where the collection of garbage stands.
func (c *Client) Collection(ctx context.Context) (Doc[Collection], error) {
	return get[Collection](ctx, c, "/gc/")
}
