package sign

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"albs/internal/albs"
	"albs/internal/master/db"
)

type store struct{ d *db.DB }

type keyRow struct {
	Fingerprint   string  `db:"fingerprint"`
	Name          string  `db:"name"`
	UserID        string  `db:"user_id"`
	Algorithm     string  `db:"algorithm"`
	Products      string  `db:"products"`
	Public        string  `db:"public"`
	CreatedAt     db.Time `db:"created_at"`
	Active        bool    `db:"active"`
	Subkey        string  `db:"subkey"`
	Kept          string  `db:"kept"`
	NotBefore     db.Time `db:"not_before"`
	NotAfter      db.Time `db:"not_after"`
	RevokedAt     db.Time `db:"revoked_at"`
	RevokedPublic string  `db:"revoked_public"`
}

const keyColumns = `fingerprint, name, user_id, algorithm, products, public, created_at, active, subkey, kept, not_before, not_after, revoked_at, revoked_public`

type keygenRow struct {
	TaskID      albs.TaskID    `db:"task_id"`
	Name        string         `db:"name"`
	UserID      string         `db:"user_id"`
	Algorithm   string         `db:"algorithm"`
	Subkey      bool           `db:"subkey"`
	Products    string         `db:"products"`
	NotBefore   db.Time        `db:"not_before"`
	NotAfter    db.Time        `db:"not_after"`
	Requester   string         `db:"requester"`
	CreatedAt   db.Time        `db:"created_at"`
	Fingerprint sql.NullString `db:"fingerprint"`
}

type revocationRow struct {
	TaskID    albs.TaskID `db:"task_id"`
	Key       string      `db:"key"`
	Reason    string      `db:"reason"`
	Text      string      `db:"text"`
	Requester string      `db:"requester"`
	CreatedAt db.Time     `db:"created_at"`
}

const revocationColumns = `task_id, key, reason, text, requester, created_at`

type requestRow struct {
	ID        int64        `db:"id"`
	BuildID   albs.BuildID `db:"build_id"`
	Key       string       `db:"key"`
	Product   string       `db:"product"`
	Requester string       `db:"requester"`
	CreatedAt db.Time      `db:"created_at"`
	Effects   albs.Digest  `db:"effects"` // that people approve; "" if there is nothing to
	ExpiresAt db.Time      `db:"expires_at"`
}

const requestColumns = `id, build_id, key, product, requester, created_at, effects, expires_at`

type packageRow struct {
	Unsigned albs.Digest `db:"unsigned"`
	Kind     string      `db:"kind"`
	Name     string      `db:"name"`
	Size     int64       `db:"size"`
	Signed   albs.Digest `db:"signed"` // where it is asked for
}

func (p packageRow) file() albs.File {
	return albs.File{Name: p.Name, Digest: p.Unsigned, Size: p.Size}
}

type documentRow struct {
	TaskID  albs.TaskID `db:"task_id"`
	Digest  albs.Digest `db:"digest"`
	Name    string      `db:"name"`
	Size    int64       `db:"size"`
	Key     string      `db:"key"`
	Product string      `db:"product"`
	Effects albs.Digest `db:"effects"` // approved, or to be; "" of before there was that

	File      bool    `db:"file"` // that a person has signed; else a release's
	Clear     bool    `db:"clear"`
	Requester string  `db:"requester"` // what follows is of files only
	CreatedAt db.Time `db:"created_at"`
	ExpiresAt db.Time `db:"expires_at"`
}

const documentColumns = `task_id, digest, name, size, key, product, effects, file, clear, requester, created_at, expires_at`

func (d documentRow) file() albs.File { return albs.File{Name: d.Name, Digest: d.Digest, Size: d.Size} }

// keys.

func (s store) addKey(ctx context.Context, tx db.Tx, k keyRow) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO sign_key (fingerprint, name, user_id, algorithm, products, public, created_at, active, subkey, kept, not_before, not_after)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		k.Fingerprint, k.Name, k.UserID, k.Algorithm, k.Products, k.Public, k.CreatedAt, k.Active, k.Subkey, k.Kept, k.NotBefore, k.NotAfter)
	if err != nil {
		return fmt.Errorf("insert key: %w", err)
	}
	return nil
}

