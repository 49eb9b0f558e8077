package notice

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/egress"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/event"
	"albs/internal/master/mastertest"
	"albs/internal/telemetry/telemetrytest"
)

// world is what events don't tell.
type world struct {
	mu         sync.Mutex
	advisories map[albs.ReleaseID][]Advisory
	builds     map[albs.BuildID]Build
	looks      int
	err        error
}

func (w *world) Advisories(_ context.Context, id albs.ReleaseID, yield func(Advisory) error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.advisories[id] {
		if err := yield(a); err != nil {
			return err
		}
	}
	return w.err
}

func (w *world) Build(_ context.Context, id albs.BuildID) (Build, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks++
	b, ok := w.builds[id]
	if !ok {
		return b, errors.Join(w.err, albs.Errorf(albs.NotFound, "there is no build %d", id))
	}
	return b, w.err
}

// hook is a receiver of webhooks, which checks every signature.
type hook struct {
	t      *testing.T
	url    string
	mu     sync.Mutex
	key    string // "" is not checked
	answer func(w http.ResponseWriter, r *http.Request)
	got    []got
}

type got struct {
	ID   string
	Body Notice
	Raw  string
}

func newHook(t *testing.T) *hook {
	h := &hook{t: t}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	h.url = s.URL + "/hook/secret-token"
	return h
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	b, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return // it broke off
	}
	g := got{ID: r.Header.Get("webhook-id"), Raw: string(b)}
	if err := json.Unmarshal(b, &g.Body); err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
		h.t.Errorf("%s %s is no JSON that is posted: %v", r.Method, b, err)
	}
	if h.key != "" {
		if err := verify(h.key, r.Header, b); err != nil {
			h.t.Error(err)
		}
	}
	h.got = append(h.got, g)
	if h.answer != nil {
		h.answer(w, r)
	}
}

// verify checks a webhook as the specification has receivers do, apart from the code that
// signs.
func verify(key string, h http.Header, body []byte) error {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(key, "whsec_"))
	if err != nil || len(raw) < 24 || len(raw) > 64 {
		return fmt.Errorf("key %q: %d bytes, %w", key, len(raw), err)
	}
	at, err := strconv.ParseInt(h.Get("webhook-timestamp"), 10, 64)
	if err != nil {
		return fmt.Errorf("timestamp: %w", err)
	}
	m := hmac.New(sha256.New, raw)
	fmt.Fprintf(m, "%s.%d.%s", h.Get("webhook-id"), at, body)
	if want := "v1," + base64.StdEncoding.EncodeToString(m.Sum(nil)); h.Get("webhook-signature") != want {
		return fmt.Errorf("signature %q of %s, want %q", h.Get("webhook-signature"), body, want)
	}
	return nil
}

func (h *hook) says(f func(w http.ResponseWriter, r *http.Request)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.answer = f
}

// taken returns what came since it was asked last.
func (h *hook) taken() []got {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.got
	h.got = nil
	return out
}

func status(code int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

type fixture struct {
	*Notices
	t     *testing.T
	world *world
	log   *telemetrytest.Log
	admin context.Context
	seen  int64 // the last event that was followed
	mu    sync.Mutex
	ahead time.Duration // of the clock
}

// open opens notices over d, with receivers on this host allowed.
func open(t *testing.T, d *db.DB, c Config, allow ...string) *fixture {
	t.Helper()
	f := &fixture{t: t, world: &world{advisories: map[albs.ReleaseID][]Advisory{}, builds: map[albs.BuildID]Build{}}, log: &telemetrytest.Log{},
		admin: auth.With(t.Context(), auth.Actor{Kind: auth.KindPerson, User: 1, Name: "olga", Grants: []auth.Grant{{Role: auth.Admin}}})}
	out, err := egress.New(egress.Policy{Allow: allow})
	f.must(err)
	log := zerolog.New(f.log)
	ev := event.New(d, log)
	people := auth.New(d, ev, log)
	u, err := people.CreateUser(f.admin, "petra")
	f.must(err)
	f.must(people.Grant(f.admin, u.ID, auth.ProductMaintainer, "core"))
	f.Notices, err = New(Parts{DB: d, Events: ev, Auth: people, Facts: f.world, Outside: out, Key: Key{1}, URL: "https://albs.example", Log: log}, c)
	f.must(err)
	f.now = func() time.Time {
		f.mu.Lock()
		defer f.mu.Unlock()
		return time.Now().Add(f.ahead)
	}
	f.jitter = func() float64 { return 0.5 }
	return f
}

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) later(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ahead += d
}

// local is every receiver on this host.
const local = "127.0.0.1"

