package workertest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/worker"
)

// Run holds a worker.Master to the contract of package worker; newFixture returns
// a fresh one for each test. Unavailable and NoSpace, which the suite cannot bring
// about, are asked for where they arise: in packages db, blob and worker.
func Run(t *testing.T, newFixture func(t *testing.T) Fixture) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Fixture)
	}{
		{"claim", testClaim},
		{"claims together", testClaimsTogether},
		{"claim wakes", testClaimWakes},
		{"claim ends with its context", testClaimEnds},
		{"labels", testLabels},
		{"renew", testRenew},
		{"revive", testRevive},
		{"stale token", testStale},
		{"foreign token", testForeign},
		{"unknown task", testUnknown},
		{"complete twice", testComplete},
		{"complete together", testCompleteTogether},
		{"infra", testInfra},
		{"lost", testLost},
		{"given back", testGivenBack},
		{"stop", testStop},
		{"log", testLog},
		{"get", testGet},
		{"get of spoilt bytes", testGetSpoilt},
		{"put", testPut},
		{"put broken off", testPutBroken},
		{"put of other bytes", testPutOther},
		{"calls together", testTogether},
		{"restart", testRestart},
		{"no identity", testNoIdentity},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, newFixture(t))
		})
	}
}

var (
	needs  = []string{"kind:build", "arch:x86_64"}
	offers = []string{"kind:build", "arch:x86_64", "big"}
)

// build returns a task whose worker may read srpm.
func build(srpm albs.Digest) Task {
	return Task{Needs: needs, Spec: albs.Spec{Build: &albs.BuildSpec{
		Root: albs.Root{Platform: "seed", Releasever: "1", Arch: albs.X8664, RPMDBPath: "/var/lib/rpm"},
		SRPM: albs.File{Name: "hello-1-1.src.rpm", Digest: srpm, Size: 1}, Arch: albs.X8664,
	}}}
}

// claim returns m's next lease; it fails the test if there is none.
func claim(t *testing.T, m worker.Master) *worker.Lease {
	t.Helper()
	l, err := m.Claim(t.Context(), worker.Offer{Version: "test", Labels: offers, Wait: 10})
	if err != nil || l == nil {
		t.Fatalf("Claim = %v, %v; want a lease", l, err)
	}
	return l
}

// none checks that nothing can be claimed now.
func none(t *testing.T, m worker.Master, labels ...string) {
	t.Helper()
	if l, err := m.Claim(t.Context(), worker.Offer{Labels: labels}); l != nil || err != nil {
		t.Errorf("Claim = %+v, %v; want none", l, err)
	}
}

func want(t *testing.T, call string, err error, kind albs.Kind) {
	t.Helper()
	if albs.KindOf(err) != kind {
		t.Errorf("%s = %v, want kind %q", call, err, kind)
	}
}

// start returns a worker that holds a lease on a new task.
func start(t *testing.T, f Fixture) (worker.Master, *worker.Lease) {
	t.Helper()
	m := f.Worker(t, offers...)
	f.Enqueue(t, build(f.Blob(t, []byte("srpm"))))
	return m, claim(t, m)
}

func testClaim(t *testing.T, f Fixture) {
	m := f.Worker(t, offers...)
	none(t, m, offers...)
	task := build(f.Blob(t, []byte("srpm")))
	id := f.Enqueue(t, task)
	before := time.Now()
	l := claim(t, m)
	if l.Token.Task != id || l.Token.Fence < 1 || l.Kind != albs.KindBuild || l.Attempt != 1 || l.Term <= 0 {
		t.Errorf("Claim = %+v, want the first attempt at task %d", l, id)
	}
	// The clocks are one machine's here; seconds of rounding are no matter.
	if d := l.Until.Sub(before) - l.Term; d < -time.Second || d > 15*time.Second {
		t.Errorf("lease until %v, claimed after %v for %v", l.Until, before, l.Term)
	}
	if diff := cmp.Diff(task.Spec, l.Spec); diff != "" {
		t.Errorf("spec (-want +got):\n%s", diff)
	}
	if s := f.State(t, id); s != albs.TaskLeased {
		t.Errorf("state %s, want leased", s)
	}
	none(t, m, offers...)
	none(t, f.Worker(t, offers...), offers...)
}

