package errata

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/master/db"
)

type row struct {
	RowID        int64             `db:"id"`
	Name         string            `db:"name"`
	Platform     string            `db:"platform"`
	Revision     int64             `db:"revision"`
	State        State             `db:"state"`
	Reason       string            `db:"reason"`
	Frozen       bool              `db:"frozen"`
	Own          bool              `db:"own"`
	Type         advisory.Type     `db:"type"`
	Severity     advisory.Severity `db:"severity"`
	Title        string            `db:"title"`
	IssuedAt     db.Time           `db:"issued_at"`
	Document     string            `db:"document"`
	Original     string            `db:"original"`
	Content      int64             `db:"content"`
	Version      int               `db:"version"`
	Shown        int               `db:"shown"`
	ShownContent int64             `db:"shown_content"`
	ReleasingID  albs.ReleaseID    `db:"releasing_id"`
	ReleaseID    albs.ReleaseID    `db:"release_id"`
	CreatedAt    db.Time           `db:"created_at"`
	ChangedAt    db.Time           `db:"changed_at"`

	edited, original advisory.Advisory // what Document and Original say
}

const columns = `SELECT a.id, a.name, a.platform, a.revision, a.state, a.reason, a.frozen, a.own, a.type, a.severity, a.title, a.issued_at,
	a.document, a.original, a.content, a.version, a.shown, a.shown_content, a.releasing_id, a.release_id, a.created_at, a.changed_at FROM advisory a`

// waits is the condition that what is public lacks something of an advisory.
const waits = `a.content > a.shown_content AND NOT (a.state = 5 AND a.shown = 0)`

// key is the row's.
func (r row) key() Key { return Key{r.Name, r.Platform} }

// pending is waits for one row.
func (r row) pending() bool {
	return r.Content > r.ShownContent && !(r.edited.Withdrawn != nil && r.Shown == 0)
}

// at is what the row's next state depends on.
func (r row) at() at { return at{r.State, r.Shown != 0, r.edited.Withdrawn != nil} }

// happens puts the row into the state after h.
func (r *row) happens(h happening) error {
	next, err := r.at().next(h)
	if err != nil {
		return fmt.Errorf("advisory %s: %w", r.key(), err)
	}
	r.State = next
	return nil
}

// set makes a what the row has of the advisory as edited, and checks it.
func (r *row) set(a advisory.Advisory) error {
	a.Version = r.Version + 1
	a = a.Normal()
	if err := a.Check(); err != nil {
		return err
	}
	doc, err := encode(a)
	if err != nil {
		return err
	}
	r.edited, r.Document = a, doc
	r.Type, r.Severity, r.Title, r.IssuedAt = a.Type, a.Severity, a.Title, db.At(a.Issued)
	return nil
}

// encode returns an advisory as rows have it; TooLarge beyond advisory's bound.
func encode(a advisory.Advisory) (string, error) {
	b := a.Encode()
	if len(b) > advisory.MaxBytes {
		return "", albs.Errorf(albs.TooLarge, "advisory %s has %d bytes, at most %d go", a.ID, len(b), advisory.MaxBytes)
	}
	return string(b), nil
}

func (r *row) decode() error {
	for _, d := range []struct {
		text string
		into *advisory.Advisory
	}{{r.Document, &r.edited}, {r.Original, &r.original}} {
		if err := json.Unmarshal([]byte(d.text), d.into); err != nil {
			return fmt.Errorf("decode advisory %s: %w", r.key(), err)
		}
	}
	return nil
}

// record returns the row as faces see it; builds and products are by row.
func (r row) record(builds map[int64][]albs.BuildID, products map[int64][]Showing) Record {
	release := r.ReleaseID
	if r.ReleasingID != 0 {
		release = r.ReleasingID
	}
	return Record{
		Key: r.key(), Revision: r.Revision, State: r.State, Reason: r.Reason, Frozen: r.Frozen, Own: r.Own, Advisory: r.edited, Original: r.original,
		Builds: builds[r.RowID], Shown: r.Shown, ShownBy: products[r.RowID], Content: r.Content, Pending: r.pending(), Release: release, Created: r.CreatedAt.Time, Changed: r.ChangedAt.Time,
	}
}

// read returns the row of an advisory; NotFound if there is none.
func read(ctx context.Context, q db.Q, k Key) (row, error) {
	var r row
	err := q.GetContext(ctx, &r, columns+` WHERE a.name = $1 AND a.platform = $2`, k.ID, k.Platform)
	if err = db.Found(err, "advisory %.120q of platform %.80q", k.ID, k.Platform); err != nil {
		return r, err
	}
	return r, r.decode()
}