// subscribe makes a webhook of team core.
func (f *fixture) subscribe(h *hook, filter Filter) Subscription {
	f.t.Helper()
	s, key, err := f.Subscribe(f.admin, NewSubscription{Team: "core", Channel: Webhook, Target: h.url, Filter: filter})
	f.must(err)
	h.mu.Lock()
	h.key = key
	h.mu.Unlock()
	return s
}

// happens writes an event as another module does.
func (f *fixture) happens(kind, topic string, data any) {
	f.t.Helper()
	f.must(f.DB.InTx(f.t.Context(), func(tx db.Tx) error { return f.Events.Add(f.t.Context(), tx, kind, topic, "system:test", data) }))
}

// settled waits until all events there are can be read: on PostgreSQL another test's
// transaction may hold them back for a moment.
func (f *fixture) settled() {
	f.t.Helper()
	ctx := f.t.Context()
	var newest int64
	f.must(f.DB.GetContext(ctx, &newest, `SELECT coalesce(max(id), 0) FROM event`))
	for newest > 0 {
		if last, err := f.Events.Last(ctx); err != nil || last == newest {
			f.must(err)
			return
		}
		select {
		case <-ctx.Done():
			f.t.Fatal("the test ended while events were to settle")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// followed follows all events there are, from the beginning if again.
func (f *fixture) followed(again bool) {
	f.t.Helper()
	ctx := auth.System(f.t.Context(), "test")
	if again {
		f.seen = 0
	}
	f.settled()
	for {
		es, err := f.Events.Since(ctx, f.seen, "", 100)
		f.must(err)
		for _, e := range es {
			f.must(f.follow(ctx, e))
			f.seen = e.ID
		}
		if len(es) == 0 {
			break
		}
	}
	f.must(f.lookAtBuilds(ctx))
}

// sent makes all attempts that are due now.
func (f *fixture) sent() {
	f.t.Helper()
	ctx := auth.System(f.t.Context(), "test")
	for {
		ids, err := dueLanes(ctx, f.DB, at(f.now()), 100)
		f.must(err)
		if len(ids) == 0 {
			return
		}
		for _, id := range ids {
			lane, err := f.claim(ctx, id)
			f.must(err)
			f.must(f.serve(ctx, lane))
		}
	}
}

// deliveries returns those of a subscription, the oldest first.
func (f *fixture) deliveries(id int64) []Delivery {
	f.t.Helper()
	ds, err := f.Deliveries(f.admin, id, 0)
	f.must(err)
	slices.Reverse(ds)
	return ds
}

// states returns how deliveries stand, as "kind state attempts".
func states(ds []Delivery) (out []string) {
	for _, d := range ds {
		out = append(out, fmt.Sprintf("%s %s %d", d.Kind, d.State, d.Attempts))
	}
	return out
}

func titles(all []got) (out []string) {
	for _, g := range all {
		out = append(out, string(g.Body.Kind)+" "+g.Body.Data.Title)
	}
	return out
}

func (f *fixture) want(what string, want, got any) {
	f.t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		f.t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func (f *fixture) release(id albs.ReleaseID, as ...Advisory) {
	f.t.Helper()
	f.world.mu.Lock()
	f.world.advisories[id] = as
	f.world.mu.Unlock()
	f.happens("release.published", fmt.Sprintf("release:%d", id), map[string]any{"release": id, "product": "demo", "serial": 5, "status": "completed"})
}

func note(id, platform, severity string) Advisory {
	return Advisory{ID: id, Platform: platform, Version: 1, Type: "security", Severity: severity, Title: "bash update", CVEs: []string{"CVE-2026-1111"}, URL: "https://repo.example/" + id}
}

// TestWebhooks: what happens reaches who wants to know, once, signed, and nobody else.
func TestWebhooks(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := open(t, d, Config{}, local)
		f.release(1, note("ALSA-2026:1", "el9", "critical")) // before anybody subscribed
		all, severe, builds := newHook(t), newHook(t), newHook(t)
		sAll := f.subscribe(all, Filter{Kinds: Kinds()})
		f.subscribe(severe, Filter{Kinds: []Kind{Released}, Severity: "important", Platforms: []string{"el9"}})
		f.subscribe(builds, Filter{Kinds: []Kind{BuildFailed}, Products: []string{"demo"}})

		f.release(2, note("ALSA-2026:2", "el9", "important"), note("ALSA-2026:3", "el9", "low"), note("ALSA-2026:2", "el8", "critical"))
		withdrawn := note("ALSA-2026:2", "el9", "important")
		withdrawn.Withdrawn, withdrawn.Version = true, 2
		f.release(3, withdrawn)
		f.happens("release.failed", "release:4", map[string]any{"release": 4, "product": "demo", "reason": "no room\nleft"})
		f.happens("errata.trouble", "product:demo", map[string]any{"product": "demo", "serial": 5, "count": 2, "troubles": []string{"a is missing"}})
		f.happens("errata.edited", "errata:x", nil)
		f.happens("release.published", "release:9", "no object") // nobody waits behind it
		f.followed(false)
		f.sent()
		want := []string{
			"release.published Release 2 of demo is published",
			"errata.released ALSA-2026:2 of el9: important: bash update", "errata.released ALSA-2026:3 of el9: low: bash update", "errata.released ALSA-2026:2 of el8: critical: bash update",
			"release.published Release 3 of demo is published", "errata.withdrawn ALSA-2026:2 of el9 was withdrawn: bash update",
			"release.failed Release 4 of demo failed", "errata.trouble What is public of demo differs from its advisories in 2 places",
		}
		came := all.taken()
		f.want("all", want, titles(came))
		f.want("severe ones of el9", []string{want[1]}, titles(severe.taken()))
		f.want("builds", []string(nil), titles(builds.taken()))
		if len(came) == len(want) {
			f.want("an advisory", `{"id":"ALSA-2026:2","platform":"el9","version":1,"type":"security","severity":"important","title":"bash update","cves":["CVE-2026-1111"],`+
				`"issued":"0001-01-01T00:00:00Z","updated":"0001-01-01T00:00:00Z","withdrawn":false,"url":"https://repo.example/ALSA-2026:2"}`, field(t, came[1].Raw, "data", "advisory"))
			f.want("its release", []any{"demo", albs.ReleaseID(2), int64(5), []string{"el9"}, "https://repo.example/ALSA-2026:2"},
				[]any{came[1].Body.Data.Product, came[1].Body.Data.Release, came[1].Body.Data.Serial, came[1].Body.Data.Platforms, came[1].Body.Data.URL})
			f.want("a failure", []any{"no room left", "https://albs.example/release/4"}, []any{came[6].Body.Data.Reason, came[6].Body.Data.URL})
			f.want("a trouble", []string{"a is missing"}, came[7].Body.Data.Troubles)
		}
		ids := map[string]bool{}
		for _, g := range came {
			ids[g.ID] = true
		}
		if len(ids) != len(came) || ids[""] || !strings.HasPrefix(came[0].ID, "msg_") || strings.Contains(came[0].ID, ".") {
			t.Errorf("ids %v", ids)
		}

		// A crash of the follower has it see everything again.
		f.followed(true)
		f.sent()
		f.want("after everything was followed again", []string(nil), titles(all.taken()))
		s, err := f.Get(f.admin, sAll.ID)
		f.must(err)
		f.want("counts", []int{0, len(want), 0}, []int{s.Waiting, s.Sent, s.Dead})
		if strings.Contains(f.log.String(), "secret-token") {
			t.Errorf("the log has the address of a webhook:\n%s", f.log)
		}
	})
}

// field returns a member of a JSON object.
func field(t *testing.T, doc string, path ...string) string {
	t.Helper()
	for _, name := range path {
		var o map[string]json.RawMessage
		if err := json.Unmarshal([]byte(doc), &o); err != nil {
			t.Fatal(err)
		}
		doc = string(o[name])
	}
	return doc
}

// TestBuilds: a build is told of once each time that it ends, however many tasks it has.
func TestBuilds(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := open(t, d, Config{}, local)
		h := newHook(t)
		task := func(state albs.TaskState) {
			f.happens("task."+string(state), "build:7", map[string]any{"task": 1, "state": state})
		}
		is := func(b Build) {
			f.world.mu.Lock()
			defer f.world.mu.Unlock()
			f.world.builds[7] = b
		}
		running := Build{Product: "demo", Platforms: []string{"el9"}, Packages: []string{"zlib", "bash"}, State: "running"}
		is(running)
		task(albs.TaskSucceeded)
		f.followed(false)
		f.want("looks before anybody wants to know", 0, f.world.looks)

		f.subscribe(h, Filter{Kinds: []Kind{BuildSucceeded, BuildFailed, BuildCancelled}})
		for range 50 {
			task(albs.TaskSucceeded)
		}
		task(albs.TaskLeased)
		f.followed(false)
		f.sent()
		f.want("while it runs", []string(nil), titles(h.taken()))
		f.want("looks", 1, f.world.looks)

		failed := running
		failed.State, failed.Reason, failed.Finished = "failed", "zlib x86_64 build: exit 1", f.now()
		is(failed)
		task(albs.TaskFailed)
		f.followed(false)
		task(albs.TaskSucceeded) // of a test: the build has ended already
		f.followed(false)
		f.sent()
		came := h.taken()
		f.want("once it failed", []string{"build.failed Build 7 has failed: bash, zlib"}, titles(came))
		if len(came) == 1 {
			f.want("why", []any{"zlib x86_64 build: exit 1", albs.BuildID(7), []string{"bash", "zlib"}, "https://albs.example/build/7"},
				[]any{came[0].Body.Data.Reason, came[0].Body.Data.Build, came[0].Body.Data.Packages, came[0].Body.Data.URL})
		}
		succeeded := running
		succeeded.State, succeeded.Finished = "succeeded", f.now().Add(time.Minute)
		is(succeeded)
		f.later(time.Minute)
		task(albs.TaskSucceeded)
		f.followed(false)
		f.sent()
		f.want("once a person had retried it", []string{"build.succeeded Build 7 has succeeded: bash, zlib"}, titles(h.taken()))

		f.happens("task.failed", "build:8", map[string]any{"task": 1, "state": "failed"}) // deleted since
		f.followed(false)
		f.world.err = errors.New("the database is away")
		task(albs.TaskSucceeded)
		ctx := auth.System(t.Context(), "test")
		f.settled()
		es, err := f.Events.Since(ctx, f.seen, "", 10)
		f.must(err)
		for _, e := range es {
			f.must(f.follow(ctx, e))
		}
		if err := f.lookAtBuilds(ctx); err == nil {
			t.Error("a build that couldn't be looked at is no error")
		}
		rows, err := toLookAt(ctx, f.DB, 0, 10)
		if err != nil || len(rows) != 1 || rows[0].Build != 7 {
			t.Errorf("builds to look at are %v, %v; want 7, to be looked at again", rows, err)
		}
	})
}

