package historytest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/ledger"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/pgp"
)

func TestSound(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := newSound(t, t.TempDir(), d)
		found, err := Check(t.Context(), f.Place)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range found {
			t.Error(v)
		}
	})
}

// TestPlanted plants violations into a sound history and wants each named, and none
// that it doesn't bring along.
func TestPlanted(t *testing.T) {
	t.Parallel()
	other := albs.DigestOf([]byte("something else"))
	template := newTemplate(t)
	for _, tc := range []struct {
		name  string
		plant func(f *sound)
		want  string // how one violation begins
		also  string // invariants that are broken with it
	}{
		{"I1 completed twice", func(f *sound) {
			f.attempt(sourceTask, 2, "ok", albs.Spec{})
			f.exec(`UPDATE task SET fence = 2 WHERE id = $1`, sourceTask)
		}, "I1: task 1 has 2 accepted completions", ""},
		{"I1 fence beyond the task's", func(f *sound) { f.exec(`UPDATE attempt SET fence = 9 WHERE task_id = $1`, sourceTask) },
			"I1: task 1: attempt 1 has fence 9, the task's newest is 1", ""},
		{"I1 fences fall", func(f *sound) { f.exec(`UPDATE attempt SET number = 3 - number WHERE task_id = $1`, rebuildTask) },
			"I1: task 2: attempt 2 has fence 1, after attempt 1 with 2", ""},
		{"I1 succeeded by nobody", func(f *sound) { f.exec(`UPDATE attempt SET ended = 'expire' WHERE task_id = $1`, sourceTask) },
			"I1: task 1 succeeded and no attempt was accepted", ""},
		{"I1 accepted in vain", func(f *sound) { f.exec(`UPDATE attempt SET ended = 'ok' WHERE task_id = $1`, failedTask) },
			"I1: task 7 is failed and attempt 1 was accepted", ""},

		{"I2 moved along no edge", func(f *sound) {
			f.event("task.queued", "worker:node", `{"task":1,"state":"queued"}`)
			f.event("task.succeeded", "worker:node", `{"task":1,"state":"succeeded"}`)
		}, `I2: task 1 went from "succeeded" to "queued"`, ""},
		{"I2 state without an event", func(f *sound) { f.exec(`UPDATE task SET state = 'cancelled' WHERE id = $1`, failedTask) },
			`I2: task 7 is cancelled and its events led to "failed"`, ""},
		{"I2 handed out in silence", func(f *sound) {
			f.exec(`UPDATE attempt SET spec = '{}' WHERE task_id = $1`, leasedTask)
			f.exec(`DELETE FROM event WHERE id = (SELECT max(id) FROM event WHERE kind LIKE 'task.%' AND data LIKE $1)`, fmt.Sprintf(`%%"task":%d,%%`, leasedTask))
		}, `I2: task 6 is leased and its events led to "queued"`, ""},
		{"I2 leased by nobody", func(f *sound) { f.exec(`DELETE FROM attempt WHERE task_id = $1`, leasedTask) },
			"I2: task 6 is leased with 0 open attempts", ""},
		{"I2 open attempt of an ended task", func(f *sound) { f.exec(`UPDATE attempt SET ended_at = NULL WHERE task_id = $1`, failedTask) },
			"I2: task 7 is failed with 1 open attempts", ""},
		{"I2 blocked by nothing", func(f *sound) { f.exec(`DELETE FROM task_after WHERE task_id = $1`, blockedTask) },
			"I2: task 5 is blocked and waits for nothing", ""},
		{"I2 queued too early", func(f *sound) {
			f.exec(`UPDATE task SET state = 'queued' WHERE id = $1`, blockedTask)
			f.event("task.queued", "worker:node", fmt.Sprintf(`{"task":%d,"state":"queued"}`, blockedTask))
		}, "I2: task 5 is queued and 1 tasks before it are not done", ""},

		{"I3 byte flipped", func(f *sound) { flip(f, f.blobPath(f.log)) }, "I3: artifact log", ""},
		{"I3 byte flipped in what is no artifact", func(f *sound) { flip(f, f.blobPath(f.put([]byte("of an attempt that ended")))) }, "I3: blob ", ""},
		{"I3 size wrong", func(f *sound) { f.exec(`UPDATE artifact SET size = 1 WHERE digest = $1`, f.log) }, "I3: artifact log", ""},

		{"I4 referenced blob deleted", func(f *sound) {
			if err := f.Blobs.Remove(f.t.Context(), f.snapshot.Parts()[0]); err != nil {
				f.t.Fatal(err)
			}
		}, "I4: snapshot ", ""},
		{"I4 tree deleted", func(f *sound) { f.exec(`UPDATE tree SET digest = $1 WHERE serial = 1`, other) }, "I4: tree 1 of demo", ""},
		{"I4 snapshot of a release deleted", func(f *sound) { f.exec(`UPDATE release_repository SET sealed = $1`, other) }, "I4: snapshot " + other.Short(), ""},
		{"I4 file of a build without a row", func(f *sound) {
			f.exec(`UPDATE build_artifact SET digest = $1 WHERE kind = 'log'`, other)
		}, "I4: a build names ", ""},

		{"I4 file of a rebuild without a row", func(f *sound) {
			f.exec(`INSERT INTO rebuild (id, task_id, build_id, of_task, of_attempt, platform, arch, built_on, built_in, needs, requester_id, requester, created_at) VALUES (1, 99, 1, 2, 1, '', '', '', '', '', 1, '', $1)`, db.Now())
			f.exec(`INSERT INTO rebuild_file (rebuild_id, attempt, name, kind, digest) VALUES (1, 1, 'log', 'log', $1)`, other)
		}, "I4: a rebuild names ", ""},
		{"I5 signed and never built", func(f *sound) {
			later := f.key.At(time.Now().Add(time.Hour))
			unknown := f.sign(f.get(f.unsigned), later)
			f.exec(`INSERT INTO artifact (digest, size, kind, name, at) VALUES ($1, $2, 'rpm', 'unknown', $3)`, f.put(unknown), len(unknown), db.Now())
			f.signedCopy(albs.DigestOf(unknown), f.sign(unknown, later.At(time.Now().Add(2*time.Hour))))
		}, "I5: ", ""},
		{"I5 signed and never intended", func(f *sound) {
			b := []byte("unintended")
			d := f.put(b)
			f.state(d, attest.Build, attest.BuildBody{}, true)
			f.exec(`INSERT INTO artifact (digest, size, kind, name, at) VALUES ($1, $2, 'rpm', 'unintended', $3)`, d, len(b), db.Now())
			signed := f.put(append(b, '!'))
			f.state(signed, attest.Sign, attest.SignBody{Unsigned: d}, true)
			f.exec(`INSERT INTO artifact (digest, size, kind, name, unsigned, signed_by, at) VALUES ($1, $2, 'rpm', 'unintended', $3, $4, $5)`,
				signed, len(b)+1, d, f.key.Fingerprint(), db.Now())
			f.record(signed)
			f.spec(d)
		}, "I5: " + albs.DigestOf([]byte("unintended")).Short() + " was signed (", ""},
		{"I5 signed before it was built", func(f *sound) {
			b := []byte("noted late")
			late := f.put(b)
			f.state(f.put(append(b, '!')), attest.Sign, attest.SignBody{Unsigned: late}, true)
			f.exec(`INSERT INTO artifact (digest, size, kind, name, at) VALUES ($1, $2, 'rpm', 'late', $3)`, late, len(b), db.Now())
			f.state(late, attest.Build, attest.BuildBody{}, true)
			f.exec(`INSERT INTO artifact (digest, size, kind, name, unsigned, signed_by, at) VALUES ($1, $2, 'rpm', 'late', $3, $4, $5)`,
				f.put(append(b, '!')), len(b)+1, late, f.key.Fingerprint(), db.Now())
			f.record(f.put(append(b, '!')))
			f.spec(late)
		}, "I5: " + albs.DigestOf([]byte("noted late")).Short() + " was signed in ledger transaction", ""},
		{"I5 signed unasked", func(f *sound) { f.exec(`DELETE FROM attempt WHERE task_id = $1`, signTask) }, "I5: ", "I1"},
		{"I5 signed untested", func(f *sound) { f.exec(`DELETE FROM statement WHERE predicate = 'test' AND subject = $1`, f.unsigned) },
			"I5: " + digestOfFile(t, binaryFile).Short() + " was signed for demo and never tested", ""},
		{"I5 signed though its tests failed", func(f *sound) {
			f.exec(`DELETE FROM statement WHERE predicate = 'test' AND subject = $1 AND n = 2`, f.unsigned)
		},
			"I5: " + digestOfFile(t, binaryFile).Short() + ` was signed for demo, and its tests in "" FAILED`, ""},
		{"I5 signed though its tests failed on another arch", func(f *sound) {
			f.state(f.unsigned, attest.Test, attest.TestBody{Result: attest.Failed, Configuration: []attest.Descriptor{attest.TestRoot("el9", albs.S390X)}}, true)
			f.exec(`UPDATE attempt SET claimed_at = $1 WHERE task_id = $2`, db.Now(), signTask)
		}, "I5: " + digestOfFile(t, binaryFile).Short() + ` was signed for demo, and its tests in "urn:albs:root:el9:s390x" FAILED`, ""},
		{"I5 signed before its tests were noted", func(f *sound) {
			f.state(f.unsigned, attest.Test, attest.TestBody{Result: attest.Passed}, true)
			f.exec(`UPDATE attempt SET claimed_at = $1 WHERE task_id = $2`, db.Now(), signTask)
		}, "I5: " + digestOfFile(t, binaryFile).Short() + " was signed in ledger transaction ", ""},
		{"I5 signature of another key", func(f *sound) {
			k, err := pgp.Generate("Mallory <mallory@example.org>", pgp.Ed25519, time.Now())
			if err != nil {
				f.t.Fatal(err)
			}
			public, err := k.Public()
			if err != nil {
				f.t.Fatal(err)
			}
			f.exec(`UPDATE sign_key SET public = $1`, string(public))
		}, "I5: ", ""},
		{"I5 document signed without approval", func(f *sound) {
			d := f.put([]byte("<repomd/>"))
			asc, err := f.key.SignArmored(strings.NewReader("<repomd/>"))
			if err != nil {
				f.t.Fatal(err)
			}
			f.exec(`INSERT INTO document_signature (digest, key, clear, armored, at) VALUES ($1, $2, FALSE, $3, $4)`, d, f.key.Fingerprint(), string(asc), db.Now())
			f.spec(d)
		}, "I5: document ", ""},
		{"I5 unsigned package shown", func(f *sound) {
			f.exec(`UPDATE artifact SET unsigned = NULL WHERE digest = $1`, f.signed)
		}, "I5: demo shows Packages/a/", ""},

		{"I6 signed twice by one key", func(f *sound) {
			f.signedCopy(f.unsigned, f.sign(f.get(f.unsigned), f.key.At(time.Now().Add(time.Hour))))
		}, "I6: ", ""},

		{"I7 file of the tree changed", func(f *sound) { f.write("public/demo/trees/2/"+repoPath+"/repodata/repomd.xml", "<repomd/>") },
			"I7: demo has " + repoPath + "/repodata/repomd.xml with", ""},
		{"I7 package missing", func(f *sound) {
			if err := os.Remove(filepath.Join(f.Public, "demo/current", repoPath, f.location)); err != nil {
				f.t.Fatal(err)
			}
		}, "I7: demo lacks " + repoPath + "/Packages", ""},
		{"I7 older tree shown", func(f *sound) {
			doc, _ := f.tree(1, f.snapshot)
			f.lay(1, doc, f.snapshot)
		}, "I7: demo shows serial 1 and is known to have shown 2", ""},
		{"I7 tree that nobody asked for", func(f *sound) {
			doc, _ := f.tree(3, f.snapshot)
			f.lay(3, doc, f.snapshot)
		}, "I7: demo shows serial 3, for which no task asked", ""},
		{"I7 signed by a key that readers haven't", func(f *sound) {
			k, err := pgp.Generate("Mallory <mallory@example.org>", pgp.Ed25519, time.Now())
			if err != nil {
				f.t.Fatal(err)
			}
			s := f.extend(f.signed, k)
			doc, d := f.tree(3, s)
			f.attempt(publishTask, 3, "refuse", albs.Spec{Publish: &albs.PublishSpec{Tree: d}})
			f.exec(`UPDATE task SET fence = 3 WHERE id = $1`, publishTask)
			f.lay(3, doc, s)
		}, "I7: demo shows " + repoPath + " without a good signature", ""},
		{"I7 two current trees", func(f *sound) {
			f.exec(`UPDATE tree SET current = FALSE`)
			f.exec(`UPDATE tree SET current = TRUE WHERE serial = 1`)
		}, "I7: tree 1 of demo: current is true, and it is the newest: false", ""},

		{"I8 released name of other bytes", func(f *sound) {
			_, d := f.tree(1, f.extend(f.unsigned, f.key))
			f.exec(`UPDATE tree SET digest = $1 WHERE serial = 1`, d)
		}, "I8: demo " + repoPath + " albs-rich-2:1.0~rc1-3.el9.noarch was", ""},
		{"I8 remembered otherwise", func(f *sound) {
			f.exec(`UPDATE released_package SET digest = $1`, f.unsigned)
		}, "I8: demo " + repoPath, ""},

		{"I9 statement changed", func(f *sound) {
			f.exec(`UPDATE statement SET envelope = replace(envelope, '"sig":"', '"sig":"A') WHERE predicate = 'build'`)
		}, "I9: " + attest.StatementKey(digestOfFile(t, binaryFile), attest.Build, 1), ""},
		{"I9 record changed", func(f *sound) { f.exec(`UPDATE file_record SET value = '{}' WHERE digest = $1`, f.log) }, "I9: ", ""},
		{"I9 statement lost on its way", func(f *sound) { f.exec(`DELETE FROM outbox`) }, "I9: ", ""},
		{"I9 nothing stated", func(f *sound) { f.exec(`DELETE FROM statement WHERE predicate = 'source'`) }, "I9: nothing is stated of srpm", ""},
		{"I9 built before its source was noted", func(f *sound) {
			later := albs.DigestOf([]byte("a later source"))
			b := f.build()
			b.BuildDefinition.ResolvedDependencies[0].Digest[attest.SHA256] = string(later)
			f.state(other, attest.Build, b, true)
			f.state(later, attest.Source, attest.SourceBody{}, true)
		}, "I9: the build of " + other.Short() + " is in ledger transaction", ""},
		{"I9 kept without a record", func(f *sound) { f.exec(`DELETE FROM file_record WHERE digest = $1`, f.log) }, "I9: log (", ""},
		{"I9 ledger behind", func(f *sound) { f.exec(`UPDATE ledger_state SET tx_id = tx_id + 1`) }, "I9: ", ""},
		{"I9 another ledger", func(f *sound) {
			l, err := ledger.OpenEmbedded(filepath.Join(f.dir, "another"))
			if err != nil {
				f.t.Fatal(err)
			}
			f.t.Cleanup(func() { l.Close() })
			f.Ledger = l
		}, "I9: ", "I5"},

		{"I10 private key in a blob", func(f *sound) { f.put([]byte("x\n-----BEGIN PGP PRIVATE KEY BLOCK-----\n")) }, "I10: blob ", ""},
		{"I10 token in a log", func(f *sound) {
			f.write("logs/7/1/state", "Authorization: Bearer albs_w"+strings.Repeat("a2", 26)+"\n")
		}, "I10: ", ""},
		{"I10 token behind what only begins like one", func(f *sound) {
			f.write("logs/7/1/state", "-----BEGIN CERTIFICATE-----\nalbs_wrong albs_albs_u"+strings.Repeat("7z", 26))
		}, "I10: ", ""},
		{"I10 hidden string in a table", func(f *sound) {
			f.event("key.generated", "system:x", `{"why":"the passphrase"}`)
		}, "I10: table event, column data holds hidden string 0", ""},
		{"I10 hidden string in public", func(f *sound) { f.write("public/demo/trees/1/README", "the passphrase") }, "I10: ", ""},

		{"I11 done by nobody", func(f *sound) { f.event("release.planned", "anonymous", "{}") }, `I11: event `, ""},
		{"I11 done by a worker", func(f *sound) { f.event("sign.requested", "worker:node", "{}") }, `I11: event `, ""},
		{"I11 approved by the master itself", func(f *sound) { f.event("approval.given", "system:x", "{}") }, `I11: event `, ""},
		{"I11 something new done by a worker", func(f *sound) { f.event("moon.moved", "worker:node", "{}") }, `I11: event `, ""},
		{"I11 done by a nameless person", func(f *sound) { f.event("build.created", "user:", "{}") }, `I11: event `, ""},
		{"I11 approval that nobody gave", func(f *sound) { f.exec(`DELETE FROM approval`) }, "I11: release 1 names an approval by bob that bob never gave", ""},
		{"I11 approval of another plan", func(f *sound) { f.exec(`UPDATE approval SET digest = $1`, other) },
			"I11: release 1 of demo was signed for with 0 approvals of 1", ""},
		{"I11 approved by its planner", func(f *sound) { f.exec(`UPDATE release SET planner = 'bob'`) }, "I11: release 1 was approved by bob, who planned it", ""},
		{"I11 too few", func(f *sound) { f.exec(`UPDATE product SET spec = '{"approvals":{"count":2}}'`) },
			"I11: release 1 of demo was signed for with 1 approvals of 2", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := template.copy(t)
			tc.plant(f)
			found, err := Check(t.Context(), f.Place)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(found, func(v Violation) bool { return strings.HasPrefix(v.String(), tc.want) }) {
				t.Errorf("no violation begins with %q", tc.want)
			}
			mine, _, _ := strings.Cut(tc.name, " ")
			for _, v := range found {
				if v.Invariant != mine && v.Invariant != tc.also {
					t.Errorf("it also found %s", v)
				}
			}
			if t.Failed() {
				t.Logf("found: %q", found)
			}
		})
	}
}