func (s store) key(ctx context.Context, q db.Q, nameOrFingerprint string) (keyRow, error) {
	var k keyRow
	err := q.GetContext(ctx, &k, `SELECT `+keyColumns+` FROM sign_key WHERE name = $1 OR fingerprint = $1`, nameOrFingerprint)
	return k, db.Found(err, "key %.60q", nameOrFingerprint)
}

func (s store) keys(ctx context.Context, q db.Q) ([]keyRow, error) {
	var out []keyRow
	err := q.SelectContext(ctx, &out, `SELECT `+keyColumns+` FROM sign_key ORDER BY name`)
	return out, err
}

func (s store) hasKey(ctx context.Context, q db.Q, fingerprint string) (bool, error) {
	return exists(ctx, q, `SELECT count(*) FROM sign_key WHERE fingerprint = $1`, fingerprint)
}

// nameTaken reports whether a key has the name or will have it.
func (s store) nameTaken(ctx context.Context, q db.Q, name string) (bool, error) {
	return exists(ctx, q, `SELECT (SELECT count(*) FROM sign_key WHERE name = $1)
		+ (SELECT count(*) FROM sign_keygen WHERE name = $1 AND NOT ended)`, name)
}

func exists(ctx context.Context, q db.Q, query string, args ...any) (bool, error) {
	var n int
	if err := q.GetContext(ctx, &n, query, args...); err != nil {
		return false, fmt.Errorf("look for key: %w", err)
	}
	return n > 0, nil
}

// deactivate reports whether the key was active.
func (s store) deactivate(ctx context.Context, tx db.Tx, fingerprint string) (bool, error) {
	r, err := tx.ExecContext(ctx, `UPDATE sign_key SET active = FALSE WHERE fingerprint = $1 AND active`, fingerprint)
	if err != nil {
		return false, err
	}
	n, err := r.RowsAffected()
	return n > 0, err
}

func (s store) addKeygen(ctx context.Context, tx db.Tx, k keygenRow) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO sign_keygen (task_id, name, user_id, algorithm, products, requester, created_at, ended, subkey, not_before, not_after)
		VALUES ($1, $2, $3, $4, $5, $6, $7, FALSE, $8, $9, $10)`,
		k.TaskID, k.Name, k.UserID, k.Algorithm, k.Products, k.Requester, k.CreatedAt, k.Subkey, k.NotBefore, k.NotAfter)
	if err != nil {
		return fmt.Errorf("insert key wish: %w", err)
	}
	return nil
}

func (s store) keygen(ctx context.Context, q db.Q, task albs.TaskID) (keygenRow, error) {
	var k keygenRow
	err := q.GetContext(ctx, &k, `SELECT task_id, name, user_id, algorithm, products, requester, created_at, fingerprint, subkey, not_before, not_after
		FROM sign_keygen WHERE task_id = $1`, task)
	return k, db.Found(err, "key generation by task %d", task)
}

// endKeygen ends a wish, with the key's fingerprint or "" if none came.
func (s store) endKeygen(ctx context.Context, tx db.Tx, task albs.TaskID, fingerprint string) error {
	r, err := tx.ExecContext(ctx, `UPDATE sign_keygen SET ended = TRUE, fingerprint = $2 WHERE task_id = $1`,
		task, sql.NullString{String: fingerprint, Valid: fingerprint != ""})
	return db.One(r, err, "the key generation of task %d is gone", task)
}

// revocations.

func (s store) addRevocation(ctx context.Context, tx db.Tx, r revocationRow) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO sign_revocation (task_id, key, reason, text, requester, created_at, ended)
		VALUES ($1, $2, $3, $4, $5, $6, FALSE)`, r.TaskID, r.Key, r.Reason, r.Text, r.Requester, r.CreatedAt)
	if err != nil {
		return fmt.Errorf("insert revocation: %w", err)
	}
	return nil
}

// revocation returns the wish that a task does, or NotFound.
func (s store) revocation(ctx context.Context, q db.Q, task albs.TaskID) (revocationRow, error) {
	var r revocationRow
	err := q.GetContext(ctx, &r, `SELECT `+revocationColumns+` FROM sign_revocation WHERE task_id = $1`, task)
	return r, db.Found(err, "revocation by task %d", task)
}

