package logfile

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"albs/internal/albs"
	"albs/internal/worker"
)

// Several masters append to a stream, as a worker that lost an answer makes them
// do: each byte stays once, in its place.
func TestAppendedTogether(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var whole strings.Builder
	for i := range 200 {
		fmt.Fprintf(&whole, "line %d\n", i)
	}
	text := whole.String()
	var g errgroup.Group
	for range 4 {
		l := Dir(dir)
		g.Go(func() error {
			for at := int64(0); at < int64(len(text)); {
				end := min(at+37, int64(len(text)))
				n, err := l.Append(7, 1, "build", at, []byte(text[at:end]))
				if err != nil {
					return err
				}
				if n < end {
					return fmt.Errorf("length %d after bytes up to %d", n, end)
				}
				at = end
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(dir + "/7/1/build.log")
	if err != nil || string(got) != text {
		t.Errorf("the log has %d bytes, %v; want %d as they were sent", len(got), err, len(text))
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	l := Dir(t.TempDir())
	for i := range worker.MaxLogs {
		if _, err := l.Append(1, 1, fmt.Sprint("s", i), 0, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	_, err := l.Append(1, 1, "onemore", 0, []byte("x"))
	if !errors.Is(err, albs.TooLarge) {
		t.Errorf("one stream too many: %v", err)
	}
	if err := os.Truncate(string(l)+"/1/1/s0.log", worker.MaxLog); err != nil {
		t.Fatal(err)
	}
	n, err := l.Append(1, 1, "s0", worker.MaxLog, []byte("x"))
	if !errors.Is(err, albs.TooLarge) {
		t.Errorf("one byte too many: %v", err)
	}
	if n != worker.MaxLog {
		t.Errorf("length = %d, want %d", n, int64(worker.MaxLog))
	}
}
