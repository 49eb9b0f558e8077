package artifact

import (
	"context"
	"fmt"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/rpm"
)

type row struct {
	ID            int64       `db:"id"`
	Digest        albs.Digest `db:"digest"`
	Size          int64       `db:"size"`
	Kind          Kind        `db:"kind"`
	Name          string      `db:"name"`
	RPMName       string      `db:"rpm_name"`
	Epoch         int         `db:"rpm_epoch"`
	Version       string      `db:"rpm_version"`
	Release       string      `db:"rpm_release"`
	Arch          string      `db:"rpm_arch"`
	SourceRPM     string      `db:"source_rpm"`
	HeaderSHA256  albs.Digest `db:"header_sha256"`
	PayloadSHA256 albs.Digest `db:"payload_sha256"`
	Unsigned      albs.Digest `db:"unsigned"`
	SignedBy      string      `db:"signed_by"`
	At            db.Time     `db:"at"`
}

const columns = `SELECT id, digest, size, kind, name, rpm_name, rpm_epoch, rpm_version, rpm_release, rpm_arch,
	source_rpm, header_sha256, payload_sha256, unsigned, signed_by, at FROM artifact`

func (r row) artifact() Artifact {
	return Artifact{ID: r.ID, Digest: r.Digest, Size: r.Size, Kind: r.Kind, Name: r.Name, At: r.At,
		NEVRA:     rpm.NEVRA{Name: r.RPMName, Epoch: r.Epoch, Version: r.Version, Release: r.Release, Arch: r.Arch},
		SourceRPM: r.SourceRPM, HeaderSHA256: r.HeaderSHA256, PayloadSHA256: r.PayloadSHA256,
		Unsigned: r.Unsigned, SignedBy: r.SignedBy}
}