// lastRevocation returns the newest wish that a key ends, or NotFound.
func (s store) lastRevocation(ctx context.Context, q db.Q, key string) (revocationRow, error) {
	var r revocationRow
	err := q.GetContext(ctx, &r, `SELECT `+revocationColumns+` FROM sign_revocation WHERE key = $1 ORDER BY task_id DESC LIMIT 1`, key)
	return r, db.Found(err, "revocation of key %s", key)
}

// openRevocation returns the task that is to revoke a key, 0 if there is none.
func (s store) openRevocation(ctx context.Context, q db.Q, key string) (albs.TaskID, error) {
	var id albs.TaskID
	err := q.GetContext(ctx, &id, `SELECT task_id FROM sign_revocation WHERE key = $1 AND NOT ended`, key)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return id, err
}

func (s store) endRevocation(ctx context.Context, tx db.Tx, task albs.TaskID) error {
	r, err := tx.ExecContext(ctx, `UPDATE sign_revocation SET ended = TRUE WHERE task_id = $1`, task)
	return db.One(r, err, "the revocation of task %d is gone", task)
}

// revoke keeps a key's certificate of revocation.
func (s store) revoke(ctx context.Context, tx db.Tx, key, public string, at db.Time) error {
	r, err := tx.ExecContext(ctx, `UPDATE sign_key SET active = FALSE, revoked_at = $2, revoked_public = $3 WHERE fingerprint = $1`, key, at, public)
	return db.One(r, err, "key %s is gone", key)
}

// signedBy returns what a key signed, the signed copies by digest.
func (s store) signedBy(ctx context.Context, q db.Q, key string) ([]albs.Digest, error) {
	var out []albs.Digest
	err := q.SelectContext(ctx, &out, `SELECT signed FROM signed_package WHERE key = $1`, key)
	return out, err
}

// keysOf returns the fingerprints of the keys that an unsigned package is signed with.
func (s store) keysOf(ctx context.Context, q db.Q, unsigned albs.Digest) ([]string, error) {
	var out []string
	err := q.SelectContext(ctx, &out, `SELECT key FROM signed_package WHERE unsigned = $1 ORDER BY at, key`, unsigned)
	return out, err
}

// requests.

// openRequest returns the request that has not ended, 0 if there is none.
func (s store) openRequest(ctx context.Context, q db.Q, build albs.BuildID, key string) (int64, error) {
	var id int64
	err := q.GetContext(ctx, &id, `SELECT id FROM sign_request WHERE build_id = $1 AND key = $2 AND NOT ended`, build, key)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return id, err
}

func (s store) addRequest(ctx context.Context, tx db.Tx, r *requestRow) error {
	err := tx.GetContext(ctx, &r.ID, `INSERT INTO sign_request (build_id, key, product, requester, created_at, effects, expires_at, ended)
		VALUES ($1, $2, $3, $4, $5, COALESCE($6, ''), $7, FALSE) RETURNING id`, r.BuildID, r.Key, r.Product, r.Requester, r.CreatedAt, r.Effects, r.ExpiresAt)
	if err != nil {
		return fmt.Errorf("insert sign request: %w", err)
	}
	return nil
}

func (s store) addTask(ctx context.Context, tx db.Tx, task albs.TaskID, request int64, packages []packageRow) error {
	if _, err := tx.ExecContext(ctx, `INSERT INTO sign_task (task_id, request_id, ended) VALUES ($1, $2, FALSE)`, task, request); err != nil {
		return fmt.Errorf("insert sign task: %w", err)
	}
	for _, p := range packages {
		_, err := tx.ExecContext(ctx, `INSERT INTO sign_package (task_id, unsigned, kind, name, size) VALUES ($1, $2, $3, $4, $5)`,
			task, p.Unsigned, p.Kind, p.Name, p.Size)
		if err != nil {
			return fmt.Errorf("insert package to sign: %w", err)
		}
	}
	return nil
}