// TestRetries: a delivery is tried again under its id, ever more slowly, until it is taken
// or a day is over; then it is dead until a person has it sent.
func TestRetries(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := open(t, d, Config{}, local)
		h := newHook(t)
		h.says(status(503))
		s := f.subscribe(h, Filter{Kinds: []Kind{Failed}})
		f.happens("release.failed", "release:1", map[string]any{"release": 1, "product": "demo"})
		f.followed(false)
		began := f.now()
		var waits []time.Duration
		for last := began; len(waits) < 100; {
			f.sent()
			d := f.deliveries(s.ID)[0]
			if d.State != Waiting {
				break
			}
			waits = append(waits, d.Next.Sub(last).Round(time.Minute/2))
			f.later(d.Next.Sub(f.now()) - time.Second)
			n := len(h.taken())
			f.sent()
			if again := len(h.taken()); n > 1 || again != 0 {
				t.Fatalf("%d attempts at once, %d before its time", n, again)
			}
			f.later(time.Second + time.Millisecond)
			last = d.Next
		}
		f.want("the first pauses", []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 32 * time.Minute, time.Hour, time.Hour}, waits[:9])
		if took := f.now().Sub(began); took < giveUp-longest || took > giveUp {
			t.Errorf("it was given up after %v", took)
		}
		dead := f.deliveries(s.ID)[0]
		if dead.State != Dead || dead.Attempts < 20 || dead.Attempts > 40 || !strings.Contains(dead.Reason, "503") || dead.Ended.IsZero() {
			t.Errorf("it is %+v", dead)
		}

		// A person has it sent again, and it is what it was.
		h.says(nil)
		h.taken()
		if _, err := f.Retry(f.admin, dead.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Retry(f.admin, dead.ID); !errors.Is(err, albs.Conflict) {
			t.Errorf("the second time: %v", err)
		}
		f.sent()
		came := h.taken()
		if len(came) != 1 || came[0].ID != dead.Message {
			t.Errorf("%v came, want %s", came, dead.Message)
		}
		f.want("in the end", []string{fmt.Sprintf("release.failed sent %d", dead.Attempts+1)}, states(f.deliveries(s.ID)))
	})
}