func get(ctx context.Context, q db.Q, k Key) (Record, error) {
	r, err := read(ctx, q, k)
	if err != nil {
		return Record{}, err
	}
	out, err := records(ctx, q, []row{r})
	if err != nil {
		return Record{}, err
	}
	return out[0], nil
}

// records returns the rows, which are decoded, as records.
func records(ctx context.Context, q db.Q, rows []row) ([]Record, error) {
	out := make([]Record, len(rows))
	if len(rows) == 0 {
		return out, nil
	}
	ids := make([]int64, len(rows))
	for i, r := range rows {
		ids[i] = r.RowID
	}
	query, args, err := db.In(`SELECT advisory_id, build_id FROM advisory_build WHERE advisory_id IN (?) ORDER BY advisory_id, build_id`, ids)
	if err != nil {
		return nil, err
	}
	var links []struct {
		AdvisoryID int64        `db:"advisory_id"`
		BuildID    albs.BuildID `db:"build_id"`
	}
	if err := q.SelectContext(ctx, &links, query, args...); err != nil {
		return nil, fmt.Errorf("read builds of advisories: %w", err)
	}
	builds := make(map[int64][]albs.BuildID)
	for _, l := range links {
		builds[l.AdvisoryID] = append(builds[l.AdvisoryID], l.BuildID)
	}
	query, args, err = db.In(`SELECT advisory_id, product, version, content FROM advisory_shown WHERE advisory_id IN (?) ORDER BY advisory_id, product`, ids)
	if err != nil {
		return nil, err
	}
	var shows []shownRow
	if err := q.SelectContext(ctx, &shows, query, args...); err != nil {
		return nil, fmt.Errorf("read which products show advisories: %w", err)
	}
	products := make(map[int64][]Showing)
	for _, s := range shows {
		products[s.AdvisoryID] = append(products[s.AdvisoryID], Showing{s.Product, s.Version})
	}
	for i, r := range rows {
		out[i] = r.record(builds, products)
	}
	return out, nil
}

type shownRow struct {
	AdvisoryID int64  `db:"advisory_id"`
	Product    string `db:"product"`
	Version    int    `db:"version"`
	Content    int64  `db:"content"`
}

// show has a product show a version of the row's advisory, 0 for none, and the row what comes
// of that: the newest version that is public, and the oldest content.
func (r *row) show(ctx context.Context, tx db.Tx, product string, version int, content int64) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM advisory_shown WHERE advisory_id = $1 AND product = $2`, r.RowID, product)
	if err == nil && version != 0 {
		_, err = tx.ExecContext(ctx, `INSERT INTO advisory_shown (advisory_id, product, version, content) VALUES ($1, $2, $3, $4)`, r.RowID, product, version, content)
	}
	if err != nil {
		return fmt.Errorf("note that product %s shows advisory %s: %w", product, r.key(), err)
	}
	var all []shownRow
	if err := tx.SelectContext(ctx, &all, `SELECT advisory_id, product, version, content FROM advisory_shown WHERE advisory_id = $1`, r.RowID); err != nil {
		return fmt.Errorf("read which products show advisory %s: %w", r.key(), err)
	}
	r.Shown, r.ShownContent = 0, 0
	for i, s := range all {
		r.Shown = max(r.Shown, s.Version)
		if i == 0 || s.Content < r.ShownContent {
			r.ShownContent = s.Content
		}
	}
	return nil
}

// shownBy returns the version that a product shows; 0 for none.
func shownBy(ctx context.Context, q db.Q, r row, product string) (version int, err error) {
	err = q.GetContext(ctx, &version, `SELECT COALESCE(MAX(version), 0) FROM advisory_shown WHERE advisory_id = $1 AND product = $2`, r.RowID, product)
	return version, err
}

// where is the condition of a query.
func (q Query) where() (string, []any) {
	var w db.Where
	w.If(q.Platform != "", "a.platform = $%d", q.Platform)
	w.If(q.Title != "", `LOWER(a.title) LIKE $%d ESCAPE '\'`, "%"+db.Like(strings.ToLower(q.Title))+"%")
	w.If(q.CVE != "", "EXISTS (SELECT 1 FROM advisory_cve c WHERE c.advisory_id = a.id AND c.cve = $%d)", q.CVE)
	w.If(q.State != 0, "a.state = $%d", int(q.State))
	w.If(q.Type != "", "a.type = $%d", string(q.Type))
	if q.Severity != nil {
		w.If(true, "a.severity = $%d", string(*q.Severity))
	}
	w.If(!q.Since.IsZero(), "a.issued_at >= $%d", db.At(q.Since))
	w.If(!q.Until.IsZero(), "a.issued_at < $%d", db.At(q.Until))
	w.If(q.Only.SQL != "", q.Only.SQL, q.Only.Arg)
	condition, args := w.SQL()
	if q.Pending {
		condition += " AND " + waits
	}
	if len(q.IDs) > 0 {
		marks := make([]string, len(q.IDs))
		for i, id := range q.IDs {
			args = append(args, id)
			marks[i] = fmt.Sprintf("$%d", len(args))
		}
		condition += " AND a.name IN (" + strings.Join(marks, ", ") + ")"
	}
	return condition, args
}