func (s store) request(ctx context.Context, q db.Q, id int64) (requestRow, error) {
	var r requestRow
	err := q.GetContext(ctx, &r, `SELECT `+requestColumns+` FROM sign_request WHERE id = $1`, id)
	return r, db.Found(err, "sign request %d", id)
}

// requestOf returns the request of a task, or NotFound.
func (s store) requestOf(ctx context.Context, q db.Q, task albs.TaskID) (requestRow, error) {
	var r requestRow
	err := q.GetContext(ctx, &r, `SELECT `+requestColumns+` FROM sign_request WHERE id = (SELECT request_id FROM sign_task WHERE task_id = $1)`, task)
	return r, db.Found(err, "sign request of task %d", task)
}

// requests returns requests below f.Before, newest first, one more than f.Limit
// if there are more.
func (s store) requests(ctx context.Context, f Filter) ([]requestRow, error) {
	var w db.Where
	w.If(f.Before > 0, "id < $%d", f.Before)
	w.If(f.Build > 0, "build_id = $%d", f.Build)
	where, args := w.SQL()
	var out []requestRow
	err := s.d.SelectContext(ctx, &out, fmt.Sprintf(`SELECT `+requestColumns+` FROM sign_request WHERE %s ORDER BY id DESC LIMIT $%d`,
		where, len(args)+1), append(args, f.Limit+1)...)
	return out, err
}

func (s store) tasksOf(ctx context.Context, q db.Q, request int64) ([]albs.TaskID, error) {
	var out []albs.TaskID
	err := q.SelectContext(ctx, &out, `SELECT task_id FROM sign_task WHERE request_id = $1 ORDER BY task_id`, request)
	return out, err
}

func (s store) packagesOfTask(ctx context.Context, q db.Q, task albs.TaskID) ([]packageRow, error) {
	var out []packageRow
	err := q.SelectContext(ctx, &out, `SELECT unsigned, kind, name, size FROM sign_package WHERE task_id = $1 ORDER BY name, unsigned`, task)
	return out, err
}

func (s store) packagesOfRequest(ctx context.Context, q db.Q, request int64, key string) ([]packageRow, error) {
	var out []packageRow
	err := q.SelectContext(ctx, &out, `SELECT p.unsigned, p.kind, p.name, p.size, s.signed FROM sign_package p
		LEFT JOIN signed_package s ON s.unsigned = p.unsigned AND s.key = $2
		WHERE p.task_id IN (SELECT task_id FROM sign_task WHERE request_id = $1) ORDER BY p.name, p.unsigned`, request, key)
	return out, err
}

// endTask notes that a task of a request has ended, and reports whether it was the
// last of the request, which then has ended too.
func (s store) endTask(ctx context.Context, tx db.Tx, task albs.TaskID, request int64) (last bool, err error) {
	if _, err := tx.ExecContext(ctx, `UPDATE sign_task SET ended = TRUE WHERE task_id = $1`, task); err != nil {
		return false, fmt.Errorf("end sign task: %w", err)
	}
	var open int
	if err := tx.GetContext(ctx, &open, `SELECT count(*) FROM sign_task WHERE request_id = $1 AND NOT ended`, request); err != nil {
		return false, fmt.Errorf("count open sign tasks: %w", err)
	}
	if open > 0 {
		return false, nil
	}
	if _, err := tx.ExecContext(ctx, `UPDATE sign_request SET ended = TRUE WHERE id = $1`, request); err != nil {
		return false, fmt.Errorf("end sign request: %w", err)
	}
	return true, nil
}

// unsignedOf counts the packages of a request that have no signed copy.
func (s store) unsignedOf(ctx context.Context, q db.Q, request int64, key string) (int, error) {
	var n int
	err := q.GetContext(ctx, &n, `SELECT count(*) FROM sign_package p
		WHERE p.task_id IN (SELECT task_id FROM sign_task WHERE request_id = $1)
		AND NOT EXISTS (SELECT 1 FROM signed_package s WHERE s.unsigned = p.unsigned AND s.key = $2)`, request, key)
	if err != nil {
		return 0, fmt.Errorf("count unsigned packages: %w", err)
	}
	return n, nil
}

