package artifact_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/blob"
	"albs/internal/master/artifact"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
)

// asMaster is set where the test's program is run as one of several masters: to the
// directory of the blobs that they share.
const asMaster = "ALBS_TEST_AS_MASTER"

// sharing is a process that stores, names and collects in a database and in a store that
// it shares with others. Names and the clock are in tables, so that they outlive it.
type sharing struct {
	d     *db.DB
	s     *artifact.Artifacts
	blobs blob.Store
	clock *db.Gate // the clock moves only while nobody is between storing and naming

	recent []albs.Digest // what this one has named of late
}

// hesitant removes a blob some time after it was told to, in which others can do what
// they are not to.
type hesitant struct{ blob.Store }

func (h hesitant) Remove(ctx context.Context, d albs.Digest) error {
	time.Sleep(20 * time.Millisecond)
	return h.Store.Remove(ctx, d)
}

const sharedTables = `CREATE TABLE shared_name (id BIGSERIAL PRIMARY KEY, digest TEXT NOT NULL, gone_at TIMESTAMPTZ);
	CREATE TABLE shared_clock (at TIMESTAMPTZ NOT NULL, removed BIGINT NOT NULL)`

func share(d *db.DB, dir string) (*sharing, error) {
	local, err := blob.NewDir(dir)
	if err != nil {
		return nil, err
	}
	blobs := hesitant{local}
	p := &sharing{d: d, s: artifact.New(d, blobs, nil), blobs: blobs, clock: d.Gate("clock")}
	p.s.Root("shared", func(ctx context.Context, since db.Time, yield func(artifact.Ref) error) error {
		var named []albs.Digest
		if err := d.SelectContext(ctx, &named, `SELECT digest FROM shared_name WHERE gone_at IS NULL OR gone_at > $1`, since); err != nil {
			return err
		}
		for _, d := range named {
			if err := yield(artifact.Ref{Digest: d}); err != nil {
				return err
			}
		}
		return nil
	})
	return p, nil
}

func (p *sharing) now(ctx context.Context) (t db.Time, err error) {
	err = p.d.GetContext(ctx, &t, `SELECT at FROM shared_clock`)
	return t, err
}

// readable is I4 of what is named; the clock must not move meanwhile.
func (p *sharing) readable(ctx context.Context, d albs.Digest) error {
	r, err := p.blobs.Open(ctx, d)
	if err == nil {
		_, err = io.Copy(io.Discard, r)
		err = errors.Join(err, r.Close())
	}
	if err != nil {
		return fmt.Errorf("I4: what is named can't be read: %w", err)
	}
	return nil
}

// look has what was named some acts ago be readable, if it still is named.
func (p *sharing) look(ctx context.Context) error {
	if len(p.recent) < 10 {
		return nil
	}
	d := p.recent[0]
	p.recent = p.recent[1:]
	return p.clock.Pass(ctx, func(q db.Q) error {
		var n int
		if err := q.GetContext(ctx, &n, `SELECT count(*) FROM shared_name WHERE digest = $1 AND gone_at IS NULL`, d); err != nil || n == 0 {
			return err
		}
		return p.readable(ctx, d)
	})
}

// act does one thing out of many.
func (p *sharing) act(ctx context.Context, n int) error {
	content := fmt.Append(nil, "content ", rand.IntN(30))
	named := func(q db.Q) (d albs.Digest, err error) {
		err = q.GetContext(ctx, &d, `SELECT digest FROM shared_name WHERE gone_at IS NULL ORDER BY random() LIMIT 1`)
		return d, db.Found(err, "name")
	}
	name := func(q db.Q, d albs.Digest) error {
		p.recent = append(p.recent, d)
		_, err := q.ExecContext(ctx, `INSERT INTO shared_name (digest) VALUES ($1)`, d)
		return err
	}
	switch {
	case n < 8: // stored, then named
		return p.clock.Pass(ctx, func(q db.Q) error {
			d := albs.DigestOf(content)
			if _, err := p.s.Blobs().Put(ctx, d, bytes.NewReader(content)); err != nil {
				return err
			}
			return name(q, d)
		})
	case n < 10: // and in one go; the loser to a removal is told so
		return p.clock.Pass(ctx, func(q db.Q) error {
			d, _, err := p.s.Blobs().Write(ctx, bytes.NewReader(content), 100)
			if errors.Is(err, albs.Unavailable) {
				return nil
			}
			if err != nil {
				return err
			}
			return name(q, d)
		})
	case n < 12: // a name that is taken from another one, which may go meanwhile
		return p.clock.Pass(ctx, func(q db.Q) error {
			d, err := named(p.d)
			if errors.Is(err, albs.NotFound) {
				return nil
			}
			if err != nil {
				return err
			}
			return name(q, d)
		})
	case n < 17: // looked at, and named no more
		return p.clock.Pass(ctx, func(q db.Q) error {
			d, err := named(q)
			if errors.Is(err, albs.NotFound) {
				return nil
			}
			if err != nil {
				return err
			}
			if err := p.readable(ctx, d); err != nil {
				return err
			}
			_, err = q.ExecContext(ctx, `UPDATE shared_name SET gone_at = (SELECT at FROM shared_clock) WHERE digest = $1 AND gone_at IS NULL`, d)
			return err
		})
	case n == 17:
		return p.clock.Alone(ctx, func(func() error) error {
			at, err := p.now(ctx)
			if err != nil {
				return err
			}
			_, err = p.d.ExecContext(ctx, `UPDATE shared_clock SET at = $1`, db.At(at.Add(grace)))
			return err
		})
	}
	var failed error
	c, err := p.s.Collect(ctx, artifact.Collection{Grace: grace, Now: func() time.Time {
		at, err := p.now(ctx)
		failed = errors.Join(failed, err)
		return at.Time
	}})
	if err := errors.Join(err, failed); err != nil {
		return err
	}
	_, err = p.d.ExecContext(ctx, `UPDATE shared_clock SET removed = removed + $1`, c.Removed)
	return err
}

