package matching

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/master/errata"
	"albs/internal/master/errata/match"
	"albs/internal/rpm"
)

type packageRow struct {
	Platform string       `db:"platform"`
	BuildID  albs.BuildID `db:"build_id"`
	ItemID   albs.ItemID  `db:"item_id"`
	Name     string       `db:"name"`
	Epoch    int          `db:"epoch"`
	Version  string       `db:"version"`
	Release  string       `db:"release"`
	Arch     string       `db:"arch"`
	Module   string       `db:"module"`
	Source   string       `db:"source"`
	Unsigned albs.Digest  `db:"unsigned"`
}

const packageColumns = `platform, build_id, item_id, name, epoch, version, release, arch, module, source, unsigned`

func (r packageRow) nevra() rpm.NEVRA {
	return rpm.NEVRA{Name: r.Name, Epoch: r.Epoch, Version: r.Version, Release: r.Release, Arch: r.Arch}
}

func (r packageRow) candidate() match.Package {
	return match.Package{NEVRA: r.nevra(), Module: r.Module, Source: r.Source, Build: r.BuildID, Unsigned: r.Unsigned}
}

// packagesOf returns the packages that are known of an item of a build.
func packagesOf(ctx context.Context, q db.Q, item albs.ItemID) (rows []packageRow, err error) {
	err = q.SelectContext(ctx, &rows, `SELECT `+packageColumns+` FROM errata_package WHERE item_id = $1 ORDER BY id`, item)
	return rows, err
}

// packagesOfBuild likewise, of all items.
func packagesOfBuild(ctx context.Context, q db.Q, id albs.BuildID) (rows []packageRow, err error) {
	err = q.SelectContext(ctx, &rows, `SELECT `+packageColumns+` FROM errata_package WHERE build_id = $1 ORDER BY id`, id)
	return rows, err
}

// setPackages makes rows all that is known of an item.
func setPackages(ctx context.Context, tx db.Tx, item albs.ItemID, rows []packageRow) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM errata_package WHERE item_id = $1`, item); err != nil {
		return err
	}
	for _, r := range rows {
		_, err := tx.ExecContext(ctx, `INSERT INTO errata_package (`+packageColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
			r.Platform, r.BuildID, r.ItemID, r.Name, r.Epoch, r.Version, r.Release, r.Arch, r.Module, r.Source, r.Unsigned)
		if err != nil {
			return err
		}
	}
	return nil
}

// dropBuild forgets the packages of a build.
func dropBuild(ctx context.Context, tx db.Tx, id albs.BuildID) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM errata_package WHERE build_id = $1`, id)
	return err
}

// page is how many values one query compares with.
const page = 500

// named returns the packages of a platform that have one of the names.
func named(ctx context.Context, q db.Q, platform string, names []string) ([]packageRow, error) {
	var out []packageRow
	for some := range slices.Chunk(names, page) {
		query, args, err := db.In(`SELECT `+packageColumns+` FROM errata_package WHERE platform = ? AND name IN (?) ORDER BY id`, platform, some)
		if err != nil {
			return nil, err
		}
		var rows []packageRow
		if err := q.SelectContext(ctx, &rows, query, args...); err != nil {
			return nil, err
		}
		out = append(out, rows...)
	}
	return out, nil
}

// wished returns at most n packages, those of the newest builds first.
func wished(ctx context.Context, q db.Q, f Wish, n int) (rows []packageRow, err error) {
	var w db.Where
	w.If(true, "platform = $%d", f.Platform)
	w.If(f.Name != "", "name = $%d", f.Name)
	w.If(f.Build != 0, "build_id = $%d", f.Build)
	condition, args := w.SQL()
	args = append(args, n)
	err = q.SelectContext(ctx, &rows, fmt.Sprintf(`SELECT %s FROM errata_package WHERE %s ORDER BY build_id DESC, name, arch, id LIMIT $%d`, packageColumns, condition, len(args)), args...)
	return rows, err
}

