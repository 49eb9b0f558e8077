package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"albs/internal/albs"
)

// BuildItem is one package of a build on one platform.
type BuildItem struct {
	ID       albs.ItemID `json:"id"`
	Package  string      `json:"package"`
	Platform string      `json:"platform"`
	State    string      `json:"state"`
	Reason   string      `json:"reason"`
	Started  time.Time   `json:"started_at"`
	Finished time.Time   `json:"finished_at"`
	// Verified tells that the ledger proves where the source is from; else Unverified why.
	Verified   bool   `json:"is_cas_authenticated"`
	Unverified string `json:"unverified"`
}

// Attempt is one try at a task.
type Attempt struct {
	Number   int       `json:"attempt"`
	Worker   string    `json:"worker"`
	State    string    `json:"state"`
	Reason   string    `json:"reason"`
	Started  time.Time `json:"started_at"`
	Finished time.Time `json:"finished_at"`
}

// Graph is who needs whom among the rebuilds of a build on one platform.
type Graph struct {
	Platform string      `json:"platform"`
	Order    string      `json:"order"`
	Waits    string      `json:"waits"` // why the edges aren't known yet
	Nodes    []GraphNode `json:"nodes"`
	Edges    []GraphEdge `json:"edges"`
	Cycles   []struct {
		Names string `json:"names"`
	} `json:"cycles"`
	Notes []string `json:"notes"`
}

// GraphNode is the rebuild of a package for an arch.
type GraphNode struct {
	ID       string         `json:"id"`
	Package  string         `json:"package"`
	Arch     albs.Arch      `json:"arch"`
	Task     albs.TaskID    `json:"task"`
	State    albs.TaskState `json:"state"`
	Excluded string         `json:"excluded"`
}

// GraphEdge says that one node needs another.
type GraphEdge struct {
	From     string   `json:"from"`
	To       string   `json:"to"`
	Requires []string `json:"requires"`
	Broken   string   `json:"broken"` // why it doesn't wait for it all the same
}

// Scheduled is a task of a build as it was done.
type Scheduled struct {
	Task     albs.TaskID    `json:"task"`
	Label    string         `json:"label"`
	Platform string         `json:"platform"`
	State    albs.TaskState `json:"state"`
	Worker   string         `json:"worker"`
	Ready    time.Time      `json:"ready_at"`
	Started  time.Time      `json:"started_at"`
	Finished time.Time      `json:"finished_at"`
	After    []albs.TaskID  `json:"after"`
	Reason   string         `json:"reason"`
}

// Graph returns who needs whom in a build, by platform.
func (c *Client) Graph(ctx context.Context, id albs.BuildID) (Doc[[]Graph], error) {
	return get[[]Graph](ctx, c, fmt.Sprintf("/builds/%d/graph", id))
}

// Schedule returns the tasks of a build in the order in which they were begun.
func (c *Client) Schedule(ctx context.Context, id albs.BuildID) (Doc[[]Scheduled], error) {
	return get[[]Scheduled](ctx, c, fmt.Sprintf("/builds/%d/schedule", id))
}

// Task returns a task of a build with the attempts at it.
func (c *Client) Task(ctx context.Context, id albs.BuildID, task albs.TaskID) (Doc[Task], error) {
	return get[Task](ctx, c, fmt.Sprintf("/builds/%d/tasks/%d/", id, task))
}

// CancelItem ends all of one item of a build that has not ended.
func (c *Client) CancelItem(ctx context.Context, id albs.BuildID, item albs.ItemID) (Doc[Build], error) {
	return send[Build](ctx, c, http.MethodPatch, fmt.Sprintf("/builds/%d/items/%d/cancel", id, item), nil)
}

// FreshItem makes the SRPM of one item of a build again, and then its rebuilds.
func (c *Client) FreshItem(ctx context.Context, id albs.BuildID, item albs.ItemID) (Doc[Build], error) {
	return send[Build](ctx, c, http.MethodPatch, fmt.Sprintf("/builds/%d/items/%d/fresh", id, item), nil)
}

// DeleteBuild hides a build.
func (c *Client) DeleteBuild(ctx context.Context, id albs.BuildID) error {
	return c.Send(ctx, http.MethodDelete, fmt.Sprintf("/builds/%d/remove", id), nil, nil)
}

// CloneBuild makes a build of what another was asked for: of the same commits, or, if
// fresh, of what the refs name by now. key is as in CreateBuild.
func (c *Client) CloneBuild(ctx context.Context, id albs.BuildID, fresh bool, key string) (Doc[Build], error) {
	var out Doc[Build]
	body, err := json.Marshal(map[string]bool{"fresh": fresh})
	if err != nil {
		return out, fmt.Errorf("encode request: %w", err)
	}
	a := call{method: http.MethodPost, path: fmt.Sprintf("/builds/%d/clone", id), media: jsonType, body: body, key: key}
	err = c.again(ctx, func() error { return c.exchange(ctx, a, &out) })
	return out, err
}