// Many ask at once, each several times: every task goes to one of them.
func testClaimsTogether(t *testing.T, f Fixture) {
	const tasks, workers = 12, 4
	task := build(f.Blob(t, []byte("srpm")))
	for range tasks {
		f.Enqueue(t, task)
	}
	got := make(chan worker.Token, 2*tasks)
	var wg sync.WaitGroup
	for range workers {
		m := f.Worker(t, offers...)
		wg.Go(func() {
			for range tasks / workers {
				l, err := m.Claim(t.Context(), worker.Offer{Labels: offers, Wait: 10})
				if err != nil || l == nil {
					t.Errorf("Claim = %v, %v; want a lease", l, err)
					return
				}
				got <- l.Token
			}
		})
	}
	wg.Wait()
	close(got)
	seen := make(map[albs.TaskID]bool)
	for token := range got {
		if seen[token.Task] {
			t.Errorf("task %d was leased twice", token.Task)
		}
		seen[token.Task] = true
	}
	if len(seen) != tasks {
		t.Errorf("%d tasks were leased, want %d", len(seen), tasks)
	}
}

func testClaimWakes(t *testing.T, f Fixture) {
	m := f.Worker(t, offers...)
	srpm := f.Blob(t, []byte("srpm"))
	type answer struct {
		lease *worker.Lease
		err   error
	}
	got := make(chan answer, 1)
	began := time.Now()
	go func() {
		l, err := m.Claim(t.Context(), worker.Offer{Labels: offers, Wait: worker.MaxClaimWait})
		got <- answer{l, err}
	}()
	id := f.Enqueue(t, build(srpm))
	if a := <-got; a.err != nil || a.lease == nil || a.lease.Token.Task != id {
		t.Fatalf("Claim = %+v, %v; want task %d", a.lease, a.err, id)
	}
	if d := time.Since(began); d > worker.MaxClaimWait*2/3*time.Second {
		t.Errorf("the waiting claim was woken after %v", d)
	}
}

func testClaimEnds(t *testing.T, f Fixture) {
	m := f.Worker(t, offers...)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	began := time.Now()
	if l, _ := m.Claim(ctx, worker.Offer{Labels: offers, Wait: worker.MaxClaimWait}); l != nil {
		t.Errorf("Claim = %+v, want none", l)
	}
	if d := time.Since(began); d > worker.MaxClaimWait*2/3*time.Second {
		t.Errorf("Claim outlived its context by %v", d)
	}
}

func testLabels(t *testing.T, f Fixture) {
	m := f.Worker(t, "kind:build", "arch:x86_64")
	f.Enqueue(t, Task{Needs: []string{"kind:build", "arch:s390x"}, Spec: build(f.Blob(t, []byte("a"))).Spec})
	none(t, m, "kind:build", "arch:x86_64")
	none(t, m)
	_, err := m.Claim(t.Context(), worker.Offer{Labels: []string{"kind:build", "arch:s390x"}})
	want(t, "Claim with a label beyond the identity", err, albs.Forbidden)
	if l, err := f.Worker(t, "kind:build", "arch:s390x", "big").Claim(t.Context(), worker.Offer{Labels: []string{"arch:s390x", "big", "kind:build"}, Wait: 10}); err != nil || l == nil {
		t.Errorf("Claim with more labels than needed = %v, %v; want a lease", l, err)
	}
}

func testRenew(t *testing.T, f Fixture) {
	m, l := start(t, f)
	for range 2 {
		now := time.Now()
		until, err := m.Renew(t.Context(), l.Token)
		want(t, "Renew", err, "")
		if d := until.Sub(now) - l.Term; d < -time.Second || d > 15*time.Second {
			t.Errorf("Renew at %v = %v, want a term of %v from then", now, until, l.Term)
		}
	}
	none(t, f.Worker(t, offers...), offers...)
}