func list(ctx context.Context, q db.Q, f Query) (Page, error) {
	condition, args := f.where()
	if f.Before.ID != 0 {
		args = append(args, db.At(f.Before.Issued), f.Before.ID)
		condition += fmt.Sprintf(" AND (a.issued_at < $%d OR a.issued_at = $%d AND a.id < $%d)", len(args)-1, len(args)-1, len(args))
	}
	args = append(args, f.Limit+1, f.Skip)
	rows, err := selectRows(ctx, q, fmt.Sprintf(" WHERE %s ORDER BY a.issued_at DESC, a.id DESC LIMIT $%d OFFSET $%d", condition, len(args)-1, len(args)), args...)
	if err != nil {
		return Page{}, err
	}
	var p Page
	if len(rows) > f.Limit {
		rows = rows[:f.Limit]
		last := rows[f.Limit-1]
		p.Next = Place{last.IssuedAt.Time, last.RowID}
	}
	p.Records, err = records(ctx, q, rows)
	return p, err
}

func count(ctx context.Context, q db.Q, f Query) (n int, err error) {
	condition, args := f.where()
	err = q.GetContext(ctx, &n, `SELECT COUNT(*) FROM advisory a WHERE `+condition, args...)
	return n, err
}

func unreleased(ctx context.Context, q db.Q, platform string, after Key, n int) ([]Record, error) {
	var w db.Where
	w.If(platform != "", "a.platform = $%d", platform)
	condition, args := w.SQL()
	args = append(args, after.ID, after.Platform, n)
	i := len(args)
	rows, err := selectRows(ctx, q, fmt.Sprintf(` WHERE %s AND %s AND (a.name > $%d OR a.name = $%d AND a.platform > $%d) ORDER BY a.name, a.platform LIMIT $%d`,
		condition, waits, i-2, i-2, i-1, i), args...)
	if err != nil {
		return nil, err
	}
	return records(ctx, q, rows)
}