// TestAsMaster is the process that TestMastersShare starts.
func TestAsMaster(t *testing.T) {
	dir := os.Getenv(asMaster)
	if dir == "" {
		t.Skip("it is a part of TestMastersShare, which runs it in processes of its own")
	}
	p, err := share(dbtest.Open(t, db.Config{DSN: os.Getenv(dbtest.Env)}), dir)
	if err != nil {
		t.Fatal(err)
	}
	for {
		for _, err := range []error{p.act(t.Context(), rand.IntN(20)), p.look(t.Context())} {
			if err != nil && !errors.Is(err, albs.Unavailable) {
				t.Fatal(err)
			}
		}
	}
}

// TestMastersShare has two processes store, name and collect beside each other, in one
// database and one store, each of which is killed now and then: all that is named can be
// read, by them while they run and in the end.
func TestMastersShare(t *testing.T) {
	t.Parallel()
	c := dbtest.Postgres(t)
	d := dbtest.Open(t, c)
	ctx := t.Context()
	if _, err := d.ExecContext(ctx, sharedTables); err != nil {
		t.Fatal(err)
	}
	if _, err := d.ExecContext(ctx, `INSERT INTO shared_clock (at, removed) VALUES ($1, 0)`, db.Now()); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "blobs")
	kills, acts := 12, int64(150)
	if testing.Short() {
		kills, acts = 2, 40
	}
	type process struct {
		*exec.Cmd
		out  bytes.Buffer
		done chan struct{}
	}
	start := func() *process {
		p := &process{Cmd: exec.Command(os.Args[0], "-test.run=^TestAsMaster$"), done: make(chan struct{})}
		p.Env = append(os.Environ(), asMaster+"="+dir, dbtest.Env+"="+c.DSN)
		p.Stdout, p.Stderr = &p.out, &p.out
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		go func() { defer close(p.done); _ = p.Wait() }()
		t.Cleanup(func() { _ = p.Process.Kill(); <-p.done })
		return p
	}
	kill := func(p *process) {
		t.Helper()
		_ = p.Process.Kill()
		<-p.done
		if out := p.out.String(); strings.Contains(out, "FAIL") {
			t.Errorf("a master ended by itself:\n%s", out)
		}
	}
	running := []*process{start(), start()}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Minute)
	// await asks until the answer is at least want, and returns it.
	await := func(query string, want int64) (got int64) {
		t.Helper()
		for got < want && !t.Failed() {
			select {
			case <-tick.C:
				if err := d.GetContext(ctx, &got, query); err != nil {
					t.Error(err)
				}
			case <-running[0].done:
				t.Error("the first master has ended")
			case <-running[1].done:
				t.Error("the second master has ended")
			case <-deadline:
				t.Error("it takes too long")
			}
		}
		return got
	}
	var seen int64
	for range kills {
		seen = await(`SELECT COALESCE(MAX(id), 0) FROM shared_name`, seen+acts)
		i := rand.IntN(2)
		kill(running[i])
		running[i] = start()
	}
	removed := await(`SELECT removed FROM shared_clock`, 1) // else nothing was put to the test
	for _, p := range running {
		kill(p)
	}
	p, err := share(d, dir)
	if err != nil {
		t.Fatal(err)
	}
	var named []albs.Digest
	if err := d.SelectContext(ctx, &named, `SELECT DISTINCT digest FROM shared_name WHERE gone_at IS NULL`); err != nil {
		t.Fatal(err)
	}
	for _, d := range named {
		if err := p.readable(ctx, d); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d names, %d kills, %d blobs removed, %d named in the end", seen, kills, removed, len(named))
}
