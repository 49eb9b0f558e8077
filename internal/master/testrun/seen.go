package testrun

import (
	"context"

	"albs/internal/albs"
	"albs/internal/master/db"
)

// seenRow is a stage or a case of a package in one run.
type seenRow struct {
	Platform  string          `db:"platform"`
	Arch      albs.Arch       `db:"arch"`
	Package   string          `db:"package"`
	N         int             `db:"n"` // in the order in which they were carried out, or told
	Stage     albs.TestStage  `db:"stage"`
	Name      string          `db:"name"` // "" of a stage
	NEVRA     string          `db:"nevra"`
	Digest    albs.Digest     `db:"digest"`
	Inputs    albs.Digest     `db:"inputs"`
	Status    albs.TestStatus `db:"status"`
	Detail    string          `db:"detail"`
	RunID     int64           `db:"run_id"`
	BuildID   albs.BuildID    `db:"build_id"`
	TaskID    albs.TaskID     `db:"task_id"`
	Revision  int             `db:"revision"`
	CreatedAt db.Time         `db:"created_at"`
}

func (r seenRow) observation() Observation {
	return Observation{
		Point: Point{r.Platform, r.Arch, r.Package, r.Stage, r.Name}, NEVRA: r.NEVRA, Digest: r.Digest, Inputs: r.Inputs, Status: r.Status, Detail: r.Detail,
		Run: r.RunID, Build: r.BuildID, Task: r.TaskID, Revision: r.Revision, CreatedAt: r.CreatedAt.Time,
	}
}

const (
	seenColumns = `r.platform, r.arch, p.name AS package, p.nevra, p.digest, p.inputs, p.run_id AS run_id, r.build_id, r.task_id, r.revision, r.created_at`
	seenStages  = `SELECT ` + seenColumns + `, s.n, s.stage, '' AS name, s.status, s.reason AS detail
		FROM test_package p JOIN test_run r ON r.id = p.run_id JOIN test_stage s ON s.run_id = p.run_id AND s.digest = p.digest`
	seenCases = `SELECT ` + seenColumns + `, c.n, c.stage, c.name, c.status, c.detail
		FROM test_package p JOIN test_run r ON r.id = p.run_id JOIN test_case c ON c.run_id = p.run_id AND c.digest = p.digest`
)

// repeated returns what tests that were done more than once on the same inputs found out
// since a time, about the packages whose names a build has; the newest of very many.
func (s store) repeated(ctx context.Context, q db.Q, id albs.BuildID, since db.Time) ([]Observation, error) {
	const repeated = ` WHERE p.name IN (SELECT b.name FROM test_package b JOIN test_run x ON x.id = b.run_id WHERE x.build_id = $1 AND b.name <> '')
		AND p.inputs <> '' AND EXISTS (SELECT 1 FROM test_package o WHERE o.inputs = p.inputs AND o.run_id <> p.run_id) AND r.created_at >= $2`
	return s.seen(ctx, q, seenStages+repeated+` UNION ALL `+seenCases+repeated+` ORDER BY run_id DESC LIMIT 200000`, id, since)
}

// history returns what a point came to in runs below an id, or all with 0, the newest first.
func (s store) history(ctx context.Context, q db.Q, p Point, before int64, limit int) ([]Observation, error) {
	const about = ` WHERE p.name = $1 AND (r.platform = $2 OR $2 = '') AND (r.arch = $3 OR $3 = '') AND (p.run_id < $4 OR $4 = 0)`
	if p.Case == "" {
		return s.seen(ctx, q, seenStages+about+` AND (s.stage = $5 OR $5 = '') ORDER BY p.run_id DESC, p.nevra, s.n LIMIT $6`,
			p.Package, p.Platform, p.Arch, before, p.Stage, limit)
	}
	return s.seen(ctx, q, seenCases+about+` AND (c.stage = $5 OR $5 = '') AND c.name = $6 ORDER BY p.run_id DESC, p.nevra, c.n LIMIT $7`,
		p.Package, p.Platform, p.Arch, before, p.Stage, p.Case, limit)
}

func (s store) seen(ctx context.Context, q db.Q, query string, args ...any) ([]Observation, error) {
	var rows []seenRow
	if err := q.SelectContext(ctx, &rows, query, args...); err != nil {
		return nil, err
	}
	out := make([]Observation, len(rows))
	for i, r := range rows {
		out[i] = r.observation()
	}
	return out, nil
}