// TestSentAndNotMarked: a master that dies between the two has it sent again, under the
// same id, once its lease is over; and who comes back with an old claim writes nothing.
func TestSentAndNotMarked(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := open(t, d, Config{}, local)
		h := newHook(t)
		s := f.subscribe(h, Filter{Kinds: []Kind{Failed}})
		f.happens("release.failed", "release:1", map[string]any{"release": 1, "product": "demo"})
		f.followed(false)
		ctx := auth.System(t.Context(), "test")
		lane, err := f.claim(ctx, s.ID)
		f.must(err)
		row, err := nextDelivery(ctx, f.DB, lane.ID, at(f.now()))
		f.must(err)
		if o := f.transmit(ctx, lane, row); !o.ok {
			t.Fatalf("it wasn't taken: %+v", o)
		}
		f.sent() // another master looks: the lane is had
		first := h.taken()
		f.later(lease + time.Second)
		f.sent()
		second := h.taken()
		if len(first) != 1 || len(second) != 1 || first[0].ID != second[0].ID || first[0].Raw != second[0].Raw {
			t.Errorf("%v, then %v; want the same once more", first, second)
		}
		if _, err := f.mark(ctx, &lane, row, outcome{reason: "late"}); !errors.Is(err, albs.Conflict) {
			t.Errorf("an old claim could write: %v", err)
		}
		f.want("deliveries", []string{"release.failed sent 1"}, states(f.deliveries(s.ID)))
	})
}

