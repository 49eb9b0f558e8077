package historytest

import (
	"context"
	"encoding/json"
	"fmt"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/db"
)

// byWorkers are the events that a worker's report may cause. All others are a
// person's doing or the master's own, and an approval is a person's alone.
const byWorkers = `kind LIKE 'task.%' OR kind IN ('build.built', 'build.signed', 'sign.failed', 'testrun.finished', 'rebuild.compared', 'rebuild.failed', 'key.generated',
	'document.signed', 'release.published', 'release.reverted', 'release.failed', 'tree.advanced', 'source.notarized', 'source.done', 'worker.key_kept',
	'errata.released', 'errata.reverted', 'errata.failed')`

// actors: I11, whatever a person has to do was done by one.
func (c *checker) actors(ctx context.Context) error {
	var rows []struct {
		ID    int64
		Kind  string
		Actor string
	}
	err := c.DB.SelectContext(ctx, &rows, `SELECT id, kind, actor FROM event
		WHERE actor NOT LIKE 'user:_%' AND NOT (actor LIKE 'system:_%' AND kind <> 'approval.given')
		AND NOT (actor LIKE 'worker:_%' AND (`+byWorkers+`)) ORDER BY id`)
	if err != nil {
		return fmt.Errorf("read actors: %w", err)
	}
	for _, r := range rows {
		c.broken("I11", "event %d %s was done by %q", r.ID, r.Kind, r.Actor)
	}
	return nil
}

// approvals: I11, what was signed as approved has as many approvals as its product
// asks for, each by another person, in the table of approvals with the same plan,
// and not by the planner where the product says so.
func (c *checker) approvals(ctx context.Context) error {
	var rows []struct {
		Envelope string
		Created  db.Time `db:"created_at"`
	}
	err := c.DB.SelectContext(ctx, &rows, `SELECT envelope, created_at FROM statement WHERE predicate = 'release-approved' ORDER BY id`)
	if err != nil {
		return fmt.Errorf("read approvals: %w", err)
	}
	for _, r := range rows {
		var body attest.ReleaseApprovedBody
		if err := open(r.Envelope, &body); err != nil {
			c.broken("I11", "an approval can't be read: %v", err)
			continue
		}
		if err := c.approved(ctx, body, r.Created); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) approved(ctx context.Context, body attest.ReleaseApprovedBody, at db.Time) error {
	policy, ok, err := c.policy(ctx, body.Product, at)
	if err != nil {
		return err
	}
	if !ok {
		c.broken("I11", "release %d was approved for product %q, which there was not", body.Release, body.Product)
		return nil
	}
	var planners []string
	if err := c.DB.SelectContext(ctx, &planners, `SELECT planner FROM release WHERE id = $1`, body.Release); err != nil {
		return fmt.Errorf("read release %d: %w", body.Release, err)
	}
	var people []string
	err = c.DB.SelectContext(ctx, &people, `SELECT u.name FROM approval a JOIN account u ON u.id = a.account_id
		WHERE a.subject = $1 AND a.digest = $2 AND a.at <= $3`, "release:"+albs.ReleaseID(body.Release).String(), body.Plan, at)
	if err != nil {
		return fmt.Errorf("read approvals of release %d: %w", body.Release, err)
	}
	known := map[string]bool{}
	for _, p := range people {
		known[p] = true
	}
	counted := map[string]bool{}
	for _, a := range body.Approvals {
		switch {
		case !known[a.Person]:
			c.broken("I11", "release %d names an approval by %s that %s never gave", body.Release, a.Person, a.Person)
		case policy.Approvals.Distinct && len(planners) == 1 && planners[0] == a.Person:
			c.broken("I11", "release %d was approved by %s, who planned it", body.Release, a.Person)
		default:
			counted[a.Person] = true
		}
	}
	if len(counted) < policy.Approvals.Count {
		c.broken("I11", "release %d of %s was signed for with %d approvals of %d", body.Release, body.Product, len(counted), policy.Approvals.Count)
	}
	return nil
}

// policy is what a product's document asks for.
type policy struct {
	Approvals struct {
		Count    int  `json:"count"`
		Distinct bool `json:"distinct"`
	} `json:"approvals"`
	Gate struct {
		Tests string `json:"tests"`
	} `json:"gate"`
}

// policy returns the policy of a product at a time, false if it had none that can be
// read.
func (c *checker) policy(ctx context.Context, product string, at db.Time) (p policy, ok bool, err error) {
	var specs []string
	err = c.DB.SelectContext(ctx, &specs, `SELECT spec FROM product WHERE name = $1 AND at <= $2 ORDER BY revision DESC LIMIT 1`, product, at)
	if err != nil {
		return p, false, fmt.Errorf("read product %s: %w", product, err)
	}
	return p, len(specs) > 0 && json.Unmarshal([]byte(specs[0]), &p) == nil, nil
}