func testRevive(t *testing.T, f Fixture) {
	m := f.Worker(t, offers...)
	other := f.Worker(t, offers...)
	d := f.Blob(t, []byte("srpm"))
	for call := range strings.FieldsSeq("Renew Log Get Stat Put") {
		id := f.Enqueue(t, build(d))
		l := claim(t, m)
		f.Expire(t, id)
		calls(t, m, l, "", call)
		none(t, other, offers...)
		until, err := m.Renew(t.Context(), l.Token)
		want(t, "Renew after "+call, err, "")
		if !until.After(l.Until) {
			t.Errorf("after %s of an expired lease it goes to %v, as before to %v", call, until, l.Until)
		}
		want(t, "Complete after "+call, m.Complete(t.Context(), l.Token, albs.OutcomeOK, albs.Result{}), "")
	}
	id := f.Enqueue(t, build(d))
	l := claim(t, m)
	f.Expire(t, id)
	want(t, "Complete of an expired lease that nobody claimed", m.Complete(t.Context(), l.Token, albs.OutcomeOK, albs.Result{}), "")
	if s := f.State(t, id); s != albs.TaskSucceeded {
		t.Errorf("state %s, want succeeded", s)
	}
	none(t, other, offers...)
}

// calls makes the calls named and wants each to end with kind, "" for nil.
func calls(t *testing.T, m worker.Master, l *worker.Lease, kind albs.Kind, names string) {
	t.Helper()
	ctx, d := t.Context(), l.Spec.Build.SRPM.Digest
	for call := range strings.FieldsSeq(names) {
		var err error
		switch call {
		case "Renew":
			_, err = m.Renew(ctx, l.Token)
		case "Complete":
			err = m.Complete(ctx, l.Token, albs.OutcomeOK, albs.Result{})
		case "Log":
			_, err = m.Log(ctx, l.Token, "build", 0, []byte("late"))
		case "Get":
			var r io.ReadCloser
			if r, err = m.Get(ctx, l.Token, d, 0, -1); err == nil {
				_ = r.Close()
			}
		case "Stat":
			_, err = m.Stat(ctx, l.Token, d)
		case "Put":
			_, err = m.Put(ctx, l.Token, albs.DigestOf([]byte("late")), 0, strings.NewReader("late"))
		}
		want(t, call, err, kind)
	}
}

func testStale(t *testing.T, f Fixture) {
	a, old := start(t, f)
	_, err := a.Log(t.Context(), old.Token, "build", 0, []byte("first"))
	want(t, "Log", err, "")
	f.Expire(t, old.Token.Task)
	b := f.Worker(t, offers...)
	l := claim(t, b)
	if l.Token.Task != old.Token.Task || l.Token.Fence <= old.Token.Fence || l.Attempt != 2 {
		t.Fatalf("second claim = %+v after %+v, want attempt 2 with a higher fence", l, old)
	}
	calls(t, a, old, albs.StaleLease, "Renew Complete Log Get Stat Put")
	_, err = b.Renew(t.Context(), l.Token)
	want(t, "the new holder's Renew", err, "")
	if got := f.ReadLog(t, old.Token.Task, 1, "build"); string(got) != "first" {
		t.Errorf("log of attempt 1 = %q, want what came before", got)
	}
	want(t, "the new holder's Complete", b.Complete(t.Context(), l.Token, albs.OutcomeOK, albs.Result{}), "")
	calls(t, a, old, albs.StaleLease, "Complete")
	if s := f.State(t, l.Token.Task); s != albs.TaskSucceeded {
		t.Errorf("state %s, want succeeded", s)
	}
}