// TestRestart: the only master that there can be waits for no lease of its own.
func TestRestart(t *testing.T) {
	t.Parallel()
	f := open(t, dbtest.Open(t, dbtest.SQLite(t)), Config{}, local)
	h := newHook(t)
	s := f.subscribe(h, Filter{Kinds: []Kind{Failed}})
	_, err := f.Test(f.admin, s.ID)
	f.must(err)
	lane, err := f.claim(auth.System(t.Context(), "test"), s.ID)
	f.must(err)
	mastertest.Run(t, f.send)
	wait(t, func() bool { h.mu.Lock(); defer h.mu.Unlock(); return len(h.got) == 1 })
	if err := f.Notices.release(auth.System(t.Context(), "test"), lane); !errors.Is(err, albs.Conflict) {
		t.Errorf("who had it before has it still: %v", err)
	}
}

// TestTwoMasters: of two that send at once, each lane is one's. On SQLite there is one.
func TestTwoMasters(t *testing.T) {
	t.Parallel()
	f := open(t, dbtest.Open(t, dbtest.Postgres(t)), Config{}, local)
	h := newHook(t)
	f.subscribe(h, Filter{Kinds: []Kind{Failed}})
	const n = 30
	for i := range n {
		f.happens("release.failed", "release:1", map[string]any{"release": i + 1, "product": "demo"})
	}
	f.followed(false)
	other := *f.Notices
	stop := mastertest.Run(t, f.send, other.send)
	wait(t, func() bool { h.mu.Lock(); defer h.mu.Unlock(); return len(h.got) >= n })
	stop()
	ids := map[string]int{}
	for _, g := range h.taken() {
		ids[g.ID]++
	}
	if len(ids) != n {
		t.Errorf("%d of %d came", len(ids), n)
	}
	for id, times := range ids {
		if times != 1 {
			t.Errorf("%s came %d times", id, times)
		}
	}
}

// wait returns when ok does, within good time.
func wait(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); {
		if time.Now().After(end) {
			t.Fatal("it didn't happen within a minute")
		}
		select {
		case <-t.Context().Done():
			t.Fatal("the test ended while waiting")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// TestRun: with all loops at work, what happens comes by itself.
func TestRun(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := open(t, d, Config{}, local)
		h := newHook(t)
		f.subscribe(h, Filter{Kinds: []Kind{Published, Released, BuildFailed}})
		f.world.builds[7] = Build{Packages: []string{"bash"}, State: "failed", Finished: f.now().Add(time.Second)}
		f.later(time.Second)
		mastertest.Run(t, f.Events.Run, f.Run)
		f.release(2, note("ALSA-2026:2", "el9", "important"))
		f.happens("task.failed", "build:7", map[string]any{"state": "failed"})
		wait(t, func() bool { h.mu.Lock(); defer h.mu.Unlock(); return len(h.got) == 3 })
		came := titles(h.taken())
		slices.Sort(came)
		f.want("what came", []string{"build.failed Build 7 has failed: bash", "errata.released ALSA-2026:2 of el9: important: bash update", "release.published Release 2 of demo is published"}, came)
	})
}

