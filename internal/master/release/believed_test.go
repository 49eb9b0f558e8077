package release

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/artifact"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/provenance"
	"albs/internal/master/trace"
	"albs/internal/pgp"
	"albs/internal/worker"
)

// hand is one who may write into the database whatever they like, and has neither the
// ledger nor a key.
type hand struct {
	*fixture
	traces *trace.Traces
	build  albs.BuildID
	key    string            // fingerprint of the product's key
	pkg    artifact.Artifact // one of the build, and the one that is lied about
	copied albs.Digest       // its signed copy
}

func (h *hand) write(query string, args ...any) {
	h.t.Helper()
	if _, err := h.d.ExecContext(h.t.Context(), query, args...); err != nil {
		h.t.Fatalf("%s: %v", query, err)
	}
}

// exchange puts a file that nobody built into the place of the package, with all that is
// said of that, and returns it.
func (h *hand) exchange(word string) albs.Digest {
	h.t.Helper()
	a, err := h.artifacts.Save(h.t.Context(), bytes.NewReader(rpmbuild(h.t, "1", word)[h.pkg.Name]), 1<<20, h.pkg.Name, artifact.RPM)
	h.must(err)
	h.must(h.d.InTx(h.t.Context(), func(tx db.Tx) error { return h.artifacts.Add(h.t.Context(), tx, a) }))
	h.write(`INSERT INTO statement (subject, predicate, n, envelope, created_at, tx_id)
		SELECT $2, predicate, n, envelope, created_at, tx_id FROM statement WHERE subject = $1`, h.pkg.Digest, a.Digest)
	h.write(`INSERT INTO file_record (digest, value, created_at, tx_id)
		SELECT $2, replace(value, $1, $2), created_at, tx_id FROM file_record WHERE digest = $1`, h.pkg.Digest, a.Digest)
	h.write(`INSERT INTO signed_package (unsigned, key, signed, at) VALUES ($1, $2, $3, $4)`, a.Digest, h.key, h.copied, db.Now())
	h.write(`UPDATE build_artifact SET digest = $2 WHERE digest = $1`, h.pkg.Digest, a.Digest)
	return a.Digest
}

// offered says what becomes of the wish to have the build signed by a key that has signed
// none of it: it is offered to a signer, refused for good, or waits for the ledger.
func (h *hand) offered() (outcome string) {
	h.t.Helper()
	r, err := h.signs.SignBuild(h.admin, h.build, "other key")
	if albs.KindOf(err) == albs.Conflict {
		return "refused"
	}
	h.must(err)
	h.settled() // so that nothing waits for the intents
	h.until("it is offered or not", func() bool {
		l, err := h.as(h.signer).Claim(h.t.Context(), worker.Offer{Labels: []string{"kind:sign", "key:" + h.fixture.key}, Key: h.statementKey(h.signer)})
		h.must(err)
		if l != nil {
			h.must(h.as(h.signer).Complete(h.t.Context(), l.Token, albs.OutcomeFailed, albs.Result{Reason: "enough"}))
			outcome = "offered"
			return true
		}
		r, err = h.signs.Request(h.t.Context(), r.ID)
		h.must(err)
		switch t := r.Tasks[0]; {
		case t.State == albs.TaskFailed:
			outcome = "refused"
		case strings.HasPrefix(t.Reason, "can't be given out now"):
			outcome = "waits"
			h.must(h.d.InTx(h.t.Context(), func(tx db.Tx) error { return h.queue.Cancel(h.admin, tx, t.ID, "enough") }))
		}
		return outcome != ""
	})
	return outcome
}

// settled waits until all that is on its way to the ledger is there.
func (h *hand) settled() {
	h.t.Helper()
	h.until("the ledger has all", func() bool {
		n, err := h.provenance.Pending(h.t.Context())
		h.must(err)
		return n == 0
	})
}

// planned says whether the build can be released.
func (h *hand) planned() bool {
	h.t.Helper()
	r, err := h.Plan(h.planner, "demo", []albs.BuildID{h.build})
	if k := albs.KindOf(err); k == albs.Conflict || k == albs.Unavailable {
		return false
	}
	h.must(err)
	return len(r.Plan.Refusals) == 0
}

// shows returns the standings of a file and of what is said of it, as pages show them.
func (h *hand) shows(d albs.Digest) (whole bool, standings map[provenance.Standing]int) {
	h.t.Helper()
	tr, err := h.traces.Of(h.t.Context(), string(d))
	h.must(err)
	standings = map[provenance.Standing]int{}
	for _, n := range tr.Nodes {
		if n.SHA256 == d {
			standings[n.Record]++
		}
	}
	for _, l := range tr.Links {
		if l.To == string(d) {
			standings[l.Standing]++
		}
	}
	return tr.Whole, standings
}