func testForeign(t *testing.T, f Fixture) {
	a, l := start(t, f)
	calls(t, f.Worker(t, offers...), l, albs.Forbidden, "Renew Complete Log Get Stat Put")
	_, err := a.Renew(t.Context(), l.Token)
	want(t, "the holder's Renew", err, "")
}

func testUnknown(t *testing.T, f Fixture) {
	m, l := start(t, f)
	l.Token.Task += 1_000_000
	calls(t, m, l, albs.NotFound, "Renew Complete Log Get Stat Put")
}

func testComplete(t *testing.T, f Fixture) {
	m, l := start(t, f)
	result := albs.Result{Reason: "it doesn't compile"}
	for range 5 {
		want(t, "Complete", m.Complete(t.Context(), l.Token, albs.OutcomeFailed, result), "")
	}
	if s := f.State(t, l.Token.Task); s != albs.TaskFailed {
		t.Errorf("state %s, want failed", s)
	}
	want(t, "Complete with another outcome", m.Complete(t.Context(), l.Token, albs.OutcomeOK, result), albs.StaleLease)
	want(t, "Complete with another result", m.Complete(t.Context(), l.Token, albs.OutcomeFailed, albs.Result{Reason: "other"}), albs.StaleLease)
	calls(t, m, l, albs.StaleLease, "Renew Log Get Stat Put")
	want(t, "Complete by another worker", f.Worker(t, offers...).Complete(t.Context(), l.Token, albs.OutcomeFailed, result), albs.Forbidden)
	want(t, "Complete with no outcome", m.Complete(t.Context(), l.Token, "fine", result), albs.Invalid)
}

// A report that is repeated while the first is under way gets the first one's answer.
func testCompleteTogether(t *testing.T, f Fixture) {
	m, l := start(t, f)
	content := strings.Repeat("a line of the log\n", 10_000)
	d := albs.DigestOf([]byte(content))
	_, err := m.Put(t.Context(), l.Token, d, 0, strings.NewReader(content))
	want(t, "Put", err, "")
	result := albs.Result{Logs: []albs.File{{Name: "build", Digest: d, Size: int64(len(content))}}}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { want(t, "Complete", m.Complete(t.Context(), l.Token, albs.OutcomeOK, result), "") })
	}
	wg.Wait()
	if s := f.State(t, l.Token.Task); s != albs.TaskSucceeded {
		t.Errorf("state %s, want succeeded", s)
	}
}

func testInfra(t *testing.T, f Fixture) {
	m, l := start(t, f)
	result := albs.Result{Reason: "disk full"}
	want(t, "Complete", m.Complete(t.Context(), l.Token, albs.OutcomeInfra, result), "")
	again := claim(t, m)
	if again.Token.Task != l.Token.Task || again.Attempt != 2 || again.Token.Fence <= l.Token.Fence {
		t.Errorf("claim after infra = %+v, want attempt 2 at task %d", again, l.Token.Task)
	}
	want(t, "Complete of the first attempt again", m.Complete(t.Context(), l.Token, albs.OutcomeInfra, result), "")
	if s := f.State(t, l.Token.Task); s != albs.TaskLeased {
		t.Errorf("state %s, want leased", s)
	}
	want(t, "Complete of the second", m.Complete(t.Context(), again.Token, albs.OutcomeInfra, result), "")
	if s := f.State(t, l.Token.Task); s != albs.TaskFailed {
		t.Errorf("state %s after two attempts that ended as infra, want failed", s)
	}
}

// A worker that died in the middle of the work says so when it is back.
func testLost(t *testing.T, f Fixture) {
	m, l := start(t, f)
	result := albs.Result{Reason: "the power went"}
	for range 2 {
		want(t, "Complete", m.Complete(t.Context(), l.Token, albs.OutcomeLost, result), "")
		if s := f.State(t, l.Token.Task); s != albs.TaskQueued {
			t.Errorf("state %s, want queued", s)
		}
	}
	calls(t, m, l, albs.StaleLease, "Renew Get Stat Put Log")
	if again := claim(t, m); again.Token.Task != l.Token.Task || again.Attempt != 2 {
		t.Errorf("claim after the loss = %+v, want attempt 2 at task %d", again, l.Token.Task)
	}
}

