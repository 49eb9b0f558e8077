package client

import (
	"context"
	"fmt"
	"time"

	"albs/internal/albs"
)

// TestRun is one run of the tests of what one build task left.
type TestRun struct {
	BuildTask albs.TaskID    `json:"build_task_id"`
	Task      albs.TaskID    `json:"task_id"` // whose logs lie below the build
	Revision  int            `json:"revision"`
	Status    string         `json:"status_text"` // created, started, completed, failed or cancelled
	State     albs.TaskState `json:"state"`
	Reason    string         `json:"reason"`
	Platform  string         `json:"platform"`
	Arch      albs.Arch      `json:"env_arch"`
	Started   time.Time      `json:"started_at"`
	Finished  time.Time      `json:"finished_at"`
	Packages  []Tested       `json:"packages"`
}

// Tested is what a run says of one package.
type Tested struct {
	NEVRA  string      `json:"nevra"`
	SHA256 albs.Digest `json:"sha256"`
	State  string      `json:"state"` // passed, failed, pending or missing
	Reason string      `json:"reason"`
}

// Tests lists all test runs of a build in the order of their making.
func (c *Client) Tests(ctx context.Context, id albs.BuildID) (Doc[[]TestRun], error) {
	return get[[]TestRun](ctx, c, fmt.Sprintf("/tests/build/%d/", id))
}