func selectRows(ctx context.Context, q db.Q, tail string, args ...any) ([]row, error) {
	var rows []row
	if err := q.SelectContext(ctx, &rows, columns+tail, args...); err != nil {
		return nil, err
	}
	for i := range rows {
		if err := rows[i].decode(); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

func summaries(ctx context.Context, q db.Q, platform string, yield func(Summary) error) error {
	for after := (Key{}); ; {
		var w db.Where
		w.If(platform != "", "a.platform = $%d", platform)
		condition, args := w.SQL()
		args = append(args, after.ID, after.Platform)
		i := len(args)
		rows, err := selectRows(ctx, q, fmt.Sprintf(` WHERE %s AND (a.name > $%d OR a.name = $%d AND a.platform > $%d) ORDER BY a.name, a.platform LIMIT 500`,
			condition, i-1, i-1, i), args...)
		if err != nil {
			return err
		}
		for _, r := range rows {
			if err := yield(Summary{Key: r.key(), Title: r.Title, State: r.State, Updated: r.edited.Updated}); err != nil {
				return err
			}
			after = r.key()
		}
		if len(rows) == 0 {
			return nil
		}
	}
}

// insert writes a new advisory; db.IsUnique tells that it is there.
func insert(ctx context.Context, tx db.Tx, r *row) error {
	err := tx.GetContext(ctx, &r.RowID, `INSERT INTO advisory (name, platform, revision, state, reason, frozen, own, type, severity, title, issued_at,
			document, original, content, version, shown, shown_content, releasing_id, release_id, created_at, changed_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21) RETURNING id`,
		r.Name, r.Platform, r.Revision, int(r.State), r.Reason, r.Frozen, r.Own, string(r.Type), string(r.Severity), r.Title, r.IssuedAt,
		r.Document, r.Original, r.Content, r.Version, r.Shown, r.ShownContent, r.ReleasingID, r.ReleaseID, r.CreatedAt, r.ChangedAt)
	if err != nil {
		return err
	}
	return indexCVEs(ctx, tx, r)
}

// update writes the row, which was read at revision before; a Conflict if it has another
// by now.
func update(ctx context.Context, tx db.Tx, r *row, before int64) error {
	res, err := tx.ExecContext(ctx, `UPDATE advisory SET revision = $1, state = $2, reason = $3, frozen = $4, type = $5, severity = $6, title = $7, issued_at = $8,
			document = $9, original = $10, content = $11, version = $12, shown = $13, shown_content = $14, releasing_id = $15, release_id = $16, changed_at = $17
		WHERE id = $18 AND revision = $19`,
		r.Revision, int(r.State), r.Reason, r.Frozen, string(r.Type), string(r.Severity), r.Title, r.IssuedAt,
		r.Document, r.Original, r.Content, r.Version, r.Shown, r.ShownContent, r.ReleasingID, r.ReleaseID, r.ChangedAt, r.RowID, before)
	if err := db.One(res, err, "advisory %s was changed at the same moment: look at it again", r.key()); err != nil {
		return err
	}
	return indexCVEs(ctx, tx, r)
}

func indexCVEs(ctx context.Context, tx db.Tx, r *row) error {
	var have []string
	if err := tx.SelectContext(ctx, &have, `SELECT cve FROM advisory_cve WHERE advisory_id = $1`, r.RowID); err != nil {
		return fmt.Errorf("read CVEs of advisory %s: %w", r.key(), err)
	}
	var want []string
	for _, c := range r.edited.CVEs {
		want = append(want, c.ID)
	}
	for _, c := range without(have, want) {
		if _, err := tx.ExecContext(ctx, `DELETE FROM advisory_cve WHERE advisory_id = $1 AND cve = $2`, r.RowID, c); err != nil {
			return fmt.Errorf("remove CVE of advisory %s: %w", r.key(), err)
		}
	}
	for _, c := range without(want, have) {
		if _, err := tx.ExecContext(ctx, `INSERT INTO advisory_cve (advisory_id, cve) VALUES ($1, $2)`, r.RowID, c); err != nil {
			return fmt.Errorf("add CVE of advisory %s: %w", r.key(), err)
		}
	}
	return nil
}

// setBuilds makes builds those of an advisory.
func setBuilds(ctx context.Context, tx db.Tx, id int64, builds []albs.BuildID) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM advisory_build WHERE advisory_id = $1`, id); err != nil {
		return err
	}
	for _, b := range slices.Compact(slices.Sorted(slices.Values(builds))) {
		if _, err := tx.ExecContext(ctx, `INSERT INTO advisory_build (advisory_id, build_id) VALUES ($1, $2)`, id, b); err != nil {
			return err
		}
	}
	return nil
}

type changeRow struct {
	Revision    int64   `db:"revision"`
	Kind        string  `db:"kind"`
	Actor       string  `db:"actor"`
	Reason      string  `db:"reason"`
	Differences string  `db:"differences"`
	At          db.Time `db:"at"`
}

func addChange(ctx context.Context, tx db.Tx, id int64, c Change) error {
	d := c.Differences
	if d == nil {
		d = []Difference{}
	}
	b, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("encode differences: %w", err)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO advisory_change (advisory_id, revision, kind, actor, reason, differences, at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		id, c.Revision, c.Kind, c.Actor, c.Reason, string(b), db.At(c.At))
	return err
}

func history(ctx context.Context, q db.Q, k Key, before int64) ([]Change, error) {
	r, err := read(ctx, q, k)
	if err != nil {
		return nil, err
	}
	if before <= 0 {
		before = math.MaxInt64
	}
	var rows []changeRow
	err = q.SelectContext(ctx, &rows, `SELECT revision, kind, actor, reason, differences, at FROM advisory_change
		WHERE advisory_id = $1 AND revision < $2 ORDER BY id DESC LIMIT $3`, r.RowID, before, MaxPage)
	if err != nil {
		return nil, fmt.Errorf("read changes of advisory %s: %w", k, err)
	}
	out := make([]Change, len(rows))
	for i, c := range rows {
		out[i] = Change{Revision: c.Revision, Kind: c.Kind, Actor: c.Actor, Reason: c.Reason, At: c.At.Time}
		if err := json.Unmarshal([]byte(c.Differences), &out[i].Differences); err != nil {
			return nil, fmt.Errorf("decode change %d of advisory %s: %w", c.Revision, k, err)
		}
	}
	return out, nil
}

// begun returns the ids, of all platforms, that begin with a prefix.
func begun(ctx context.Context, q db.Q, prefix string) (names []string, err error) {
	err = q.SelectContext(ctx, &names, `SELECT DISTINCT a.name FROM advisory a WHERE a.name LIKE $1 ESCAPE '\'`, db.Like(prefix)+"%")
	return names, err
}

// held returns what a release has in progress.
func held(ctx context.Context, q db.Q, release albs.ReleaseID) ([]Key, error) {
	if release == 0 {
		return nil, nil
	}
	var rows []struct {
		Name     string `db:"name"`
		Platform string `db:"platform"`
	}
	if err := q.SelectContext(ctx, &rows, `SELECT name, platform FROM advisory WHERE releasing_id = $1 AND releasing_id <> 0 ORDER BY name, platform`, release); err != nil {
		return nil, err
	}
	keys := make([]Key, len(rows))
	for i, r := range rows {
		keys[i] = Key{r.Name, r.Platform}
	}
	return keys, nil
}

type versionRow struct {
	Version   int            `db:"version"`
	Content   int64          `db:"content"`
	Document  string         `db:"document"`
	Digest    albs.Digest    `db:"digest"`
	ReleaseID albs.ReleaseID `db:"release_id"`
	At        db.Time        `db:"at"`
}

func (v versionRow) issue() Issue {
	return Issue{Version: v.Version, Digest: v.Digest, Release: v.ReleaseID, At: v.At.Time, Document: []byte(v.Document)}
}

func addVersion(ctx context.Context, tx db.Tx, id int64, v versionRow) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO advisory_version (advisory_id, version, content, document, digest, release_id, at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		id, v.Version, v.Content, v.Document, v.Digest, v.ReleaseID, v.At)
	return err
}