// signedPackage returns the signed copy of a package by a key, "" if there is none.
func (s store) signedPackage(ctx context.Context, q db.Q, unsigned albs.Digest, key string) (albs.Digest, error) {
	var d albs.Digest
	err := q.GetContext(ctx, &d, `SELECT signed FROM signed_package WHERE unsigned = $1 AND key = $2`, unsigned, key)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("look for signed copy: %w", err)
	}
	return d, nil
}

func (s store) addSigned(ctx context.Context, tx db.Tx, unsigned albs.Digest, key string, signed albs.Digest, at db.Time) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO signed_package (unsigned, key, signed, at) VALUES ($1, $2, $3, $4)`, unsigned, key, signed, at)
	if err != nil {
		return fmt.Errorf("insert signed package: %w", err)
	}
	return nil
}

// documents.

// documentTask returns the task that signs a document in that way or has signed it, 0 if
// there is none.
func (s store) documentTask(ctx context.Context, q db.Q, d documentRow) (albs.TaskID, error) {
	var id albs.TaskID
	err := q.GetContext(ctx, &id, `SELECT task_id FROM sign_document WHERE digest = $1 AND key = $2 AND file = $3 AND clear = $4 AND NOT ended`,
		d.Digest, d.Key, d.File, d.Clear)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look for document's task: %w", err)
	}
	return id, nil
}

func (s store) addDocument(ctx context.Context, tx db.Tx, d documentRow) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO sign_document (`+documentColumns+`, ended) VALUES ($1, $2, $3, $4, $5, $6, COALESCE($7, ''), $8, $9, $10, $11, $12, FALSE)`,
		d.TaskID, d.Digest, d.Name, d.Size, d.Key, d.Product, d.Effects, d.File, d.Clear, d.Requester, d.CreatedAt, d.ExpiresAt)
	if err != nil {
		return fmt.Errorf("insert document: %w", err)
	}
	return nil
}

// documentsOfTask returns what a task is to sign, at least one document, or NotFound.
func (s store) documentsOfTask(ctx context.Context, q db.Q, task albs.TaskID) (ds []documentRow, err error) {
	err = q.SelectContext(ctx, &ds, `SELECT `+documentColumns+` FROM sign_document WHERE task_id = $1 ORDER BY digest`, task)
	if err == nil && len(ds) == 0 {
		err = sql.ErrNoRows
	}
	return ds, db.Found(err, "documents to sign by task %d", task)
}

// file returns a file that a person has signed, by its task, or NotFound.
func (s store) file(ctx context.Context, q db.Q, task albs.TaskID) (documentRow, error) {
	var d documentRow
	err := q.GetContext(ctx, &d, `SELECT `+documentColumns+` FROM sign_document WHERE task_id = $1 AND file`, task)
	return d, db.Found(err, "file to sign %d", task)
}

// files returns those below f.Before, newest first, one more than f.Limit if there are
// more.
func (s store) files(ctx context.Context, f FileFilter) (out []documentRow, err error) {
	var w db.Where
	w.If(f.Before > 0, "task_id < $%d", f.Before)
	w.If(f.Product != "", "product = $%d", f.Product)
	where, args := w.SQL()
	err = s.d.SelectContext(ctx, &out, fmt.Sprintf(`SELECT `+documentColumns+` FROM sign_document WHERE file AND %s ORDER BY task_id DESC LIMIT $%d`,
		where, len(args)+1), append(args, f.Limit+1)...)
	return out, err
}

