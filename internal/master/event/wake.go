package event

import (
	"context"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// A wake-up goes out twice for one event: at once, for those who look at tables,
// and, where readers of the log must wait for older transactions, when the event
// has become readable.

// Wake returns a channel that receives when something was added under topic, ""
// for any topic, in this process or another. One receive may stand for many
// events, and may come with nothing new. stop ends it; call it once, always.
func (l *Log) Wake(topic string) (wake <-chan struct{}, stop func()) {
	return l.wakes.add(topic)
}

// Nudge wakes topic's waiters everywhere without an event, for what is not worth
// a row: bytes appended to a log.
func (l *Log) Nudge(topic string) { l.wakes.happened(topic, 0) }

// Run carries wake-ups between processes until ctx is done, whose error it
// returns. Losing the database only delays wake-ups.
func (l *Log) Run(ctx context.Context) error {
	if !l.db.Postgres() {
		<-ctx.Done()
		return ctx.Err()
	}
	l.wakes.carry(true)
	defer l.wakes.carry(false)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return l.db.Listen(ctx, "event", l.heard) })
	g.Go(func() error { return l.send(ctx) })
	g.Go(func() error { return l.settle(ctx) })
	return g.Wait()
}

// A payload is "<txid> <topic>".
func payload(topic string, txid int64) string { return strconv.FormatInt(txid, 10) + " " + topic }

func (l *Log) heard(p string) {
	if p == "" { // some were missed: everyone looks
		l.wakes.signal("")
		return
	}
	n, topic, ok := strings.Cut(p, " ")
	txid, err := strconv.ParseInt(n, 10, 64)
	if !ok || err != nil {
		l.log.Warn().Msg("foreign notification ignored")
		return
	}
	l.wakes.signal(topic)
	l.wakes.await(topic, txid)
}

// send tells the other processes, several topics at a time.
func (l *Log) send(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.wakes.outgoing:
		}
		var ps []string
		for topic, txid := range l.wakes.takeOut() {
			ps = append(ps, payload(topic, txid))
		}
		if err := l.db.Notify(ctx, "event", ps); err != nil && ctx.Err() == nil {
			// Readers look by themselves from time to time.
			l.log.Warn().Err(err).Msg("wake-ups not sent")
		}
	}
}

const settleLook = 10 * time.Millisecond

// settle wakes topics again when their events have become readable.
func (l *Log) settle(ctx context.Context) error {
	t := time.NewTicker(settleLook)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
		if !l.wakes.unsettled() {
			continue
		}
		h, err := horizon(ctx, l.db, l.db.Settled())
		if err != nil {
			continue // the database is away; the topics stay noted
		}
		l.wakes.settled(h)
	}
}

type wakes struct {
	mu       *sync.Mutex
	waiting  map[string]map[chan struct{}]bool
	carrying bool
	out      map[string]int64 // topics to tell other processes, with the newest txid
	pending  map[string]int64 // topics to wake again once txid is settled
	outgoing chan struct{}
}

func newWakes() wakes {
	return wakes{
		mu:       new(sync.Mutex),
		waiting:  map[string]map[chan struct{}]bool{},
		out:      map[string]int64{},
		pending:  map[string]int64{},
		outgoing: make(chan struct{}, 1),
	}
}

func (w *wakes) add(topic string) (<-chan struct{}, func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := make(chan struct{}, 1)
	if w.waiting[topic] == nil {
		w.waiting[topic] = map[chan struct{}]bool{}
	}
	w.waiting[topic][c] = true
	return c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.waiting[topic], c)
		if len(w.waiting[topic]) == 0 {
			delete(w.waiting, topic)
		}
	}
}

// signal wakes those of topic and those of all; "" wakes everybody.
func (w *wakes) signal(topic string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.signalLocked(topic)
}

func (w *wakes) signalLocked(topic string) {
	if topic == "" {
		for _, cs := range w.waiting {
			ring(cs)
		}
		return
	}
	ring(w.waiting[topic])
	ring(w.waiting[""])
}

func ring(cs map[chan struct{}]bool) {
	for c := range cs {
		select {
		case c <- struct{}{}:
		default: // it has one waiting already
		}
	}
}

func (w *wakes) happened(topic string, txid int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.signalLocked(topic)
	if !w.carrying {
		return
	}
	w.out[topic] = max(w.out[topic], txid)
	select {
	case w.outgoing <- struct{}{}:
	default:
	}
}

func (w *wakes) carry(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.carrying = on
	clear(w.out)
	clear(w.pending)
}

func (w *wakes) takeOut() map[string]int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.out
	w.out = map[string]int64{}
	return out
}

func (w *wakes) await(topic string, txid int64) {
	if txid == 0 {
		return // a nudge: nothing to read
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pending[topic] = max(w.pending[topic], txid)
}

func (w *wakes) unsettled() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.pending) > 0
}

func (w *wakes) settled(horizon int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.pending, func(topic string, txid int64) bool {
		if txid < horizon {
			w.signalLocked(topic)
			return true
		}
		return false
	})
}