// version returns a version of the row's advisory; NotFound if there is none.
func version(ctx context.Context, q db.Q, r row, n int) (v versionRow, err error) {
	err = q.GetContext(ctx, &v, `SELECT version, content, document, digest, release_id, at FROM advisory_version WHERE advisory_id = $1 AND version = $2`, r.RowID, n)
	return v, db.Found(err, "version %d of advisory %s", n, r.key())
}

func versions(ctx context.Context, q db.Q, r row) ([]Issue, error) {
	var rows []versionRow
	err := q.SelectContext(ctx, &rows, `SELECT version, content, '' AS document, digest, release_id, at FROM advisory_version WHERE advisory_id = $1 ORDER BY version DESC`, r.RowID)
	if err != nil {
		return nil, fmt.Errorf("read versions of advisory %s: %w", r.key(), err)
	}
	out := make([]Issue, len(rows))
	for i, v := range rows {
		out[i] = v.issue()
	}
	return out, nil
}

// published yields what is public, a part of the list at a time: the reader may take long.
func published(ctx context.Context, q db.Q, platform string, yield func(advisory.Advisory) error) error {
	for after := ""; ; {
		var rows []struct {
			Name     string `db:"name"`
			Document string `db:"document"`
		}
		err := q.SelectContext(ctx, &rows, `SELECT a.name, v.document FROM advisory a JOIN advisory_version v ON v.advisory_id = a.id AND v.version = a.shown
			WHERE a.platform = $1 AND a.name > $2 ORDER BY a.name LIMIT 200`, platform, after)
		if err != nil {
			return err
		}
		for _, r := range rows {
			a, err := advisory.Parse([]byte(r.Document))
			if err != nil {
				return fmt.Errorf("advisory %s: %w", r.Name, err)
			}
			if err := yield(a); err != nil {
				return err
			}
			after = r.Name
		}
		if len(rows) == 0 {
			return nil
		}
	}
}

// publishedBy yields what a release published, a part of the list at a time.
func publishedBy(ctx context.Context, q db.Q, release albs.ReleaseID, yield func(advisory.Advisory) error) error {
	for after := (Key{}); ; {
		var rows []struct {
			Name     string `db:"name"`
			Platform string `db:"platform"`
			Document string `db:"document"`
		}
		err := q.SelectContext(ctx, &rows, `SELECT a.name, a.platform, v.document FROM advisory a JOIN advisory_version v ON v.advisory_id = a.id
			WHERE v.release_id = $1 AND (a.name > $2 OR a.name = $2 AND a.platform > $3) ORDER BY a.name, a.platform LIMIT 200`, release, after.ID, after.Platform)
		if err != nil {
			return err
		}
		for _, r := range rows {
			a, err := advisory.Parse([]byte(r.Document))
			if err != nil {
				return fmt.Errorf("advisory %s: %w", r.Name, err)
			}
			if err := yield(a); err != nil {
				return err
			}
			after = Key{r.Name, r.Platform}
		}
		if len(rows) == 0 {
			return nil
		}
	}
}
