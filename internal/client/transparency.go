package client

import (
	"context"
	"time"
)

// Transparency is where the public logs of releases stand.
type Transparency struct {
	Logs []struct {
		ID         int64     `json:"id"`
		Origin     string    `json:"origin"`
		VKey       string    `json:"vkey"`
		Size       int64     `json:"size"`
		Checkpoint string    `json:"checkpoint"`
		Begun      time.Time `json:"begun"`
	} `json:"logs"` // the last is the one that is appended to
	Waiting int `json:"waiting"`
	Entered int `json:"entered"`
	Proven  int `json:"proven"`
	Laid    int `json:"laid"`
	// Withdrawals that no checkpoint tells of yet, and those that the log tells of.
	Withdrawing int    `json:"withdrawing"`
	Withdrawn   int    `json:"withdrawn"`
	Trouble     string `json:"trouble"`
	Witnesses   int    `json:"witnesses"`
	Quorum      int    `json:"quorum"`
}

// TransparencyReport is what a check of the logs against the releases found.
type TransparencyReport struct {
	Leaves    int      `json:"leaves"`
	Packages  int      `json:"packages"`
	Withdrawn int      `json:"withdrawn"`
	Pending   int      `json:"pending"`
	Faults    []string `json:"faults"` // the first of those Found
	Found     int      `json:"found"`
}

// Transparency says where the public logs of releases stand.
func (c *Client) Transparency(ctx context.Context) (Doc[Transparency], error) {
	return get[Transparency](ctx, c, "/transparency/")
}

// CheckTransparency has the server hold its public logs to all that was released.
func (c *Client) CheckTransparency(ctx context.Context) (Doc[TransparencyReport], error) {
	return send[TransparencyReport](ctx, c, "POST", "/transparency/check", nil)
}