// A worker that gives its task back has lost no attempt.
func testGivenBack(t *testing.T, f Fixture) {
	m, l := start(t, f)
	for range 5 {
		want(t, "Complete", m.Complete(t.Context(), l.Token, albs.OutcomeStopped, albs.Result{Reason: "shut down"}), "")
		if s := f.State(t, l.Token.Task); s != albs.TaskQueued {
			t.Fatalf("state %s, want queued", s)
		}
		l = claim(t, m)
	}
	want(t, "Complete", m.Complete(t.Context(), l.Token, albs.OutcomeOK, albs.Result{}), "")
}

func testStop(t *testing.T, f Fixture) {
	m, l := start(t, f)
	f.Stop(t, l.Token.Task)
	calls(t, m, l, albs.Stopped, "Renew Get Stat Put Complete")
	for _, outcome := range []albs.Outcome{albs.OutcomeFailed, albs.OutcomeExcluded, albs.OutcomeInfra, albs.OutcomeLost} {
		want(t, "Complete("+string(outcome)+")", m.Complete(t.Context(), l.Token, outcome, albs.Result{}), albs.Stopped)
	}
	if n, err := m.Log(t.Context(), l.Token, "build", 0, []byte("killed")); n != 6 || err != nil {
		t.Errorf("Log after stop = %d, %v; want 6", n, err)
	}
	for range 2 {
		want(t, "Complete", m.Complete(t.Context(), l.Token, albs.OutcomeStopped, albs.Result{}), "")
	}
	if s := f.State(t, l.Token.Task); s != albs.TaskCancelled {
		t.Errorf("state %s, want cancelled", s)
	}
	none(t, m, offers...)
}

func testLog(t *testing.T, f Fixture) {
	m, l := start(t, f)
	for _, c := range []struct {
		stream string
		offset int64
		p      string
		length int64
		kind   albs.Kind
		want   string
	}{
		{"build", 0, "", 0, "", ""},
		{"build", 0, "hello ", 6, "", "hello "},
		{"build", 0, "hello ", 6, "", "hello "},
		{"build", 3, "lo world", 11, "", "hello world"},
		{"build", 0, "", 11, "", "hello world"},
		{"build", 12, "!", 11, albs.Conflict, "hello world"},
		{"build", 11, "!", 12, "", "hello world!"},
		{"root", 0, "other", 5, "", "other"},
	} {
		n, err := m.Log(t.Context(), l.Token, c.stream, c.offset, []byte(c.p))
		if n != c.length || albs.KindOf(err) != c.kind {
			t.Errorf("Log(%s, %d, %q) = %d, %v; want %d, kind %q", c.stream, c.offset, c.p, n, err, c.length, c.kind)
		}
		if got := f.ReadLog(t, l.Token.Task, 1, c.stream); string(got) != c.want {
			t.Errorf("after Log(%s, %d, %q) readers see %q, want %q", c.stream, c.offset, c.p, got, c.want)
		}
	}
	for _, c := range []struct {
		stream string
		offset int64
		p      string
		kind   albs.Kind
	}{
		{"../x", 0, "x", albs.Invalid},
		{"Build", 0, "x", albs.Invalid},
		{"build", -1, "x", albs.Invalid},
		{"build", 12, strings.Repeat("x", worker.MaxLogChunk+1), albs.TooLarge},
	} {
		_, err := m.Log(t.Context(), l.Token, c.stream, c.offset, []byte(c.p))
		want(t, "Log("+c.stream+")", err, c.kind)
	}
	if got := f.ReadLog(t, l.Token.Task, 1, "build"); string(got) != "hello world!" {
		t.Errorf("after refused calls readers see %q", got)
	}
	long := "a" + strings.Repeat("-", 63) // the longest name there may be
	if n, err := m.Log(t.Context(), l.Token, long, 0, []byte("x")); n != 1 || err != nil {
		t.Errorf("Log(%s) = %d, %v", long, n, err)
	}
	big := bytes.Repeat([]byte("x"), worker.MaxLogChunk)
	if n, err := m.Log(t.Context(), l.Token, "big", 0, big); n != int64(len(big)) || err != nil {
		t.Errorf("Log of MaxLogChunk = %d, %v", n, err)
	}
}