// wanting returns the advisories of a platform that wait for a release and to which one of
// the names matters, by id.
func wanting(ctx context.Context, q db.Q, platform string, names []string) ([]errata.Key, error) {
	seen := map[string]bool{}
	for some := range slices.Chunk(names, page) {
		query, args, err := db.In(`SELECT DISTINCT m.advisory FROM errata_name n JOIN errata_matching m ON m.id = n.matching_id
			WHERE m.platform = ? AND m.pending = ? AND n.name IN (?)`, platform, true, some)
		if err != nil {
			return nil, err
		}
		var ids []string
		if err := q.SelectContext(ctx, &ids, query, args...); err != nil {
			return nil, err
		}
		for _, id := range ids {
			seen[id] = true
		}
	}
	var out []errata.Key
	for id := range seen {
		out = append(out, errata.Key{ID: id, Platform: platform})
	}
	slices.SortFunc(out, func(a, b errata.Key) int { return compareKeys(a, b) })
	return out, nil
}

type row struct {
	ID       int64  `db:"id"`
	Advisory string `db:"advisory"`
	Platform string `db:"platform"`
	Pending  bool   `db:"pending"`
	Stage    Stage  `db:"stage"`
	Wanted   int    `db:"wanted"`
	Lacking  int    `db:"lacking"`
	Open     int    `db:"unsettled"`
	Settled  int    `db:"settled"`
	Document string `db:"document"`
}

func (r row) standing() Standing {
	return Standing{Key: errata.Key{ID: r.Advisory, Platform: r.Platform}, Stage: r.Stage, Wanted: r.Wanted, Lacking: r.Lacking, Open: r.Open, Settled: r.Settled}
}

// load returns what is kept of an advisory; its ID is 0 if nothing is.
func load(ctx context.Context, q db.Q, k errata.Key) (row, state, error) {
	var r row
	var s state
	err := q.GetContext(ctx, &r, `SELECT id, advisory, platform, pending, stage, wanted, lacking, unsettled, settled, document
		FROM errata_matching WHERE platform = $1 AND advisory = $2`, k.Platform, k.ID)
	if errors.Is(err, sql.ErrNoRows) {
		return row{Advisory: k.ID, Platform: k.Platform}, s, nil
	}
	if err != nil {
		return r, s, fmt.Errorf("read matches of advisory %s: %w", k, err)
	}
	if err := json.Unmarshal([]byte(r.Document), &s); err != nil {
		return r, s, fmt.Errorf("decode matches of advisory %s: %w", k, err)
	}
	return r, s, nil
}

// save writes r, which load returned, with the state of an advisory. names are those that
// matter to it.
func save(ctx context.Context, tx db.Tx, r row, s state, names []string, rec errata.Record) error {
	k := rec.Key
	doc, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode matches of advisory %s: %w", k, err)
	}
	st := s.standing(rec)
	err = tx.GetContext(ctx, &r.ID, `INSERT INTO errata_matching (advisory, platform, pending, stage, wanted, lacking, unsettled, settled, document)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (platform, advisory) DO UPDATE SET pending = excluded.pending, stage = excluded.stage, wanted = excluded.wanted,
			lacking = excluded.lacking, unsettled = excluded.unsettled, settled = excluded.settled, document = excluded.document
		RETURNING id`, k.ID, k.Platform, rec.Pending, int(st.Stage), st.Wanted, st.Lacking, st.Open, st.Settled, string(doc))
	if err != nil {
		return fmt.Errorf("write matches of advisory %s: %w", k, err)
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM errata_name WHERE matching_id = $1`, r.ID); err != nil {
		return err
	}
	for _, n := range names {
		if _, err := tx.ExecContext(ctx, `INSERT INTO errata_name (matching_id, name) VALUES ($1, $2)`, r.ID, n); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM errata_build WHERE matching_id = $1`, r.ID); err != nil {
		return err
	}
	for _, b := range s.builds() {
		if _, err := tx.ExecContext(ctx, `INSERT INTO errata_build (matching_id, build_id) VALUES ($1, $2)`, r.ID, b); err != nil {
			return err
		}
	}
	return nil
}

