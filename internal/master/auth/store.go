package auth

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"albs/internal/albs"
	"albs/internal/master/db"
)

type accountRow struct {
	ID         albs.UserID `db:"id"`
	Name       string      `db:"name"`
	CreatedAt  db.Time     `db:"created_at"`
	DisabledAt db.Time     `db:"disabled_at"`
}

type grantRow struct {
	Account albs.UserID `db:"account_id"`
	Role    Role        `db:"role"`
	Team    string      `db:"team"`
}

const (
	accountColumns = `SELECT id, name, created_at, disabled_at FROM account`
	grantColumns   = `SELECT r.account_id, r.role, COALESCE(t.name, '') AS team
		FROM account_role r LEFT JOIN team t ON t.id = r.team_id`
)

func insertAccount(ctx context.Context, tx db.Tx, name string, at db.Time) (id albs.UserID, err error) {
	err = tx.GetContext(ctx, &id, `INSERT INTO account (name, created_at) VALUES ($1, $2) RETURNING id`, name, at)
	return id, err
}

func countAccounts(ctx context.Context, q db.Q) (n int, err error) {
	err = q.GetContext(ctx, &n, `SELECT COUNT(*) FROM account`)
	return n, err
}

func countAdmins(ctx context.Context, q db.Q) (n int, err error) {
	err = q.GetContext(ctx, &n, `SELECT COUNT(*) FROM account_role r JOIN account a ON a.id = r.account_id
		WHERE r.role = $1 AND a.disabled_at IS NULL`, Admin)
	return n, err
}

func userByID(ctx context.Context, q db.Q, id albs.UserID) (User, error) {
	return oneUser(ctx, q, accountColumns+` WHERE id = $1`, id)
}

func userByName(ctx context.Context, q db.Q, name string) (User, error) {
	return oneUser(ctx, q, accountColumns+` WHERE name = $1`, name)
}

func oneUser(ctx context.Context, q db.Q, query string, arg any) (User, error) {
	var row accountRow
	if err := q.GetContext(ctx, &row, query, arg); err != nil {
		return User{}, db.Found(err, "user %v", arg)
	}
	var grants []grantRow
	err := q.SelectContext(ctx, &grants, grantColumns+` WHERE r.account_id = $1 ORDER BY r.role, team`, row.ID)
	if err != nil {
		return User{}, fmt.Errorf("read roles of user %d: %w", row.ID, err)
	}
	return row.user(grants), nil
}

func (r accountRow) user(grants []grantRow) User {
	u := User{ID: r.ID, Name: r.Name, CreatedAt: r.CreatedAt, DisabledAt: r.DisabledAt}
	for _, g := range grants {
		u.Grants = append(u.Grants, Grant{g.Role, g.Team})
	}
	return u
}

func users(ctx context.Context, q db.Q) ([]User, error) {
	var rows []accountRow
	if err := q.SelectContext(ctx, &rows, accountColumns+` ORDER BY name`); err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	var grants []grantRow
	if err := q.SelectContext(ctx, &grants, grantColumns+` ORDER BY r.account_id, r.role, team`); err != nil {
		return nil, fmt.Errorf("list roles: %w", err)
	}
	held := map[albs.UserID][]grantRow{}
	for _, g := range grants {
		held[g.Account] = append(held[g.Account], g)
	}
	out := make([]User, len(rows))
	for i, r := range rows {
		out[i] = r.user(held[r.ID])
	}
	return out, nil
}

func disableAccount(ctx context.Context, tx db.Tx, id albs.UserID, at db.Time) error {
	if _, err := tx.ExecContext(ctx, `UPDATE account SET disabled_at = $1 WHERE id = $2`, at, id); err != nil {
		return fmt.Errorf("disable user %d: %w", id, err)
	}
	_, err := tx.ExecContext(ctx, `UPDATE token SET revoked_at = $1 WHERE account_id = $2 AND revoked_at IS NULL`, at, id)
	if err != nil {
		return fmt.Errorf("revoke tokens of user %d: %w", id, err)
	}
	return nil
}

func insertGrant(ctx context.Context, tx db.Tx, id albs.UserID, role Role, team int64) (added bool, err error) {
	return changed(tx.ExecContext(ctx, `INSERT INTO account_role (account_id, role, team_id) VALUES ($1, $2, $3)
		ON CONFLICT DO NOTHING`, id, role, sql.NullInt64{Int64: team, Valid: team != 0}))
}

func deleteGrant(ctx context.Context, tx db.Tx, id albs.UserID, role Role, team string) (removed bool, err error) {
	return changed(tx.ExecContext(ctx, `DELETE FROM account_role WHERE account_id = $1 AND role = $2
		AND COALESCE((SELECT name FROM team WHERE team.id = account_role.team_id), '') = $3`, id, role, team))
}

func changed(r sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := r.RowsAffected()
	return n > 0, err
}

func insertTeam(ctx context.Context, tx db.Tx, name string, at db.Time) (added bool, err error) {
	return changed(tx.ExecContext(ctx, `INSERT INTO team (name, created_at) VALUES ($1, $2) ON CONFLICT DO NOTHING`, name, at))
}