func read(r io.ReadCloser, err error) (string, error) {
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(r)
	return string(b), errors.Join(err, r.Close())
}

func testGet(t *testing.T, f Fixture) {
	m := f.Worker(t, offers...)
	content := "the bytes of a source package"
	d := f.Blob(t, []byte(content))
	other := f.Blob(t, []byte("another task's"))
	snapshot := f.Blob(t, []byte("a snapshot"))
	under := f.Under(t, snapshot, []byte("a package of it"))
	foreign := f.Under(t, f.Blob(t, []byte("another snapshot")), []byte("a package of that"))
	task := build(d)
	task.Spec.Build.Root.Repos = []albs.Repo{{ID: "base", Snapshot: snapshot}}
	f.Enqueue(t, task)
	l := claim(t, m)
	for _, c := range []struct {
		offset, length int64
		want           string
	}{
		{0, -1, content}, {4, 5, "bytes"}, {4, -1, content[4:]}, {0, 3, "the"}, {4, 0, ""},
		{0, 500, content}, {int64(len(content)), -1, ""},
	} {
		if got, err := read(m.Get(t.Context(), l.Token, d, c.offset, c.length)); got != c.want || err != nil {
			t.Errorf("Get(%d, %d) = %q, %v; want %q", c.offset, c.length, got, err, c.want)
		}
	}
	_, err := read(m.Get(t.Context(), l.Token, d, int64(len(content))+1, -1))
	want(t, "Get beyond the end", err, albs.Invalid)
	for d, content := range map[albs.Digest]string{snapshot: "a snapshot", under: "a package of it"} {
		if got, err := read(m.Get(t.Context(), l.Token, d, 0, -1)); got != content || err != nil {
			t.Errorf("Get of %q = %q, %v", content, got, err)
		}
	}
	_, err = read(m.Get(t.Context(), l.Token, foreign, 0, -1))
	want(t, "Get of what lies under another snapshot", err, albs.Forbidden)
	_, err = read(m.Get(t.Context(), l.Token, other, 0, -1))
	want(t, "Get of a blob that the spec doesn't name", err, albs.Forbidden)
	_, err = read(m.Get(t.Context(), l.Token, albs.DigestOf([]byte("nowhere")), 0, -1))
	want(t, "Get of a blob that nobody has", err, albs.Forbidden)
}

func testGetSpoilt(t *testing.T, f Fixture) {
	m := f.Worker(t, offers...)
	d := f.Blob(t, []byte("the bytes of a source package"))
	f.Enqueue(t, build(d))
	l := claim(t, m)
	f.Spoil(t, d)
	if got, err := read(m.Get(t.Context(), l.Token, d, 0, -1)); err == nil {
		t.Errorf("Get of a spoilt blob = %q, want an error", got)
	}
}

