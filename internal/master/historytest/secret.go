package historytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"albs/internal/albs"
)

// secret matches what never leaves its role, whoever's it is: albs's own tokens and
// private keys. Each begins as one of marks, which are looked for first: the expression
// takes minutes over a long log with the race detector.
var (
	secret = regexp.MustCompile(`^(?:albs_[uw][a-z2-7]{52}|-----BEGIN [A-Z ]*PRIVATE KEY)`)
	marks  = [][]byte{[]byte("albs_"), []byte("-----BEGIN ")}
)

// findSecret returns the first of a kind in b, or nil.
func findSecret(b []byte) []byte {
	for _, mark := range marks {
		for rest := b; ; {
			i := bytes.Index(rest, mark)
			if i < 0 {
				break
			}
			if m := secret.Find(rest[i:]); m != nil {
				return m
			}
			rest = rest[i+len(mark):]
		}
	}
	return nil
}

// maxText is the size beyond which a blob is no text.
const maxText = 16 << 20

// secrets: I10, nothing that is to stay in one role lies in the database, the blobs,
// the public place or the logs.
func (c *checker) secrets(ctx context.Context) error {
	err := c.Blobs.Walk(ctx, func(d albs.Digest, size int64) error {
		if size > maxText {
			return nil
		}
		if b, err := c.bytes(ctx, d); err == nil { // I3 tells of one that can't be read
			c.look("blob "+d.Short(), b)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("walk blobs: %w", err)
	}
	for _, dir := range append(c.Logs, c.Public) {
		if dir == "" {
			continue
		}
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() || strings.HasSuffix(path, ".rpm") {
				return err
			}
			b, err := os.ReadFile(path)
			c.look(path, b)
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("read %s: %w", dir, err)
		}
	}
	return c.tables(ctx)
}

func (c *checker) look(where string, b []byte) {
	if m := findSecret(b); m != nil {
		c.broken("I10", "%s holds a secret that begins with %.12q", where, m)
	}
	for i, h := range c.Hidden {
		if bytes.Contains(b, []byte(h)) {
			c.broken("I10", "%s holds hidden string %d", where, i)
		}
	}
}

// tables looks through every text of every table.
func (c *checker) tables(ctx context.Context) error {
	query := `SELECT m.name AS tab, p.name AS col FROM sqlite_master m JOIN pragma_table_info(m.name) p
		WHERE m.type = 'table' AND p.type IN ('TEXT', 'BLOB') ORDER BY m.name, p.name`
	if c.DB.Postgres() {
		query = `SELECT table_name AS tab, column_name AS col FROM information_schema.columns
			WHERE table_schema = current_schema() AND data_type IN ('text', 'bytea') ORDER BY table_name, column_name`
	}
	var columns []struct{ Tab, Col string }
	if err := c.DB.SelectContext(ctx, &columns, query); err != nil {
		return fmt.Errorf("list tables: %w", err)
	}
	for _, col := range columns {
		var rows [][]byte
		err := c.DB.SelectContext(ctx, &rows, fmt.Sprintf(`SELECT "%s" FROM "%s" WHERE "%s" IS NOT NULL`, col.Col, col.Tab, col.Col))
		if err != nil {
			return fmt.Errorf("read %s of %s: %w", col.Col, col.Tab, err)
		}
		for _, r := range rows {
			c.look("table "+col.Tab+", column "+col.Col, r)
		}
	}
	return nil
}