// TestDeadTarget: a receiver that is away holds up nobody but itself, and is asked about
// one delivery at a time.
func TestDeadTarget(t *testing.T) {
	t.Parallel()
	f := open(t, dbtest.Open(t, dbtest.SQLite(t)), Config{}, local)
	dead, alive := newHook(t), newHook(t)
	dead.says(status(500))
	s := f.subscribe(dead, Filter{Kinds: []Kind{Failed}})
	f.subscribe(alive, Filter{Kinds: []Kind{Failed}})
	for i := range 20 {
		f.happens("release.failed", "release:1", map[string]any{"release": i + 1, "product": "demo"})
	}
	f.followed(false)
	f.sent()
	f.want("attempts at both", []int{1, 20}, []int{len(dead.taken()), len(alive.taken())})
	// One message that a receiver can't bear doesn't keep the others from it for long.
	dead.says(func(w http.ResponseWriter, _ *http.Request) {
		if dead.got[len(dead.got)-1].Body.Data.Release == 1 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	f.later(31 * time.Second)
	f.sent()
	f.later(31 * time.Second)
	f.sent()
	got, err := f.Get(f.admin, s.ID)
	f.must(err)
	f.want("waiting and sent", []int{1, 19}, []int{got.Waiting, got.Sent})
	// What nobody could be asked about in time is dead with the lane's reason or its own.
	dead.says(nil)
	f.later(giveUp)
	f.sent()
	if ds := f.deliveries(s.ID); ds[0].State != Dead || !strings.Contains(ds[0].Reason, "500") {
		t.Errorf("the first is %+v", ds[0])
	}
}

// TestGone: a receiver that answers 410 is not asked again.
func TestGone(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := open(t, d, Config{}, local)
		h := newHook(t)
		h.says(status(410))
		s := f.subscribe(h, Filter{Kinds: []Kind{Failed}})
		for i := range 3 {
			f.happens("release.failed", "release:1", map[string]any{"release": i + 1, "product": "demo"})
		}
		f.followed(false)
		f.sent()
		f.want("attempts", 1, len(h.taken()))
		f.want("deliveries", []string{"release.failed dead 1", "release.failed dead 0", "release.failed dead 0"}, states(f.deliveries(s.ID)))
		got, err := f.Get(f.admin, s.ID)
		if err != nil || !strings.Contains(got.Stopped, "410") {
			t.Errorf("it is stopped for %q, %v", got.Stopped, err)
		}
		f.happens("release.failed", "release:9", map[string]any{"release": 9, "product": "demo"})
		f.followed(false)
		f.want("deliveries once it is stopped", 3, len(f.deliveries(s.ID)))
		if _, err := f.Test(f.admin, s.ID); !errors.Is(err, albs.Conflict) {
			t.Errorf("a test: %v", err)
		}
		if _, err := f.Retry(f.admin, f.deliveries(s.ID)[0].ID); !errors.Is(err, albs.Conflict) {
			t.Errorf("a retry: %v", err)
		}
		f.settled()
		es, err := f.Events.Since(t.Context(), 0, Topic, 100)
		f.must(err)
		if !slices.ContainsFunc(es, func(e event.Event) bool { return e.Kind == eventStopped }) {
			t.Error("nobody is told that it is stopped")
		}
		// A person starts it again.
		h.says(nil)
		on := true
		_, err = f.Edit(f.admin, s.ID, Change{Active: &on})
		f.must(err)
		_, err = f.Test(f.admin, s.ID)
		f.must(err)
		f.sent()
		f.want("a test", []string{"notice.test A test, asked for by user:olga"}, titles(h.taken()))
	})
}

// TestHostileTargets: whatever a receiver does, an attempt ends soon, reads little and goes
// nowhere else.
func TestHostileTargets(t *testing.T) {
	t.Parallel()
	elsewhere := newHook(t)
	for _, tc := range []struct {
		name   string
		answer func(w http.ResponseWriter, r *http.Request)
		ok     bool
		says   string
		waits  bool // until the attempt's time is over
	}{
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.url, http.StatusTemporaryRedirect)
		}, false, "redirects aren't followed", false},
		{"a redirect to this host", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/latest/meta-data", http.StatusFound)
		}, false, "redirects aren't followed", false},
		{"an endless answer", func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}, true, "", false},
		{"no answer", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, false, "didn't answer in time", true},
		{"a slow answer", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusNoContent - 4)
			for r.Context().Err() == nil {
				_, _ = w.Write([]byte("x"))
				w.(http.Flusher).Flush()
				time.Sleep(10 * time.Millisecond) // the receiver's, who takes its time
			}
		}, true, "", true},
		{"a hang-up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, false, "", false},
		{"endless headers", func(w http.ResponseWriter, _ *http.Request) {
			for i := range 2000 {
				w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 100))
			}
		}, false, "header", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := open(t, dbtest.Open(t, dbtest.SQLite(t)), Config{}, local)
			h := newHook(t)
			h.says(tc.answer)
			s := f.subscribe(h, Filter{Kinds: []Kind{Failed}})
			row, err := getSubscription(t.Context(), f.DB, s.ID)
			f.must(err)
			within := time.Minute // for attemptTime
			switch {
			case tc.waits && tc.ok: // all before it has to fit in
				within = 5 * time.Second
			case tc.waits:
				within = 500 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			o := f.post(ctx, row, deliveryRow{Message: "msg_x", Document: `{}`})
			if o.ok != tc.ok || o.final || !strings.Contains(o.reason, tc.says) {
				t.Errorf("it ends with %+v, want ok %t and %q", o, tc.ok, tc.says)
			}
			if strings.Contains(o.reason, "secret-token") {
				t.Errorf("the reason has the address: %s", o.reason)
			}
		})
	}
	t.Cleanup(func() {
		if n := len(elsewhere.taken()); n != 0 {
			t.Errorf("a redirect was followed %d times", n)
		}
	})
}