func testPut(t *testing.T, f Fixture) {
	m, l := start(t, f)
	ctx, content := t.Context(), strings.Repeat("0123456789", 5000)
	d := albs.DigestOf([]byte(content))
	stat := func(want int64) {
		t.Helper()
		if n, err := m.Stat(ctx, l.Token, d); n != want || err != nil {
			t.Errorf("Stat = %d, %v; want %d", n, err, want)
		}
	}
	stat(0)
	_, err := m.Put(ctx, l.Token, d, 5, strings.NewReader(content[5:]))
	want(t, "Put beyond what is held", err, albs.Conflict)
	if n, err := m.Put(ctx, l.Token, d, 0, strings.NewReader(content[:20000])); n != 20000 || err != nil {
		t.Fatalf("Put = %d, %v; want 20000", n, err)
	}
	stat(20000)
	_, err = m.Put(ctx, l.Token, d, 0, strings.NewReader(content))
	want(t, "Put before what is held", err, albs.Conflict)
	if n, err := m.Put(ctx, l.Token, d, 20000, strings.NewReader(content[20000:])); n != int64(len(content)) || err != nil {
		t.Fatalf("Put = %d, %v; want %d", n, err, len(content))
	}
	stat(int64(len(content)))
	if got, err := read(m.Get(ctx, l.Token, d, 0, -1)); got != content || err != nil {
		t.Errorf("Get of the attempt's upload = %d bytes, %v", len(got), err)
	}
	// Nobody else sees it before Complete.
	b := f.Worker(t, offers...)
	f.Enqueue(t, build(f.Blob(t, []byte("other"))))
	foreign := claim(t, b)
	_, err = read(b.Get(ctx, foreign.Token, d, 0, -1))
	want(t, "Get of a foreign upload", err, albs.Forbidden)
	if n, err := b.Stat(ctx, foreign.Token, d); n != 0 || err != nil {
		t.Errorf("Stat of a foreign upload = %d, %v; want 0", n, err)
	}
	empty := albs.DigestOf(nil)
	if n, err := m.Put(ctx, l.Token, empty, 0, strings.NewReader("")); n != 0 || err != nil {
		t.Errorf("Put of nothing = %d, %v; want 0", n, err)
	}
	result := albs.Result{Logs: []albs.File{{Name: "build", Digest: d, Size: int64(len(content))}, {Name: "empty", Digest: empty}}}
	for range 2 {
		want(t, "Complete", m.Complete(ctx, l.Token, albs.OutcomeOK, result), "")
	}
	if s := f.State(t, l.Token.Task); s != albs.TaskSucceeded {
		t.Errorf("state %s, want succeeded", s)
	}
}

// An upload that breaks off at any point goes on from what the master holds (T11).
func testPutBroken(t *testing.T, f Fixture) {
	m, l := start(t, f)
	ctx, content := t.Context(), strings.Repeat("abcdefgh", 20000)
	d := albs.DigestOf([]byte(content))
	for _, part := range []int{1, 50, 99} {
		held, err := m.Stat(ctx, l.Token, d)
		want(t, "Stat", err, "")
		cut := len(content) * part / 100
		broken := io.MultiReader(strings.NewReader(content[held:cut]), iotest.ErrReader(errors.New("the line is cut")))
		if _, err := m.Put(ctx, l.Token, d, held, broken); err == nil {
			t.Errorf("Put cut at %d %% = nil, want an error", part)
		}
		after, err := m.Stat(ctx, l.Token, d)
		want(t, "Stat", err, "")
		if after < held || after > int64(cut) {
			t.Errorf("after a cut at %d bytes %d are held, %d before", cut, after, held)
		}
	}
	// A master may still be taking the last bytes of a broken call; then the rest
	// begins elsewhere, and Conflict says so.
	for deadline := time.Now().Add(time.Minute); ; {
		held, err := m.Stat(ctx, l.Token, d)
		want(t, "Stat", err, "")
		n, err := m.Put(ctx, l.Token, d, held, strings.NewReader(content[held:]))
		if err == nil && n == int64(len(content)) {
			break
		}
		if !errors.Is(err, albs.Conflict) || time.Now().After(deadline) {
			t.Fatalf("Put of the rest = %d, %v; want %d", n, err, len(content))
		}
	}
	want(t, "Complete", m.Complete(ctx, l.Token, albs.OutcomeOK, albs.Result{Logs: []albs.File{{Name: "build", Digest: d, Size: int64(len(content))}}}), "")
}

