package watch

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

// setup returns a Watch whose clock moves on by a minute each time it is read, what it
// says, and a client of a server that tells of one event on each connection.
func setup(t *testing.T) (*Watch, *bytes.Buffer, *client.Client) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "id: 1\ndata: {}\n\n")
	}))
	t.Cleanup(srv.Close)
	cl, err := client.New(srv.URL, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	cl.Patience.Pause = 0
	var said bytes.Buffer
	now := time.Unix(0, 0)
	return &Watch{
		Terminal: &terminal.Terminal{Stdout: io.Discard, Stderr: &said, Now: func() time.Time {
			now = now.Add(time.Minute)
			return now
		}},
		Poll: time.Hour, Outage: 5 * time.Minute,
	}, &said, cl
}

// TestUntilWakes: an event has it look again long before it would by itself.
func TestUntilWakes(t *testing.T) {
	t.Parallel()
	w, _, cl := setup(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	looks := 0
	if err := w.Until(ctx, cl, "build:1", w.NewMeter(), "it goes on", func(context.Context) (bool, error) {
		looks++
		return looks == 3, nil
	}); err != nil || looks != 3 {
		t.Errorf("Until = %v after %d looks", err, looks)
	}
}

// TestUntilOutage: a server that is away is waited for, and not for ever; what else
// goes wrong ends it at once.
func TestUntilOutage(t *testing.T) {
	t.Parallel()
	w, said, cl := setup(t)
	w.Poll = 0
	looks := 0
	away := func(context.Context) (bool, error) {
		looks++
		return false, albs.Errorf(albs.Unavailable, "it is away")
	}
	if err := w.Until(t.Context(), cl, "", w.NewMeter(), "it goes on", away); !errors.Is(err, albs.Unavailable) || looks != 5 {
		t.Errorf("Until = %v after %d looks, want Unavailable after 5", err, looks)
	}
	if strings.Count(said.String(), "waiting for it") != 1 {
		t.Errorf("said %q, want once that it is waited for", said)
	}
	looks = 0
	if err := w.Until(t.Context(), cl, "", w.NewMeter(), "it goes on", func(context.Context) (bool, error) {
		looks++
		return false, albs.Errorf(albs.NotFound, "there is none")
	}); !errors.Is(err, albs.NotFound) || looks != 1 {
		t.Errorf("Until = %v after %d looks, want NotFound after one", err, looks)
	}
}

// TestUntilBreakOff: who breaks off hears what goes on.
func TestUntilBreakOff(t *testing.T) {
	t.Parallel()
	w, _, cl := setup(t)
	ctx, cancel := context.WithCancel(t.Context())
	err := w.Until(ctx, cl, "", w.NewMeter(), "the build goes on", func(context.Context) (bool, error) {
		cancel()
		return false, nil
	})
	if exit, ok := errors.AsType[*terminal.ExitError](err); !ok || exit.Code != terminal.ExitFailed || err.Error() != "broken off; the build goes on" {
		t.Errorf("Until = %v", err)
	}
}