// TestRefusedAddresses: what egress doesn't open isn't dialled, whenever it was closed.
func TestRefusedAddresses(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, dbtest.SQLite(t))
	f := open(t, d, Config{}, local)
	h := newHook(t)
	s := f.subscribe(h, Filter{Kinds: []Kind{Failed}})
	closed, err := egress.New(egress.Policy{})
	f.must(err)
	f.Outside, f.client = closed, strict(closed.Client())
	for _, url := range []string{
		h.url, "http://[::1]/", "http://169.254.169.254/latest/", "https://10.1.2.3/", "https://hooks.example:8443/", "file:///etc/passwd", "https://user:pw@hooks.example/", "ftp://hooks.example/",
		"hooks.example", "", "https://hooks.example/#part", "https://hooks.example/\r\nX: y", "https://" + strings.Repeat("x", maxTarget),
	} {
		_, _, err := f.Subscribe(f.admin, NewSubscription{Channel: Webhook, Target: url, Filter: Filter{Kinds: []Kind{Failed}}})
		if k := albs.KindOf(err); k != albs.Forbidden && k != albs.Invalid && k != albs.TooLarge {
			t.Errorf("%.60q: %v, want it refused", url, err)
		}
	}
	// A name can only be judged once it is resolved.
	f.happens("release.failed", "release:1", map[string]any{"release": 1, "product": "demo"})
	f.followed(false)
	f.sent()
	if ds := f.deliveries(s.ID); len(ds) != 1 || ds[0].State != Dead || !strings.Contains(ds[0].Reason, "master.egress.allow") || strings.Contains(ds[0].Reason, "secret-token") {
		t.Errorf("what is closed since came to %+v", ds)
	}
	f.must(d.InTx(t.Context(), func(tx db.Tx) error {
		_, err := tx.ExecContext(t.Context(), `UPDATE notice_subscription SET target = $1`, "http://localhost/secret-token")
		return err
	}))
	if _, err := f.Test(f.admin, s.ID); err != nil {
		t.Fatal(err)
	}
	f.sent()
	if ds := f.deliveries(s.ID); len(ds) != 2 || ds[1].State != Dead || !strings.Contains(ds[1].Reason, "may not be reached") {
		t.Errorf("a name of this host came to %+v", ds)
	}
	if n := len(h.taken()); n != 0 {
		t.Errorf("it was dialled %d times", n)
	}
}