// TestColumnsAreNotBelieved: whatever the database says of a package that isn't notarized,
// or isn't the one that was, no signer is offered it, no release takes it, not even one
// that was approved before, and no page calls it verified. With the rows as they were, all
// three do.
func TestColumnsAreNotBelieved(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	h := &hand{fixture: f, traces: trace.New(trace.Parts{Artifacts: f.artifacts, Provenance: f.provenance, Builds: f.Releases.builds})}
	stop := f.startSigner()
	f.makeKey("demo key", pgp.Ed25519)
	h.key = f.key
	h.build = f.signedBuild(rpmbuild(t, "1", "one"))
	f.makeKey("other key", pgp.Ed25519)
	stop()
	for name, b := range rpmbuild(t, "1", "one") {
		if name == "hello-1.0-1.x86_64.rpm" {
			var err error
			h.pkg, err = f.artifacts.Get(t.Context(), f.d, albs.DigestOf(b))
			f.must(err)
		}
	}
	copies, err := f.artifacts.Copies(t.Context(), h.pkg.Digest)
	f.must(err)
	h.copied = copies[0].Digest
	f.must(f.d.InTx(t.Context(), func(tx db.Tx) error {
		return f.provenance.State(t.Context(), tx, provenance.Fact{
			Subjects: []attest.Subject{provenance.SubjectOf(h.pkg)}, Predicate: attest.Test, Body: attest.TestBody{Result: attest.Passed},
		})
	}))
	saved := map[string]string{"statement": "n, envelope, tx_id", "file_record": "value, tx_id", "build_artifact": "digest", "signed_package": "signed"}
	const nobodys = `{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[{"keyid":"","sig":"AAAA"}]}`
	about := func(set string) func(*hand) albs.Digest {
		return func(h *hand) albs.Digest {
			h.write(`UPDATE statement SET `+set+` WHERE subject = $1 AND predicate = 'build'`, h.pkg.Digest)
			return h.pkg.Digest
		}
	}
	record := func(set string) func(*hand) albs.Digest {
		return func(h *hand) albs.Digest {
			h.write(`UPDATE file_record SET `+set+` WHERE digest = $1`, h.pkg.Digest)
			return h.pkg.Digest
		}
	}
	for _, tc := range []struct {
		name string
		lie  func(*hand) albs.Digest // about what it returns
		want provenance.Standing     // that some page shows; "" for no lie
	}{
		{"nothing", func(h *hand) albs.Digest { return h.pkg.Digest }, ""},
		{"a file that nobody built, with the receipts of one", func(h *hand) albs.Digest { return h.exchange("evil") }, provenance.Failed},
		{"such a file, its statements delivered and without receipts", func(h *hand) albs.Digest {
			d := h.exchange("bad")
			h.write(`UPDATE statement SET tx_id = NULL WHERE subject = $1`, d)
			h.write(`UPDATE file_record SET tx_id = NULL WHERE digest = $1`, d)
			return d
		}, provenance.Pending},
		{"a statement under a number that is free, on its way", about(`n = 7, tx_id = NULL`), provenance.Pending},
		{"a statement under a number that is free, with its receipt", about(`n = 7`), provenance.Failed},
		{"another receipt of a statement", about(`tx_id = tx_id + 1`), provenance.Failed},
		{"a statement that says something else", about(`envelope = replace(envelope, 'a', 'b')`), provenance.Failed},
		{"a statement that nobody signed", about(`envelope = '` + nobodys + `'`), provenance.Failed},
		{"another receipt of the record", record(`tx_id = tx_id + 1`), provenance.Failed},
		{"another record", record(`value = replace(value, '"Kind":"file"', '"Kind":"none"')`), provenance.Failed},
		{"another receipt of the signed copy", func(h *hand) albs.Digest {
			h.write(`UPDATE statement SET tx_id = tx_id + 1 WHERE subject = $1`, h.copied)
			return h.copied
		}, provenance.Failed},
	} {
		h.settled()
		for table, columns := range saved {
			h.write(fmt.Sprintf(`CREATE TABLE saved_%s AS SELECT %s, rowid AS place FROM %[1]s`, table, columns))
		}
		approved := f.approved(h.build)
		d := tc.lie(h)
		honest := tc.want == ""

		if whole, standings := h.shows(d); whole != honest || !honest && standings[tc.want] == 0 || honest && len(standings) != 1 {
			t.Errorf("%s: a page shows %v, whole: %v; want %q", tc.name, standings, whole, tc.want)
		}
		if got := h.planned(); got != honest {
			t.Errorf("%s: a release may be planned: %v", tc.name, got)
		}
		if !honest {
			_, err := f.Publish(f.planner, approved.ID)
			if k := albs.KindOf(err); k != albs.Conflict && k != albs.Unavailable {
				t.Errorf("%s: Publish of what was approved before = %v", tc.name, err)
			}
		}
		want := map[provenance.Standing]string{"": "offered", provenance.Failed: "refused", provenance.Pending: "waits"}[tc.want]
		if d == h.copied {
			want = "offered" // by the other key, for the package itself is what it was
		}
		if got := h.offered(); got != want {
			t.Errorf("%s: the wish to have it signed is %s, want %s", tc.name, got, want)
		}
		if _, err := os.Lstat(filepath.Join(f.public, "demo", "current")); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("%s: something is public: %v", tc.name, err)
		}

		h.settled()
		for table, columns := range saved {
			var set []string
			for c := range strings.SplitSeq(columns, ", ") {
				set = append(set, c+" = was."+c)
			}
			h.write(fmt.Sprintf(`UPDATE %s SET %s FROM saved_%[1]s was WHERE %[1]s.rowid = was.place`, table, strings.Join(set, ", ")))
			h.write(`DROP TABLE saved_` + table)
		}
	}
	r := f.approved(h.build)
	f.startSigner()
	f.startReleaser()
	_, err = f.Publish(f.planner, r.ID)
	f.must(err)
	f.ended(r.ID, Completed)
}