// Bytes that don't hash to their name end the attempt as failed (T12).
func testPutOther(t *testing.T, f Fixture) {
	m, l := start(t, f)
	d := albs.DigestOf([]byte("declared"))
	_, err := m.Put(t.Context(), l.Token, d, 0, strings.NewReader("other!!!"))
	want(t, "Put", err, "")
	result := albs.Result{Logs: []albs.File{{Name: "build", Digest: d, Size: 8}}}
	for range 2 {
		want(t, "Complete", m.Complete(t.Context(), l.Token, albs.OutcomeOK, result), albs.Invalid)
	}
	if s := f.State(t, l.Token.Task); s != albs.TaskFailed {
		t.Errorf("state %s, want failed", s)
	}
	calls(t, m, l, albs.StaleLease, "Renew Log Get Stat Put")
	none(t, m, offers...)
}

// One lease serves many calls at once.
func testTogether(t *testing.T, f Fixture) {
	m, l := start(t, f)
	ctx := t.Context()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			stream, content := "s"+strconv.Itoa(i), strings.Repeat(strconv.Itoa(i), 10_000)
			d := albs.DigestOf([]byte(content))
			for at := 0; at < len(content); at += 5000 {
				_, err := m.Renew(ctx, l.Token)
				want(t, "Renew", err, "")
				n, err := m.Log(ctx, l.Token, stream, int64(at), []byte(content[at:at+5000]))
				if n != int64(at+5000) || err != nil {
					t.Errorf("Log(%s, %d) = %d, %v", stream, at, n, err)
				}
				n, err = m.Put(ctx, l.Token, d, int64(at), strings.NewReader(content[at:at+5000]))
				if n != int64(at+5000) || err != nil {
					t.Errorf("Put(%d) = %d, %v", at, n, err)
				}
			}
			if got, err := read(m.Get(ctx, l.Token, d, 0, -1)); got != content || err != nil {
				t.Errorf("Get of an upload = %d bytes, %v", len(got), err)
			}
			if got := f.ReadLog(t, l.Token.Task, 1, stream); string(got) != content {
				t.Errorf("log %s has %d bytes", stream, len(got))
			}
		})
	}
	wg.Wait()
}

// What was answered stays through a crash of the master.
func testRestart(t *testing.T, f Fixture) {
	m, l := start(t, f)
	ctx, content := t.Context(), "0123456789"
	d := albs.DigestOf([]byte(content))
	f.Restart(t)
	none(t, f.Worker(t, offers...), offers...)
	_, err := m.Log(ctx, l.Token, "build", 0, []byte("begun"))
	want(t, "Log", err, "")
	_, err = m.Put(ctx, l.Token, d, 0, strings.NewReader(content[:4]))
	want(t, "Put", err, "")
	f.Restart(t)
	if got := f.ReadLog(t, l.Token.Task, 1, "build"); string(got) != "begun" {
		t.Errorf("log %q", got)
	}
	if n, err := m.Stat(ctx, l.Token, d); n != 4 || err != nil {
		t.Errorf("Stat = %d, %v; want 4", n, err)
	}
	_, err = m.Put(ctx, l.Token, d, 4, strings.NewReader(content[4:]))
	want(t, "Put", err, "")
	result := albs.Result{Logs: []albs.File{{Name: "build", Digest: d, Size: 10}}}
	want(t, "Complete", m.Complete(ctx, l.Token, albs.OutcomeOK, result), "")
	f.Restart(t)
	want(t, "Complete", m.Complete(ctx, l.Token, albs.OutcomeOK, result), "")
	if s := f.State(t, l.Token.Task); s != albs.TaskSucceeded {
		t.Errorf("state %s, want succeeded", s)
	}
	none(t, m, offers...)
}

func testNoIdentity(t *testing.T, f Fixture) {
	_, l := start(t, f)
	m := f.Nobody(t)
	_, err := m.Claim(t.Context(), worker.Offer{Labels: offers})
	want(t, "Claim", err, albs.Unauthenticated)
	calls(t, m, l, albs.Unauthenticated, "Renew Complete Log Get Stat Put")
}