// insert adds a row, or makes the row of what was taken for no RPM that of the RPM
// that it is: the bytes are a package's whoever sent them as a log before.
func insert(ctx context.Context, tx db.Tx, a Artifact) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO artifact (digest, size, kind, name, rpm_name, rpm_epoch, rpm_version, rpm_release,
			rpm_arch, source_rpm, header_sha256, payload_sha256, unsigned, signed_by, at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
		ON CONFLICT (digest) DO UPDATE SET kind = excluded.kind, name = excluded.name, rpm_name = excluded.rpm_name,
			rpm_epoch = excluded.rpm_epoch, rpm_version = excluded.rpm_version, rpm_release = excluded.rpm_release,
			rpm_arch = excluded.rpm_arch, source_rpm = excluded.source_rpm, header_sha256 = excluded.header_sha256,
			payload_sha256 = excluded.payload_sha256, unsigned = excluded.unsigned, signed_by = excluded.signed_by
		WHERE excluded.kind IN ('rpm', 'srpm') AND artifact.kind NOT IN ('rpm', 'srpm')`,
		a.Digest, a.Size, a.Kind, a.Name, a.NEVRA.Name, a.NEVRA.Epoch, a.NEVRA.Version, a.NEVRA.Release,
		a.NEVRA.Arch, a.SourceRPM, a.HeaderSHA256, a.PayloadSHA256, a.Unsigned, a.SignedBy, a.At)
	return err
}

func get(ctx context.Context, q db.Q, d albs.Digest) (Artifact, error) {
	var r row
	if err := q.GetContext(ctx, &r, columns+` WHERE digest = $1`, string(d)); err != nil {
		return Artifact{}, db.Found(err, "artifact %.80s", d)
	}
	return r.artifact(), nil
}

func copies(ctx context.Context, q db.Q, unsigned []albs.Digest) ([]Artifact, error) {
	var out []Artifact
	for some := range slices.Chunk(unsigned, 500) {
		query, args, err := db.In(columns+` WHERE unsigned IN (?) ORDER BY id`, some)
		if err != nil {
			return nil, err
		}
		var rows []row
		if err := q.SelectContext(ctx, &rows, query, args...); err != nil {
			return nil, fmt.Errorf("read signed copies: %w", err)
		}
		for _, r := range rows {
			out = append(out, r.artifact())
		}
	}
	return out, nil
}

// after returns artifacts of some kinds behind the one with that id, in the order of ids.
func after(ctx context.Context, q db.Q, id int64, limit int, kinds []Kind) ([]Artifact, error) {
	query, args, err := db.In(columns+` WHERE kind IN (?) AND id > ? ORDER BY id LIMIT ?`, kinds, id, limit)
	if err != nil {
		return nil, err
	}
	var rows []row
	if err := q.SelectContext(ctx, &rows, query, args...); err != nil {
		return nil, fmt.Errorf("read artifacts: %w", err)
	}
	out := make([]Artifact, len(rows))
	for i, r := range rows {
		out[i] = r.artifact()
	}
	return out, nil
}

// named returns the packages of a NEVRA, source packages and signed copies too.
func named(ctx context.Context, q db.Q, n rpm.NEVRA, limit int) ([]Artifact, error) {
	var rows []row
	err := q.SelectContext(ctx, &rows, columns+` WHERE rpm_name = $1 AND rpm_version = $2 AND rpm_release = $3 AND rpm_arch = $4 AND (rpm_epoch = $5 OR $5 = 0) ORDER BY id LIMIT $6`,
		n.Name, n.Version, n.Release, n.Arch, n.Epoch, limit)
	if err != nil {
		return nil, fmt.Errorf("read packages %s: %w", n, err)
	}
	out := make([]Artifact, len(rows))
	for i, r := range rows {
		out[i] = r.artifact()
	}
	return out, nil
}

// The marks of what nothing reaches.

// perQuery is how many digests one statement names.
const perQuery = 500

func tombstones(ctx context.Context, q db.Q) (map[albs.Digest]db.Time, error) {
	var rows []struct {
		Digest albs.Digest `db:"digest"`
		At     db.Time     `db:"at"`
	}
	if err := q.SelectContext(ctx, &rows, `SELECT digest, at FROM tombstone`); err != nil {
		return nil, fmt.Errorf("read tombstones: %w", err)
	}
	out := make(map[albs.Digest]db.Time, len(rows))
	for _, r := range rows {
		out[r.Digest] = r.At
	}
	return out, nil
}

func tombstoned(ctx context.Context, q db.Q, d albs.Digest) (bool, error) {
	var n int
	if err := q.GetContext(ctx, &n, `SELECT count(*) FROM tombstone WHERE digest = $1`, string(d)); err != nil {
		return false, fmt.Errorf("look for tombstone of %s: %w", d.Short(), err)
	}
	return n > 0, nil
}

func addTombstones(ctx context.Context, tx db.Tx, ds []albs.Digest, at db.Time) error {
	for _, d := range ds {
		if _, err := tx.ExecContext(ctx, `INSERT INTO tombstone (digest, at) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING`, d, at); err != nil {
			return fmt.Errorf("insert tombstone of %s: %w", d.Short(), err)
		}
	}
	return nil
}

func dropTombstones(ctx context.Context, q db.Q, ds ...albs.Digest) error {
	for some := range slices.Chunk(ds, perQuery) {
		query, args, err := db.In(`DELETE FROM tombstone WHERE digest IN (?)`, some)
		if err != nil {
			return err
		}
		if _, err := q.ExecContext(ctx, query, args...); err != nil {
			return fmt.Errorf("remove tombstones: %w", err)
		}
	}
	return nil
}

// bury removes the rows of those of ds whose tombstones are no younger than before, and
// returns which they are.
func bury(ctx context.Context, tx db.Tx, ds []albs.Digest, before db.Time) ([]albs.Digest, error) {
	query, args, err := db.In(`DELETE FROM tombstone WHERE digest IN (?) AND at <= ? RETURNING digest`, ds, before)
	if err != nil {
		return nil, err
	}
	var due []albs.Digest
	if err := tx.SelectContext(ctx, &due, query, args...); err != nil {
		return nil, fmt.Errorf("take tombstones: %w", err)
	}
	if len(due) == 0 {
		return nil, nil
	}
	if query, args, err = db.In(`DELETE FROM artifact WHERE digest IN (?)`, due); err != nil {
		return nil, err
	}
	if _, err := tx.ExecContext(ctx, query, args...); err != nil {
		return nil, fmt.Errorf("remove artifacts: %w", err)
	}
	return due, nil
}
