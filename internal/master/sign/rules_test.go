package sign

import (
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/master/testrun"
	"albs/internal/pgp"
)

func TestStatusOf(t *testing.T) {
	t.Parallel()
	const (
		queued, blocked, leased     = albs.TaskQueued, albs.TaskBlocked, albs.TaskLeased
		succeeded, failed, canceled = albs.TaskSucceeded, albs.TaskFailed, albs.TaskCancelled
	)
	tests := []struct {
		tasks []albs.TaskState
		want  Status
	}{
		{nil, Completed},
		{[]albs.TaskState{queued}, Idle},
		{[]albs.TaskState{blocked, queued}, Idle},
		{[]albs.TaskState{leased, queued}, InProgress},
		{[]albs.TaskState{albs.TaskStopping}, InProgress},
		{[]albs.TaskState{succeeded, queued}, InProgress},
		{[]albs.TaskState{failed, queued}, InProgress},
		{[]albs.TaskState{failed, leased}, InProgress},
		{[]albs.TaskState{succeeded, succeeded}, Completed},
		{[]albs.TaskState{succeeded, failed}, Failed},
		{[]albs.TaskState{canceled}, Failed},
	}
	for _, tt := range tests {
		if got := statusOf(tt.tasks); got != tt.want {
			t.Errorf("statusOf(%v) = %v, want %v", tt.tasks, got, tt.want)
		}
	}
	// The numbers are ALBS's: scripts know them.
	if Idle != 1 || InProgress != 2 || Completed != 3 || Failed != 4 {
		t.Errorf("the statuses are %d %d %d %d", Idle, InProgress, Completed, Failed)
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	d := func(s string) albs.Digest { return albs.DigestOf([]byte(s)) }
	packages := []packageRow{{Unsigned: d("a"), Name: "a.rpm", Kind: "rpm"}, {Unsigned: d("b"), Name: "b.rpm", Kind: "rpm"}, {Unsigned: d("s"), Name: "s.src.rpm", Kind: "srpm"}}
	verdict := func(a, b testrun.State) map[albs.Digest]testrun.Verdict {
		return map[albs.Digest]testrun.Verdict{d("a"): {State: a, Reason: "why a", Untested: a == testrun.Missing}, d("b"): {State: b, Reason: "why b"}}
	}
	tests := []struct {
		a, b testrun.State
		say  string
	}{
		{testrun.Passed, testrun.Passed, ""},
		{testrun.Failed, testrun.Passed, "product p requires passed tests: a.rpm: why a; test it again, or have a maintainer waive that for a reason and at most 90 days: albs test waive 7 a --reason TEXT"},
		{testrun.Passed, testrun.Pending, "product p requires passed tests: b.rpm: why b; wait until they have ended"},
		{testrun.Missing, testrun.Failed, "product p requires passed tests: a.rpm: why a (and 1 more); test it again, or have a maintainer waive that for a reason and at most 90 days: albs test waive 7 a --reason TEXT --untested"},
	}
	for _, tt := range tests {
		err := judge("p", 7, packages, verdict(tt.a, tt.b))
		if tt.say == "" && err != nil || tt.say != "" && (albs.KindOf(err) != albs.Conflict || err.Error() != tt.say) {
			t.Errorf("judge(%s, %s) = %v, want %q", tt.a, tt.b, err, tt.say)
		}
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	d := func(s string) albs.Digest { return albs.DigestOf([]byte(s)) }
	spec := albs.SignSpec{Packages: []albs.File{{Digest: d("a")}, {Digest: d("b")}}}
	a, b := albs.Signature{Of: d("a"), Bytes: []byte("1")}, albs.Signature{Of: d("b"), Bytes: []byte("2")}
	tests := []struct {
		name string
		sigs []albs.Signature
		want albs.Kind
	}{
		{"each one", []albs.Signature{b, a}, ""},
		{"one is missing", []albs.Signature{a}, albs.Invalid},
		{"none", nil, albs.Invalid},
		{"two of one", []albs.Signature{a, a, b}, albs.Invalid},
		{"an empty one", []albs.Signature{a, {Of: d("b")}}, albs.Invalid},
		{"a foreign one", []albs.Signature{a, b, {Of: d("c"), Bytes: []byte("3")}}, albs.Invalid},
	}
	for _, tt := range tests {
		if _, err := match(spec, albs.SignResult{Signatures: tt.sigs}); albs.KindOf(err) != tt.want {
			t.Errorf("%s: match = %v, want kind %q", tt.name, err, tt.want)
		}
	}
}

func TestCheckPublic(t *testing.T) {
	t.Parallel()
	const id = "Demo <demo@example.org>"
	k, err := pgp.Generate(id, pgp.Ed25519, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	public, err := k.Public()
	if err != nil {
		t.Fatal(err)
	}
	private, err := k.SealPrivate([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	revoked, err := k.Revoke(pgp.Retired, "", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	good := albs.KeygenResult{Fingerprint: k.Fingerprint(), Public: public, Kept: albs.KeptInToken}
	tests := []struct {
		name    string
		r       albs.KeygenResult
		id, alg string
		want    albs.Kind
	}{
		{"revoked", albs.KeygenResult{Fingerprint: k.Fingerprint(), Public: revoked}, id, pgp.Ed25519, albs.Invalid},
		{"kept nowhere", albs.KeygenResult{Fingerprint: k.Fingerprint(), Public: public, Kept: "pocket"}, id, pgp.Ed25519, albs.Invalid},
		{"as asked", good, id, pgp.Ed25519, ""},
		{"another algorithm", good, id, pgp.RSA4096, albs.Invalid},
		{"another user id", good, "Eve <eve@example.org>", pgp.Ed25519, albs.Invalid},
		{"another fingerprint", albs.KeygenResult{Fingerprint: strings.Repeat("AB", 20), Public: public}, id, pgp.Ed25519, albs.Invalid},
		{"two keys", albs.KeygenResult{Fingerprint: k.Fingerprint(), Public: append(append([]byte{}, public...), public...)}, id, pgp.Ed25519, albs.Invalid},
		{"a private key", albs.KeygenResult{Fingerprint: k.Fingerprint(), Public: private}, id, pgp.Ed25519, albs.Invalid},
		{"nothing", albs.KeygenResult{Fingerprint: k.Fingerprint()}, id, pgp.Ed25519, albs.Invalid},
		{"too much", albs.KeygenResult{Fingerprint: k.Fingerprint(), Public: make([]byte, maxPublic+1)}, id, pgp.Ed25519, albs.TooLarge},
	}
	for _, tt := range tests {
		if _, err := checkPublic(tt.r, keygenRow{UserID: tt.id, Algorithm: tt.alg}); albs.KindOf(err) != tt.want {
			t.Errorf("%s: checkPublic = %v, want kind %q", tt.name, err, tt.want)
		}
	}
	if _, err := checkPublic(good, keygenRow{UserID: id, Algorithm: pgp.Ed25519, Subkey: true}); albs.KindOf(err) != albs.Invalid {
		t.Errorf("without the subkey that was asked for: %v", err)
	}
}
