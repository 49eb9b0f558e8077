// Package worker is the contract between the master and its workers: the Master
// interface, both ends of its HTTP wire (Client and Handler), and Loop, which
// claims tasks for one role, keeps their leases alive and delivers results.
//
// The package knows no task kind from the inside and has no database: what a
// kind means is in worker/node, worker/tester, worker/signer and worker/releaser
// on this side of the wall and in the kind's queue.Handler on the other.
package worker

import (
	"context"
	"encoding/json"
	"io"
	"time"

	"albs/internal/albs"
)

// Token fences one attempt at one task. A later claim of the same task gets a
// higher Fence; the master refuses everything that comes with a lower one.
type Token struct {
	Task  albs.TaskID `json:"task"`
	Fence int64       `json:"fence"`
}

// Offer is what a worker can do now. The master narrows it to what the worker's
// identity allows: a label beyond the identity is an error, not a hint.
type Offer struct {
	Version string   `json:"version"`          // of the worker's albs
	Labels  []string `json:"labels"`           // "kind:build" "arch:x86_64" "key:FPR" …
	Cores   int      `json:"cores,omitempty"`  // of the machine; 0 is unknown, as of memory and disk, and then bounds nothing
	Memory  int64    `json:"memory,omitempty"` // bytes, of the machine: the master takes off what the worker's tasks need
	Disk    int64    `json:"disk,omitempty"`   // free bytes; likewise
	Pause   string   `json:"pause,omitempty"`  // for people: why the worker takes no task now (Labels is empty then), or fewer kinds of them than it could
	Ledger  uint64   `json:"ledger,omitempty"` // transaction of the ledger state that the worker trusts; 0 for none
	Wait    int      `json:"wait,omitempty"`   // seconds to wait for work, at most 30
	// Key is the public key of what a signer or a releaser states by itself, as
	// attest.PublicKey spells it; others have none. The master keeps the first that an
	// identity tells.
	Key string `json:"key,omitempty"`
}

// Lease is one attempt at one task, held until Until unless renewed.
type Lease struct {
	Token    Token           `json:"token"`
	Kind     albs.TaskKind   `json:"kind"`
	Attempt  int             `json:"attempt"` // 1 for the first
	Until    time.Time       `json:"until"`   // by the master's clock; use Term against one's own
	Term     time.Duration   `json:"term"`    // lease length; renew each third of it
	Spec     albs.Spec       `json:"spec"`
	Evidence json.RawMessage `json:"evidence,omitempty"` // what the kind's Handler attached for the worker to check
}

// Master is all that a worker may ask of the master. The in-process
// implementation (master/queue, on either database), the HTTP Client in front of it
// and workertest.Fake all pass workertest.Run, which has a subtest for each sentence
// here.
//
// The worker's identity travels in the context in process and as a bearer token
// or a client certificate over HTTP; without one every call is Unauthenticated.
// Every method may be called concurrently, for one lease too. Every method but Claim
// carries a Token and fails with
//
//   - StaleLease if the token is not the task's newest or its attempt has ended,
//   - Forbidden if another identity claimed it, whatever the token,
//   - Stopped, from Renew, Get, Stat and Put, once the task is to stop: kill the
//     work and call Complete with OutcomeStopped. Log and Complete still work,
//   - NotFound if no such task exists,
//   - Invalid or TooLarge if an argument can't be right or passes a bound below,
//   - NoSpace when the master's storage is full; nothing acknowledged is lost,
//   - Unavailable when the master or its storage is away: the same call may be
//     repeated until it gets another answer.
//
// An expired lease that nobody re-claimed is revived by any of its holder's calls.
//
// A crash of the master takes nothing back that was answered: leases, renewals,
// logs, held bytes and results are as they were, and all leases get a full term
// when it is back. A call that was cut off has had all of its effect or none, but
// for Log and Put, which may have kept a part: the next answer tells how much.
type Master interface {
	// Claim waits up to offer.Wait seconds for a task whose needs are among the
	// offered labels and leases it. It returns nil, nil when there is none. The
	// lease is durable on return; a claim whose answer is lost expires by itself.
	// Forbidden if a label or the key isn't the identity's.
	Claim(ctx context.Context, offer Offer) (*Lease, error)

	// Renew extends the lease to one full term from now and returns its new end.
	Renew(ctx context.Context, t Token) (until time.Time, err error)

	// Complete ends the attempt. On return of nil the result is durable and
	// applied. Repeating the same outcome and result gets the answer of the first
	// time and has no further effect, also after the task went on; any other report
	// is StaleLease then. An Invalid error says that the master refused the result
	// (a digest that doesn't match, a foreign package): the attempt has then ended
	// as failed with that reason and need not be reported again. OutcomeInfra has
	// the task tried once more, by another worker if one can take it; the second time
	// it fails. OutcomeLost counts as if the lease had run out, only sooner: the work may be
	// what killed its worker. OutcomeStopped of a task that isn't to stop gives it back: it is queued
	// again, and that counts for nothing. Once the task is to stop, every other outcome
	// is Stopped.
	Complete(ctx context.Context, t Token, outcome albs.Outcome, result albs.Result) error

	// Log appends p to the stream (a name such as "build") at offset and returns
	// the stream's length. Bytes before the length are skipped, so that a repeated
	// call does no harm; an offset beyond it is a Conflict that changes nothing
	// (the length is returned with it). What is acknowledged is durable and
	// visible to readers at once. Invalid if ValidStream refuses the name.
	Log(ctx context.Context, t Token, stream string, offset int64, p []byte) (length int64, err error)

	// Get opens length bytes of a blob from offset; length < 0 means to the end.
	// It serves only what the task's spec names, what lies under a snapshot that
	// the spec names, and the attempt's own uploads; all else is Forbidden. Of a
	// blob, a read from 0 to the end fails at its end, if not before, if the bytes
	// don't hash to d. An offset beyond the end is Invalid.
	Get(ctx context.Context, t Token, d albs.Digest, offset, length int64) (io.ReadCloser, error)

	// Stat returns how many bytes of the upload d the master holds for this
	// attempt: where Put goes on. It returns 0 for an unknown one.
	Stat(ctx context.Context, t Token, d albs.Digest) (int64, error)

	// Put appends r to the upload d at offset, which must be what Stat returns
	// (else Conflict, as when another Put of d runs), and returns the bytes held. What
	// is held survives a broken call. Nothing of it can be read by others before Complete, and Complete
	// refuses a file whose bytes don't hash to its name.
	Put(ctx context.Context, t Token, d albs.Digest, offset int64, r io.Reader) (int64, error)
}

// Bounds of the contract; the master refuses more with TooLarge.
const (
	MaxLogChunk  = 256 << 10 // bytes in one Log call
	MaxLog       = 256 << 20 // bytes of one stream
	MaxLogs      = 16        // streams of one attempt
	MaxClaimWait = 30        // seconds
	MaxUpload    = 8 << 30   // bytes of one uploaded file
	MaxResult    = 4 << 20   // bytes of a Complete body
)