// TestWatch: one that has found all good finds what is broken later, and a new one what
// it has no more looked at.
func TestWatch(t *testing.T) {
	t.Parallel()
	f := newTemplate(t).copy(t)
	w := NewWatch(f.Place)
	check := func(w *Watch, want ...string) {
		t.Helper()
		found, err := w.Check(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range want {
			if !slices.ContainsFunc(found, func(got Violation) bool { return strings.HasPrefix(got.String(), v) }) {
				t.Errorf("no violation begins with %q: %q", v, found)
			}
		}
		if len(want) == 0 && len(found) > 0 {
			t.Errorf("found %q", found)
		}
	}
	check(w)
	check(w)
	f.write("public/demo/trees/2/"+repoPath+"/repodata/repomd.xml", "<repomd/>")
	check(w, "I7: demo has "+repoPath+"/repodata/repomd.xml with")
	f.signedCopy(f.unsigned, []byte("no package"))
	check(w, "I7: ", "I5: ")
	check(w, "I7: ", "I5: ") // what isn't good is told again
	flip(f, f.blobPath(f.signed))
	check(NewWatch(f.Place), "I7: ", "I5: ", "I4: ")
	if err := f.Blobs.Remove(t.Context(), f.snapshot.Parts()[0]); err != nil {
		t.Fatal(err)
	}
	check(w, "I4: snapshot ") // though it was found good
	f.exec(`UPDATE tree SET retired_at = at WHERE current = TRUE`)
	check(w, "I7: tree ")
}

// flip changes the first byte of a file.
func flip(f *sound, path string) {
	f.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		f.t.Fatal(err)
	}
	b[0] ^= 1
	if err := os.Chmod(path, 0o644); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		f.t.Fatal(err)
	}
}

