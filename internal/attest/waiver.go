package attest

import (
	"cmp"
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
	Build int64 `json:"build"`
	albs.Waived
	// EndedBy is who took it back, with when and why; "" of one that is in force until it
	// expires.
	EndedBy     string    `json:"ended_by,omitempty"`
	Ended       time.Time `json:"ended,omitzero"`
	EndedReason string    `json:"ended_reason,omitempty"`
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

// waived tells which waivers of an unsigned package are in force and returns them. That one
// has expired since tells nothing of when the package was signed, so that no time is looked
// at: the master takes none that has, and a release by one ends with it.
func (c *chain) waived(unsigned albs.Digest, has content) ([]albs.Waived, error) {
	var said []WaiverBody
	facts := map[int64]*fact{}
	for _, f := range c.about(unsigned, Waiver) {
		if err := has.check(f); err != nil {
			return nil, err
		}
		var b WaiverBody
		if err := f.read(&b); err != nil {
			return nil, err
		}
		if b.Waiver <= 0 || b.Person == "" || b.Reason == "" || b.Expires.IsZero() || b.Stage != "" && (b.Untested || !b.Stage.Known()) {
			return nil, broken(LinkChain, "%s names no waiver with its person, reason and end, or what is no stage", f.key)
		}
		f.used = true
		facts[b.Waiver] = f
		said = append(said, b)
	}
	var out []albs.Waived
	for _, b := range WaiversOf(said) {
		c.step(facts[b.Waiver], LinkChain, "%s", b.Waived)
		out = append(out, b.Waived)
	}
	return out, nil
}