// allow reports whether the file wasn't on the list before.
func (s store) allow(ctx context.Context, tx db.Tx, a Allowed) (bool, error) {
	r, err := tx.ExecContext(ctx, `INSERT INTO sign_allowed (product, digest, name, note, actor, at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
		a.Product, a.Digest, a.Name, a.Note, a.By, a.At)
	if err != nil {
		return false, fmt.Errorf("insert allowed file: %w", err)
	}
	n, err := r.RowsAffected()
	return n > 0, err
}

func (s store) isAllowed(ctx context.Context, q db.Q, product string, d albs.Digest) (bool, error) {
	return exists(ctx, q, `SELECT count(*) FROM sign_allowed WHERE product = $1 AND digest = $2`, product, d)
}

func (s store) allowed(ctx context.Context, q db.Q, product string) (out []Allowed, err error) {
	if err = q.SelectContext(ctx, &out, `SELECT product, digest, name, note, actor, at FROM sign_allowed WHERE product = $1 ORDER BY name, digest LIMIT 1000`, product); err != nil {
		return nil, fmt.Errorf("list allowed files: %w", err)
	}
	return out, nil
}

// disallow is NotFound if the file isn't on the list.
func (s store) disallow(ctx context.Context, tx db.Tx, product string, d albs.Digest) error {
	r, err := tx.ExecContext(ctx, `DELETE FROM sign_allowed WHERE product = $1 AND digest = $2`, product, d)
	if err != nil {
		return fmt.Errorf("remove allowed file: %w", err)
	}
	if n, err := r.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return albs.Errorf(albs.NotFound, "%s is not on product %s's list of files to sign", d.Short(), product)
}

// endDocuments notes that a task has ended without signatures.
func (s store) endDocuments(ctx context.Context, tx db.Tx, task albs.TaskID) error {
	r, err := tx.ExecContext(ctx, `UPDATE sign_document SET ended = TRUE WHERE task_id = $1`, task)
	return db.One(r, err, "the documents of task %d are gone", task)
}

// addDocumentSignature keeps the first signature of a document by a key, of each form.
func (s store) addDocumentSignature(ctx context.Context, tx db.Tx, d documentRow, armored string, at db.Time) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO document_signature (digest, key, clear, armored, at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
		d.Digest, d.Key, d.Clear, armored, at)
	if err != nil {
		return fmt.Errorf("insert document signature: %w", err)
	}
	return nil
}

func (s store) documentSignature(ctx context.Context, q db.Q, d albs.Digest, key string, clear bool) ([]byte, error) {
	var armored string
	err := q.GetContext(ctx, &armored, `SELECT armored FROM document_signature WHERE digest = $1 AND key = $2 AND clear = $3`, d, key, clear)
	if err != nil {
		return nil, db.Found(err, "signature of document %s by key %s", d.Short(), key)
	}
	return []byte(armored), nil
}

// intended counts what is to be signed and has neither a signature nor a failure.
func (s store) intended(ctx context.Context, q db.Q) (int, error) {
	var n int
	err := q.GetContext(ctx, &n, `SELECT
		(SELECT count(*) FROM sign_request r JOIN sign_task t ON t.request_id = r.id JOIN sign_package p ON p.task_id = t.task_id
			WHERE NOT r.ended AND NOT t.ended)
		+ (SELECT count(*) FROM sign_document d WHERE NOT d.ended
			AND NOT EXISTS (SELECT 1 FROM document_signature s WHERE s.digest = d.digest AND s.key = d.key AND s.clear = d.clear))`)
	return n, err
}

// signs reports whether a request for signatures of a build is open or brought one.
func (s store) signs(ctx context.Context, q db.Q, id albs.BuildID) (bool, error) {
	var n int
	err := q.GetContext(ctx, &n, `SELECT count(*) FROM sign_request r WHERE r.build_id = $1 AND (NOT r.ended OR EXISTS (
		SELECT 1 FROM sign_task t JOIN sign_package p ON p.task_id = t.task_id
			JOIN signed_package s ON s.unsigned = p.unsigned AND s.key = r.key WHERE t.request_id = r.id))`, id)
	return n > 0, err
}

// kept returns what signatures are of, or are to be of, and the signed packages.
func (s store) kept(ctx context.Context, q db.Q) (ds []albs.Digest, err error) {
	err = q.SelectContext(ctx, &ds, `SELECT unsigned FROM signed_package UNION SELECT signed FROM signed_package
		UNION SELECT p.unsigned FROM sign_package p JOIN sign_task t ON t.task_id = p.task_id WHERE NOT t.ended
		UNION SELECT digest FROM document_signature UNION SELECT digest FROM sign_document WHERE NOT ended
		UNION SELECT effects FROM sign_document WHERE effects <> '' UNION SELECT effects FROM sign_request WHERE effects <> ''
		UNION SELECT digest FROM sign_allowed`)
	return ds, err
}