// setPending writes whether an advisory waits for a release.
func setPending(ctx context.Context, q db.Tx, k errata.Key, pending bool) error {
	_, err := q.ExecContext(ctx, `UPDATE errata_matching SET pending = $1 WHERE platform = $2 AND advisory = $3`, pending, k.Platform, k.ID)
	return err
}

// queue returns the advisories that wait for a release, by platform and id.
func queue(ctx context.Context, q db.Q, f Filter) ([]Standing, error) {
	var w db.Where
	w.If(true, "pending = $%d", true)
	w.If(f.Platform != "", "platform = $%d", f.Platform)
	w.If(f.Stage != 0, "stage = $%d", int(f.Stage))
	condition, args := w.SQL()
	args = append(args, f.After.Platform, f.After.ID, f.Limit+1)
	n := len(args)
	var rows []row
	err := q.SelectContext(ctx, &rows, fmt.Sprintf(`SELECT id, advisory, platform, pending, stage, wanted, lacking, unsettled, settled, '' AS document
		FROM errata_matching WHERE %s AND (platform > $%d OR platform = $%d AND advisory > $%d) ORDER BY platform, advisory LIMIT $%d`,
		condition, n-2, n-2, n-1, n), args...)
	var out []Standing
	for _, r := range rows {
		out = append(out, r.standing())
	}
	return out, err
}

// Waiting narrows a list of advisories to those that wait for a release, and for that stage.
func Waiting(s Stage) errata.Only {
	return errata.Only{
		SQL: "EXISTS (SELECT 1 FROM errata_matching m WHERE m.advisory = a.name AND m.platform = a.platform AND m.pending AND m.stage = $%d)", Arg: int(s),
	}
}

// standings returns those of advisories of one platform.
func standings(ctx context.Context, q db.Q, platform string, ids []string) ([]Standing, error) {
	var out []Standing
	for some := range slices.Chunk(ids, page) {
		query, args, err := db.In(`SELECT id, advisory, platform, pending, stage, wanted, lacking, unsettled, settled, '' AS document
			FROM errata_matching WHERE platform = ? AND advisory IN (?) ORDER BY advisory`, platform, some)
		if err != nil {
			return nil, err
		}
		var rows []row
		if err := q.SelectContext(ctx, &rows, query, args...); err != nil {
			return nil, err
		}
		for _, r := range rows {
			out = append(out, r.standing())
		}
	}
	return out, nil
}

// counts returns how many advisories wait for a release in each stage.
func counts(ctx context.Context, q db.Q, platform string) (map[Stage]int, error) {
	var w db.Where
	w.If(true, "pending = $%d", true)
	w.If(platform != "", "platform = $%d", platform)
	condition, args := w.SQL()
	var rows []struct {
		Stage Stage `db:"stage"`
		N     int   `db:"n"`
	}
	err := q.SelectContext(ctx, &rows, `SELECT stage, COUNT(*) AS n FROM errata_matching WHERE `+condition+` GROUP BY stage`, args...)
	out := map[Stage]int{}
	for _, r := range rows {
		out[r.Stage] = r.N
	}
	return out, err
}

// ofBuild returns the advisories that packages of a build answer, or could.
func ofBuild(ctx context.Context, q db.Q, id albs.BuildID) ([]errata.Key, error) {
	var rows []row
	err := q.SelectContext(ctx, &rows, `SELECT m.advisory, m.platform FROM errata_build b JOIN errata_matching m ON m.id = b.matching_id
		WHERE b.build_id = $1 ORDER BY m.platform, m.advisory`, id)
	var out []errata.Key
	for _, r := range rows {
		out = append(out, errata.Key{ID: r.Advisory, Platform: r.Platform})
	}
	return out, err
}
