package attest

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"albs/internal/albs"
)

// StatementType is the _type of every statement.
const StatementType = "https://in-toto.io/Statement/v1"

// Names of digests in a Subject or Descriptor. Header and payload don't change
// when a package is signed, so they lead from any signed copy to the package that
// was built.
const (
	SHA256        = "sha256"           // of the whole file
	HeaderSHA256  = "rpmHeaderSha256"  // of the RPM's main header
	PayloadSHA256 = "rpmPayloadSha256" // of the RPM's payload as it lies in the file
	GitCommit     = "gitCommit"        // 40 or 64 hex digits
)

// Bounds of a statement; its envelope has to fit the ledger's value.
const (
	maxName      = 512
	maxDigests   = 16
	maxPredicate = 160 << 10
)

// Statement is an in-toto statement: a predicate about a subject. New makes one;
// it has exactly one subject, so that who holds one file reads of that one.
type Statement struct {
	Type          string          `json:"_type"`
	Subject       []Subject       `json:"subject"`
	PredicateType string          `json:"predicateType"`
	Predicate     json.RawMessage `json:"predicate"`
}

// Subject is what a statement is about: a name for people, digests for machines.
type Subject struct {
	Name   string            `json:"name,omitempty"`
	Digest map[string]string `json:"digest"`
}

// File returns the sha256 of the subject's file.
func (s Subject) File() albs.Digest { return albs.Digest(s.Digest[SHA256]) }

// New returns the statement that body is true of s. predicate is a short name, as
// Build, and body its struct, as BuildBody. Equal arguments give equal bytes. It is
// Invalid if the predicate is unknown or the subject lacks a valid sha256, and
// TooLarge beyond the bounds. What a body must hold to be of use is up to Verify.
func New(s Subject, predicate string, body any) (Statement, error) {
	uri, ok := predicateTypes[predicate]
	if !ok {
		return Statement{}, albs.Errorf(albs.Invalid, "the predicate %.80q is unknown", predicate)
	}
	if t, ok := body.(TestBody); ok && t.Configuration == nil { // the predicate type wants a list
		t.Configuration = []Descriptor{}
		body = t
	}
	b, err := json.Marshal(body)
	if err != nil {
		return Statement{}, albs.Errorf(albs.Invalid, "encode predicate %s: %w", predicate, err)
	}
	st := Statement{Type: StatementType, Subject: []Subject{s}, PredicateType: uri, Predicate: b}
	if err := st.check(); err != nil {
		return Statement{}, err
	}
	return st, nil
}

// check holds what every statement must be, whoever made it.
func (s Statement) check() error {
	if s.Type != StatementType {
		return albs.Errorf(albs.Invalid, "the statement's _type is %.80q", s.Type)
	}
	if len(s.Subject) != 1 {
		return albs.Errorf(albs.Invalid, "the statement has %d subjects instead of one", len(s.Subject))
	}
	if s.Short() == "" {
		return albs.Errorf(albs.Invalid, "the predicate type %.80q is unknown", s.PredicateType)
	}
	sub := s.Subject[0]
	if len(s.Predicate) > maxPredicate || len(sub.Name) > maxName || len(sub.Digest) > maxDigests {
		return albs.Errorf(albs.TooLarge, "a statement has at most %d bytes of predicate, %d of name and %d digests", maxPredicate, maxName, maxDigests)
	}
	if !sub.File().Valid() {
		return albs.Errorf(albs.Invalid, "the subject %.80q lacks a sha256", sub.Name)
	}
	return nil
}

// Short returns the predicate's short name, as Build, or "" for an unknown one.
func (s Statement) Short() string {
	for short, uri := range predicateTypes {
		if uri == s.PredicateType {
			return short
		}
	}
	return ""
}

// Body decodes the predicate into body, a pointer to the struct of its type.
// Fields that the struct doesn't have are left aside.
func (s Statement) Body(body any) error {
	if err := json.Unmarshal(s.Predicate, body); err != nil {
		return albs.Errorf(albs.Invalid, "read predicate %.80s: %w", s.PredicateType, err)
	}
	return nil
}

// StatementKey returns the ledger key of the nth statement, from 1, with the
// predicate of that short name about the file subject.
func StatementKey(subject albs.Digest, predicate string, n int) string {
	return fmt.Sprintf("att/%s/%s/%d", subject, predicate, n)
}

// checkKey checks that key is one under which the statement may stand, and returns
// its number.
func checkKey(key string, s Statement) (n int, err error) {
	parts := strings.Split(key, "/")
	if len(parts) != 4 {
		return 0, fmt.Errorf("%.120q is no ledger key of a statement", key)
	}
	n, err = strconv.Atoi(parts[3])
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%.120q is no ledger key of a statement", key)
	}
	if key != StatementKey(s.Subject[0].File(), s.Short(), n) {
		return 0, fmt.Errorf("the ledger key %.120q is that of another statement", key)
	}
	return n, nil
}