func teamByName(ctx context.Context, q db.Q, name string) (t Team, err error) {
	err = q.GetContext(ctx, &t, `SELECT id, name, created_at FROM team WHERE name = $1`, name)
	return t, db.Found(err, "team %s", name)
}

func teams(ctx context.Context, q db.Q) (out []Team, err error) {
	if err = q.SelectContext(ctx, &out, `SELECT id, name, created_at FROM team ORDER BY name`); err != nil {
		return nil, fmt.Errorf("list teams: %w", err)
	}
	return out, nil
}

const tokenColumns = `SELECT id, account_id, prefix, note, created_at, used_at, expires_at, revoked_at FROM token`

func insertToken(ctx context.Context, tx db.Tx, t Token, hash albs.Digest) (id int64, err error) {
	err = tx.GetContext(ctx, &id, `INSERT INTO token (account_id, hash, prefix, note, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6) RETURNING id`, t.User, hash, t.Prefix, t.Note, t.CreatedAt, t.ExpiresAt)
	return id, err
}

func tokens(ctx context.Context, q db.Q, id albs.UserID) (out []Token, err error) {
	if err = q.SelectContext(ctx, &out, tokenColumns+` WHERE account_id = $1 ORDER BY id DESC`, id); err != nil {
		return nil, fmt.Errorf("list tokens of user %d: %w", id, err)
	}
	return out, nil
}

func tokenByID(ctx context.Context, q db.Q, id int64) (t Token, err error) {
	err = q.GetContext(ctx, &t, tokenColumns+` WHERE id = $1`, id)
	return t, db.Found(err, "token %d", id)
}

func tokenByHash(ctx context.Context, q db.Q, hash albs.Digest) (t Token, err error) {
	err = q.GetContext(ctx, &t, tokenColumns+` WHERE hash = $1`, hash)
	return t, db.Found(err, "such token")
}

func revokeToken(ctx context.Context, tx db.Tx, id int64, at db.Time) error {
	_, err := tx.ExecContext(ctx, `UPDATE token SET revoked_at = $1 WHERE id = $2`, at, id)
	return err
}

// touch notes the use of a row of token or worker; table is one of the two.
func touch(ctx context.Context, q db.Q, table string, id int64, at db.Time) error {
	_, err := q.ExecContext(ctx, `UPDATE `+table+` SET used_at = $1 WHERE id = $2`, at, id)
	return err
}

func insertSession(ctx context.Context, tx db.Tx, hash albs.Digest, token int64, at, expires db.Time) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO session (hash, token_id, created_at, expires_at) VALUES ($1, $2, $3, $4)`,
		hash, token, at, expires)
	return err
}

func sessionAccount(ctx context.Context, q db.Q, hash albs.Digest, now db.Time) (id albs.UserID, err error) {
	err = q.GetContext(ctx, &id, `SELECT t.account_id FROM session s JOIN token t ON t.id = s.token_id
		WHERE s.hash = $1 AND s.expires_at > $2 AND t.revoked_at IS NULL`, hash, now)
	return id, db.Found(err, "such session")
}

func deleteSession(ctx context.Context, q db.Q, hash albs.Digest) error {
	if _, err := q.ExecContext(ctx, `DELETE FROM session WHERE hash = $1`, hash); err != nil {
		return fmt.Errorf("end session: %w", err)
	}
	return nil
}

func deleteExpiredSessions(ctx context.Context, tx db.Tx, now db.Time) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM session WHERE expires_at <= $1`, now)
	return err
}

type workerRow struct {
	ID         albs.WorkerID `db:"id"`
	Name       string        `db:"name"`
	Role       albs.Role     `db:"role"`
	Labels     string        `db:"labels"`
	Prefix     string        `db:"prefix"`
	CreatedAt  db.Time       `db:"created_at"`
	UsedAt     db.Time       `db:"used_at"`
	DisabledAt db.Time       `db:"disabled_at"`
}

const workerColumns = `SELECT id, name, role, labels, prefix, created_at, used_at, disabled_at FROM worker`

func (r workerRow) worker() (Worker, error) {
	w := Worker{ID: r.ID, Name: r.Name, Role: r.Role, Prefix: r.Prefix,
		CreatedAt: r.CreatedAt, UsedAt: r.UsedAt, DisabledAt: r.DisabledAt}
	if err := json.Unmarshal([]byte(r.Labels), &w.Labels); err != nil {
		return Worker{}, fmt.Errorf("labels of worker %d: %w", r.ID, err)
	}
	return w, nil
}

// insertWorker stores w; an empty hash is stored as NULL and matches no token.
func insertWorker(ctx context.Context, tx db.Tx, w Worker, hash albs.Digest) (id albs.WorkerID, err error) {
	labels, err := json.Marshal(w.Labels)
	if err != nil {
		return 0, err
	}
	err = tx.GetContext(ctx, &id, `INSERT INTO worker (name, role, labels, hash, prefix, created_at)
		VALUES ($1, $2, $3, $4, $5, $6) RETURNING id`, w.Name, w.Role, string(labels), hash, w.Prefix, w.CreatedAt)
	return id, err
}

