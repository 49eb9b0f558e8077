package attest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"albs/internal/albs"
)

// WaiverBody is the master's word that a person lets an unsigned package be signed and
// released though its tests didn't pass, or that one takes that back. It holds for the
// package as a build's; what it was tested for may be another's too.
type WaiverBody struct {
	albs.Waived
	// EndedBy is who took it back, with when and why; "" of one that is in force until it
	// expires.
	EndedBy     string    `json:"ended_by,omitempty"`
	Ended       time.Time `json:"ended,omitzero"`
	EndedReason string    `json:"ended_reason,omitempty"`
}

// End says in a clause who took the waiver back, when and why.
func (b WaiverBody) End() string {
	s := fmt.Sprintf("waiver %d was taken back by %s", b.Waiver, b.EndedBy)
	if !b.Ended.IsZero() {
		s += " on " + b.Ended.UTC().Format(time.DateOnly)
	}
	if b.EndedReason != "" {
		s += " (" + b.EndedReason + ")"
	}
	return s
}

// WaiversOf returns the waivers that statements leave in force, by number: those that
// nobody took back, in whatever order that is stated. Whether one has expired is the
// caller's to see.
func WaiversOf(said []WaiverBody) []WaiverBody {
	last := map[int64]WaiverBody{}
	for _, b := range said {
		if last[b.Waiver].EndedBy == "" {
			last[b.Waiver] = b
		}
	}
	maps.DeleteFunc(last, func(_ int64, b WaiverBody) bool { return b.EndedBy != "" })
	return slices.SortedFunc(maps.Values(last), func(a, b WaiverBody) int { return cmp.Compare(a.Waiver, b.Waiver) })
}

// waived reports whether each test that failed is one that waivers let fail.
func (b TestBody) waived(waivers []albs.Waived) bool {
	for _, name := range b.FailedTests {
		stage, _, _ := strings.Cut(name, "/")
		if !slices.ContainsFunc(waivers, func(w albs.Waived) bool { return w.Covers(albs.TestStage(stage)) }) {
			return false
		}
	}
	return len(b.FailedTests) > 0
}

// waiver is what statements say of one waiver.
type waiver struct {
	made, ended *fact // ended is nil of one that nobody took back
	body, end   WaiverBody
}

// waived tells the waivers of an unsigned package, and returns those by which a verifier
// takes it, and why the others don't count. That one has expired since tells nothing of when
// the package was signed, so that no time is looked at: the master takes none that has, and
// a release by one ends with it.
//
// One that was taken back counts for what was decided before: a release whose statement, the
// releaser's word, names it, or, of a package that no release is told of, a signature that
// stands in the ledger before the end. That is told, and the trust file may refuse it.
func (c *chain) waived(unsigned albs.Digest, has content) (counts []albs.Waived, lapsed []string, err error) {
	all, err := c.waivers(unsigned, has)
	if err != nil {
		return nil, nil, err
	}
	released, named, err := c.namedWaivers()
	if err != nil {
		return nil, nil, err
	}
	for id, n := range named {
		if w := all[id]; w == nil || !n.by.Same(w.body.Waived) {
			return nil, nil, broken(LinkChain, "%s names waiver %d, which nobody stated so", n.key, id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(all)) {
		w := all[id]
		c.step(w.made, LinkChain, "%s", w.body.Waived)
		if w.ended == nil {
			counts = append(counts, w.body.Waived)
			continue
		}
		n, isNamed := named[id]
		kept := isNamed
		end := w.end.End()
		switch {
		case isNamed && n.receipt.TxID < w.ended.receipt.TxID:
			end += ", after " + n.what
		case isNamed:
			end += fmt.Sprintf(", and %s was decided by it before", n.what)
		case !released && c.signedBefore(w.ended):
			kept = true
			end += ", after the package was signed by it"
		}
		switch {
		case !kept:
			lapsed = append(lapsed, end)
		case c.trust.RefuseEndedWaivers:
			lapsed = append(lapsed, end+", which the trust file refuses")
		default:
			counts = append(counts, w.body.Waived)
			c.note(end)
		}
		c.step(w.ended, LinkChain, "%s", end)
	}
	return counts, lapsed, nil
}

// waivers reads what is stated of the waivers of an unsigned package, by number. Each was
// made once, in the words in which it was taken back.
func (c *chain) waivers(unsigned albs.Digest, has content) (map[int64]*waiver, error) {
	all := map[int64]*waiver{}
	for _, f := range c.about(unsigned, Waiver) {
		if err := has.check(f); err != nil {
			return nil, err
		}
		var b WaiverBody
		if err := f.read(&b); err != nil {
			return nil, err
		}
		if b.Waiver <= 0 || b.Build <= 0 || b.Person == "" || b.Reason == "" || b.Expires.IsZero() || b.Stage != "" && (b.Untested || !b.Stage.Known()) {
			return nil, broken(LinkChain, "%s names no waiver with its build, person, reason and end, or what is no stage", f.key)
		}
		if b.EndedBy == "" && (!b.Ended.IsZero() || b.EndedReason != "") {
			return nil, broken(LinkChain, "%s doesn't name who took waiver %d back", f.key, b.Waiver)
		}
		f.used = true
		w := all[b.Waiver]
		if w == nil {
			w = &waiver{}
			all[b.Waiver] = w
		}
		if b.EndedBy == "" {
			if w.made != nil && !b.Same(w.body.Waived) {
				return nil, broken(LinkChain, "%s says another thing of waiver %d than %s", f.key, b.Waiver, w.made.key)
			}
			w.made, w.body = f, b
		} else {
			w.ended, w.end = f, b
		}
	}
	for id, w := range all {
		if w.made == nil {
			return nil, broken(LinkChain, "%s takes back waiver %d, which nobody stated", w.ended.key, id)
		}
		if w.ended != nil && !w.end.Same(w.body.Waived) {
			return nil, broken(LinkChain, "%s takes back waiver %d in other words than %s has", w.ended.key, id, w.made.key)
		}
	}
	return all, nil
}

// namedWaiver is a waiver that the statement of a release names.
type namedWaiver struct {
	*fact
	by   albs.Waived
	what string // the release
}

// namedWaivers returns the waivers that the releases of the file name, of accepted products,
// by number, and whether there is such a release. Where several name one it is the first.
func (c *chain) namedWaivers() (released bool, named map[int64]namedWaiver, err error) {
	named = map[int64]namedWaiver{}
	for _, f := range c.about(c.report.File, Release) {
		var r ReleaseBody
		if err := f.read(&r); err != nil {
			return false, nil, err
		}
		if c.trust.acceptsProduct(r.Product) != nil {
			continue
		}
		released = true
		for _, w := range r.Waivers {
			if before, ok := named[w.Waiver]; !ok || f.receipt.TxID < before.receipt.TxID {
				named[w.Waiver] = namedWaiver{f, w, fmt.Sprintf("release %d in %s", r.Release, r.Product)}
			}
		}
	}
	return released, named, nil
}

// signedBefore reports whether the file was signed before what f tells of, as the ledger has
// both: of one transaction neither is before the other.
func (c *chain) signedBefore(f *fact) bool {
	return slices.ContainsFunc(c.about(c.report.File, Sign), func(s *fact) bool { return s.receipt.TxID < f.receipt.TxID })
}