// TestWhoMay: who manages a team's products manages its subscriptions, operators all; to
// others they aren't there.
func TestWhoMay(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := open(t, d, Config{Mail: Mail{Server: "mail.example:587", From: "albs@example.org"}}, local)
		as := func(g ...auth.Grant) context.Context {
			return auth.With(t.Context(), auth.Actor{Kind: auth.KindPerson, User: 7, Name: "p", Grants: g})
		}
		core, operator := as(auth.Grant{Role: auth.ProductMaintainer, Team: "core"}), as(auth.Grant{Role: auth.Operator})
		other := as(auth.Grant{Role: auth.ProductMaintainer, Team: "other"}, auth.Grant{Role: auth.Contributor, Team: "core"})
		nobody := as(auth.Grant{Role: auth.Contributor, Team: "core"})
		mail := NewSubscription{Team: "core", Channel: ByMail, Target: "security@example.org", Filter: Filter{Kinds: []Kind{Released}}, Note: "the security team"}
		s, key, err := f.Subscribe(core, mail)
		if err != nil || key != "" {
			t.Fatalf("Subscribe = %q, %v", key, err)
		}
		global := mail
		global.Team = ""
		for _, tc := range []struct {
			name string
			err  error
			want albs.Kind
		}{
			{"a team's, by another", second(f.Subscribe(other, mail)), albs.Forbidden},
			{"the installation's, by a maintainer", second(f.Subscribe(core, global)), albs.Forbidden},
			{"the installation's, by an operator", second(f.Subscribe(operator, global)), ""},
			{"anybody's, by nobody", second(f.Subscribe(t.Context(), mail)), albs.Unauthenticated},
			{"of a team that isn't there", second(f.Subscribe(operator, NewSubscription{Team: "none", Channel: ByMail, Target: "a@b.example", Filter: mail.Filter})), albs.NotFound},
			{"get, by another", errOf(f.Get(other, s.ID)), albs.NotFound},
			{"get, by one who manages none", errOf(f.Get(nobody, s.ID)), albs.Forbidden},
			{"get of none, by one who manages none", errOf(f.Get(nobody, 99)), albs.Forbidden},
			{"get, by nobody", errOf(f.Get(t.Context(), s.ID)), albs.Unauthenticated},
			{"get", errOf(f.Get(core, s.ID)), ""},
			{"list, by one who manages none", errOf(f.List(nobody)), albs.Forbidden},
			{"edit, by another", errOf(f.Edit(other, s.ID, Change{})), albs.NotFound},
			{"edit of an old revision", errOf(f.Edit(core, s.ID, Change{Revision: 9})), albs.Conflict},
			{"edit to a bad address", errOf(f.Edit(core, s.ID, Change{Target: ptr("x")})), albs.Invalid},
			{"edit to a bad note", errOf(f.Edit(core, s.ID, Change{Note: ptr("a\nb")})), albs.Invalid},
			{"edit to no kind", errOf(f.Edit(core, s.ID, Change{Filter: &Filter{}})), albs.Invalid},
			{"test, by another", errOf(f.Test(other, s.ID)), albs.NotFound},
			{"deliveries, by another", errOf(f.Deliveries(other, s.ID, 0)), albs.NotFound},
			{"retry of none", errOf(f.Retry(core, 99)), albs.NotFound},
			{"retry, by one who manages none", errOf(f.Retry(nobody, 99)), albs.Forbidden},
			{"remove, by another", f.Remove(other, s.ID), albs.NotFound},
		} {
			if albs.KindOf(tc.err) != tc.want {
				t.Errorf("%s: %v, want %q", tc.name, tc.err, tc.want)
			}
		}
		for who, want := range map[context.Context]int{core: 1, operator: 2, other: 0} {
			if list, err := f.List(who); len(list) != want || err != nil {
				t.Errorf("%s sees %d subscriptions, %v; want %d", auth.From(who), len(list), err, want)
			}
		}
		off := false
		got, err := f.Edit(core, s.ID, Change{Revision: 1, Note: ptr("theirs"), Target: ptr("list@example.org"), Filter: &Filter{Kinds: []Kind{Published}}, Active: &off})
		if err != nil || got.Note != "theirs" || got.Target != "list@example.org" || got.Stopped == "" || !slices.Equal(got.Filter.Kinds, []Kind{Published}) || got.Revision < 2 {
			t.Errorf("Edit = %+v, %v", got, err)
		}
		f.must(f.Remove(core, s.ID))
		if _, err := f.Get(core, s.ID); !errors.Is(err, albs.NotFound) {
			t.Errorf("once removed: %v", err)
		}
		f.settled()
		es, err := f.Events.Since(t.Context(), 0, Topic, 100)
		f.must(err)
		var kinds []string
		for _, e := range es {
			kinds = append(kinds, e.Kind)
			if strings.Contains(string(e.Data), "example.org") {
				t.Errorf("event %s has the address: %s", e.Kind, e.Data)
			}
		}
		f.want("events", []string{eventAdded, eventAdded, eventChanged, eventRemoved}, kinds)
	})
}

func ptr[T any](v T) *T { return &v }

func errOf[T any](_ T, err error) error { return err }

func second[A, B any](_ A, _ B, err error) error { return err }

// TestPrune: what has ended goes after a month, what waits stays.
func TestPrune(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := open(t, d, Config{}, local)
		h := newHook(t)
		s := f.subscribe(h, Filter{Kinds: []Kind{Failed}})
		f.happens("release.failed", "release:1", map[string]any{"release": 1, "product": "demo"})
		f.followed(false)
		f.sent()
		f.later(keptFor)
		cut := at(f.now().Add(-keptFor))
		h.says(status(500))
		_, err := f.Test(f.admin, s.ID)
		f.must(err)
		f.sent()
		f.must(d.InTx(t.Context(), func(tx db.Tx) error { return prune(t.Context(), tx, at(cut.Add(time.Second))) }))
		f.want("deliveries", []string{"notice.test waiting 1"}, states(f.deliveries(s.ID)))
		f.followed(true)
		f.want("deliveries, followed again", []string{"notice.test waiting 1"}, states(f.deliveries(s.ID)))
	})
}