func updateWorker(ctx context.Context, tx db.Tx, w Worker) error {
	labels, err := json.Marshal(w.Labels)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE worker SET role = $1, labels = $2 WHERE id = $3`, w.Role, string(labels), w.ID)
	return err
}

func workerByID(ctx context.Context, q db.Q, id albs.WorkerID) (Worker, error) {
	return oneWorker(ctx, q, workerColumns+` WHERE id = $1`, id, fmt.Sprintf("worker %d", id))
}

func workerByName(ctx context.Context, q db.Q, name string) (Worker, error) {
	return oneWorker(ctx, q, workerColumns+` WHERE name = $1`, name, "worker "+name)
}

func workerByHash(ctx context.Context, q db.Q, hash albs.Digest) (Worker, error) {
	return oneWorker(ctx, q, workerColumns+` WHERE hash = $1`, hash, "such worker")
}

func oneWorker(ctx context.Context, q db.Q, query string, arg any, what string) (Worker, error) {
	var row workerRow
	if err := q.GetContext(ctx, &row, query, arg); err != nil {
		return Worker{}, db.Found(err, "%s", what)
	}
	return row.worker()
}

func workers(ctx context.Context, q db.Q) ([]Worker, error) {
	var rows []workerRow
	if err := q.SelectContext(ctx, &rows, workerColumns+` ORDER BY name`); err != nil {
		return nil, fmt.Errorf("list workers: %w", err)
	}
	out := make([]Worker, len(rows))
	for i, r := range rows {
		var err error
		if out[i], err = r.worker(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func disableWorker(ctx context.Context, tx db.Tx, id albs.WorkerID, at db.Time) error {
	_, err := tx.ExecContext(ctx, `UPDATE worker SET disabled_at = $1 WHERE id = $2`, at, id)
	return err
}

const keyColumns = `SELECT id, account_id, keyid, public, created_at, removed_at FROM account_key`

func insertKey(ctx context.Context, tx db.Tx, k Key) (id int64, err error) {
	err = tx.GetContext(ctx, &id, `INSERT INTO account_key (account_id, keyid, public, created_at) VALUES ($1, $2, $3, $4) RETURNING id`,
		k.User, k.KeyID, k.Public, k.CreatedAt)
	return id, err
}

func allKeys(ctx context.Context, q db.Q, id albs.UserID) (out []Key, err error) {
	if err = q.SelectContext(ctx, &out, keyColumns+` WHERE account_id = $1 ORDER BY id DESC`, id); err != nil {
		return nil, fmt.Errorf("list keys of user %d: %w", id, err)
	}
	return out, nil
}

func keysInUse(ctx context.Context, q db.Q, id albs.UserID) (out []Key, err error) {
	if err = q.SelectContext(ctx, &out, keyColumns+` WHERE account_id = $1 AND removed_at IS NULL ORDER BY id`, id); err != nil {
		return nil, fmt.Errorf("read keys of user %d: %w", id, err)
	}
	return out, nil
}

func keyByID(ctx context.Context, q db.Q, id int64) (k Key, err error) {
	err = q.GetContext(ctx, &k, keyColumns+` WHERE id = $1`, id)
	return k, db.Found(err, "key %d of a person", id)
}

func removeKey(ctx context.Context, tx db.Tx, id int64, at db.Time) error {
	if _, err := tx.ExecContext(ctx, `UPDATE account_key SET removed_at = $1 WHERE id = $2`, at, id); err != nil {
		return fmt.Errorf("remove key %d: %w", id, err)
	}
	return nil
}

// upsertApproval touches no row while an approval of the same person for the
// same digest is in force, unless that is a session's word and this one is signed; an
// expired one is replaced.
func upsertApproval(ctx context.Context, tx db.Tx, p Approval) (sql.Result, error) {
	return tx.ExecContext(ctx, `INSERT INTO approval (subject, digest, account_id, note, at, expires_at, keyid, envelope)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (subject, digest, account_id) DO UPDATE
		SET note = excluded.note, at = excluded.at, expires_at = excluded.expires_at, keyid = excluded.keyid, envelope = excluded.envelope
		WHERE approval.expires_at <= excluded.at OR approval.keyid <> excluded.keyid AND excluded.keyid <> ''`,
		p.Subject, p.Digest, p.User, p.Note, p.At, p.ExpiresAt, p.KeyID, p.Envelope)
}

func approvals(ctx context.Context, q db.Q, subject string, d albs.Digest, now db.Time) (out []Approval, err error) {
	err = q.SelectContext(ctx, &out, `SELECT p.id, p.subject, p.digest, p.account_id, a.name, p.note, p.at, p.expires_at, p.keyid, p.envelope
		FROM approval p JOIN account a ON a.id = p.account_id
		WHERE p.subject = $1 AND p.digest = $2 AND p.expires_at > $3 AND a.disabled_at IS NULL
		ORDER BY p.at, p.id`, subject, d, now)
	if err != nil {
		return nil, fmt.Errorf("list approvals of %s: %w", subject, err)
	}
	return out, nil
}
