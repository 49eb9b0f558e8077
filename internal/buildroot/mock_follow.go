package buildroot

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"albs/internal/albs"
	"albs/internal/sandbox"
)

// followEvery is how often mock's logs are read: what is built is seen that soon.
const followEvery = 200 * time.Millisecond

// mockGrace is the time that mock has to end rpmbuild itself when its time is over.
const mockGrace = 5 * time.Second

// mockBuildLog is the log that rpmbuild's words go to, and no other's.
const mockBuildLog = "build.log"

// mockExtra are the logs that mock writes beside the three.
var mockExtra = []string{"hw_info.log", "installed_pkgs.log"}

// follower carries mock's logs to the job's while mock writes them, and keeps the
// limits on them. mock itself knows only one, on the time of one command, and does not
// look at the clock while it takes in what it reads, which of rpmbuild can be without end.
type follower struct {
	shop    *sandbox.Workshop
	result  string
	logs    Logs
	most    int64         // bytes of all logs; what is beyond is never passed on
	silence time.Duration // of rpmbuild
	limit   time.Duration // of one run of rpmbuild; 0 is none
	streams [3]*followed  // state, root, build
	total   int64
	grew    time.Time
	own     time.Time // when mock itself last had a word, which it hasn't while rpmbuild runs
	open    []string  // steps that have begun
	piece   []byte    // of the state log's last line
	err     error     // a limit that was passed, or why a log can't be read
}

// followed is one log.
type followed struct {
	name string
	to   io.Writer
	said *sandbox.Tail
	at   int64
}

func newFollower(shop *sandbox.Workshop, result string, logs Logs, own, given sandbox.Limits, root albs.Root) *follower {
	f := &follower{shop: shop, result: result, logs: logs, most: cmp.Or(given.Output, own.Output), silence: cmp.Or(root.MaxSilence, own.Silence), limit: root.Timeout, grew: time.Now(), own: time.Now()}
	for i, l := range []struct {
		name string
		to   io.Writer
	}{{"state.log", logs.State}, {"root.log", logs.Root}, {mockBuildLog, logs.Build}} {
		f.streams[i] = &followed{name: l.name, to: l.to, said: sandbox.NewTail(4 << 20)}
	}
	return f
}

// follow reads until done is closed, and ends the run when a limit is passed.
func (f *follower) follow(done <-chan struct{}, stop context.CancelCauseFunc) {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for f.err == nil {
		select {
		case <-done:
			return
		case <-tick.C:
			if f.err = f.look(time.Now()); f.err != nil {
				stop(f.err)
			}
		}
	}
}

// look carries what is new, and returns the limit that is passed.
func (f *follower) look(now time.Time) error {
	for _, s := range f.streams {
		if err := f.carry(s, now); err != nil {
			return err
		}
	}
	switch {
	case f.total > f.most:
		return albs.Errorf(albs.Invalid, "the work was ended: it wrote more than %d bytes of log", f.most)
	case f.building() && f.limit > 0 && now.Sub(f.own) > f.limit+mockGrace:
		return tookLonger(f.limit)
	case f.building() && now.Sub(f.grew) > f.silence:
		return albs.Errorf(albs.Invalid, "the work was ended: it was silent for more than %v", f.silence)
	}
	return nil
}

// carry passes on what a log has that was not there before.
func (f *follower) carry(s *followed, now time.Time) error {
	n, err := f.shop.Export(path.Join(f.result, s.name), s.at, writerFunc(func(p []byte) (int, error) {
		f.total += int64(len(p))
		s.at += int64(len(p))
		f.grew = now
		if s.name != mockBuildLog {
			f.own = now
		}
		if f.total > f.most {
			return len(p), nil
		}
		s.said.Write(p)
		if s == f.streams[0] {
			f.note(p)
		}
		return s.to.Write(p)
	}))
	if err != nil {
		return fmt.Errorf("follow mock's %s after %d bytes: %w", s.name, n, err)
	}
	return nil
}

// note keeps account of the steps that have begun. A line may come in pieces.
func (f *follower) note(p []byte) {
	f.piece = append(f.piece, p...)
	whole := bytes.LastIndexByte(f.piece, '\n') + 1
	lines := f.piece[:whole]
	if f.piece = bytes.Clone(f.piece[whole:]); len(f.piece) > 64<<10 {
		f.piece = nil // no line of mock's
	}
	for line := range bytes.Lines(lines) {
		name, begins := mockStep(string(line))
		switch {
		case name == "":
		case begins:
			f.open = append(f.open, name)
		default:
			if i := slices.Index(f.open, name); i >= 0 {
				f.open = f.open[:i]
			}
		}
	}
}

// building reports whether rpmbuild is at work: dnf may be silent for long.
func (f *follower) building() bool {
	return slices.ContainsFunc(f.open, func(s string) bool { return strings.HasPrefix(s, saysRpm) })
}

// rest carries what was written last, and the logs that come in one piece.
func (f *follower) rest() {
	if err := f.look(time.Now()); err != nil && f.err == nil && f.total > f.most {
		f.err = err
	}
	for _, name := range mockExtra {
		if !f.shop.Exists(path.Join(f.result, name)) || f.total > f.most {
			continue
		}
		fmt.Fprintf(f.logs.Root, "==> %s <==\n", name)
		left := f.most - f.total
		n, err := f.shop.Export(path.Join(f.result, name), 0, writerFunc(func(p []byte) (int, error) {
			if int64(len(p)) > left {
				return len(p), nil
			}
			left -= int64(len(p))
			return f.logs.Root.Write(p)
		}))
		if err != nil {
			fmt.Fprintf(f.logs.Root, "%s can't be read after %d bytes: %v\n", name, n, err)
		}
	}
}

type writerFunc func(p []byte) (int, error)

func (w writerFunc) Write(p []byte) (int, error) { return w(p) }

// sharedWriter lets two write to one log.
type sharedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *sharedWriter) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(p)
}