func digestOfFile(t *testing.T, path string) albs.Digest {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return albs.DigestOf(b)
}

// signedCopy adds b as the signed copy of unsigned, with its statement, its record
// and a task that asked for it.
func (f *sound) signedCopy(unsigned albs.Digest, b []byte) {
	f.t.Helper()
	d := f.put(b)
	f.exec(`INSERT INTO artifact (digest, size, kind, name, unsigned, signed_by, at) VALUES ($1, $2, 'rpm', 'signed', $3, $4, $5)`,
		d, len(b), unsigned, f.key.Fingerprint(), db.Now())
	f.state(unsigned, attest.SignIntent, attest.SignIntentBody{}, true)
	f.state(d, attest.Sign, attest.SignBody{Unsigned: unsigned}, true)
	f.record(d)
	f.spec(unsigned)
}

// spec has a sign task ask for d too.
func (f *sound) spec(d albs.Digest) {
	f.t.Helper()
	f.exec(`UPDATE task SET fence = fence + 1 WHERE id = $1`, failedTask)
	f.exec(`UPDATE task SET kind = 'sign' WHERE id = $1`, failedTask)
	f.exec(`DELETE FROM attempt WHERE task_id = $1`, failedTask)
	f.attempt(failedTask, 2, "failed", albs.Spec{Sign: &albs.SignSpec{Key: f.key.Fingerprint(), Packages: []albs.File{{Digest: d}}}})
}
