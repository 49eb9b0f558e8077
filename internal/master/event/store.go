package event

import (
	"context"
	"database/sql"
	"errors"

	"albs/internal/master/db"
)

func insert(ctx context.Context, tx db.Tx, e Event) (txid int64, err error) {
	err = tx.GetContext(ctx, &txid, `INSERT INTO event (at, kind, topic, actor, data)
		VALUES ($1, $2, $3, $4, $5) RETURNING txid`, e.At, e.Kind, e.Topic, e.Actor, string(e.Data))
	return txid, err
}

type row struct {
	ID    int64
	At    db.Time
	Kind  string
	Topic string
	Actor string
	Data  string
}

func since(ctx context.Context, q db.Q, settled string, after int64, topic string, limit int) ([]Event, error) {
	// An id that isn't there (0, or made up) counts as one just before all that
	// are higher: its place is that of the first of those.
	var txid int64
	err := q.GetContext(ctx, &txid, `SELECT COALESCE(
		(SELECT txid FROM event WHERE id = $1), (SELECT min(txid) FROM event WHERE id > $1), -1)`, after)
	if err != nil {
		return nil, err
	}
	if txid < 0 {
		return nil, nil
	}
	where, args := ``, []any{txid, after, limit}
	if topic != "" {
		where, args = ` AND topic = $4`, append(args, topic)
	}
	var rows []row
	err = q.SelectContext(ctx, &rows, `SELECT id, at, kind, topic, actor, data FROM event
		WHERE (txid, id) > ($1, $2) AND txid < `+settled+where+` ORDER BY txid, id LIMIT $3`, args...)
	if err != nil {
		return nil, err
	}
	es := make([]Event, len(rows))
	for i, r := range rows {
		es[i] = Event{ID: r.ID, At: r.At, Kind: r.Kind, Topic: r.Topic, Actor: r.Actor, Data: []byte(r.Data)}
	}
	return es, nil
}

func last(ctx context.Context, q db.Q, settled string) (int64, error) {
	var id int64
	err := q.GetContext(ctx, &id, `SELECT id FROM event WHERE txid < `+settled+` ORDER BY txid DESC, id DESC LIMIT 1`)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return id, err
}

// horizon returns the txid below which all is settled.
func horizon(ctx context.Context, q db.Q, settled string) (int64, error) {
	var txid int64
	err := q.GetContext(ctx, &txid, `SELECT `+settled)
	return txid, err
}

func cursor(ctx context.Context, q db.Q, name string) (int64, error) {
	var id int64
	err := q.GetContext(ctx, &id, `SELECT event_id FROM event_cursor WHERE name = $1`, name)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return id, err
}

func setCursor(ctx context.Context, d *db.DB, name string, id int64) error {
	_, err := d.ExecContext(ctx, `INSERT INTO event_cursor (name, event_id) VALUES ($1, $2)
		ON CONFLICT (name) DO UPDATE SET event_id = excluded.event_id`, name, id)
	return err
}
