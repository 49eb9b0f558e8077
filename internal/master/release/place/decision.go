package place

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"albs/internal/albs"
	"albs/internal/rpm"
)

// Action is what a person decides about a package of a plan.
type Action string

// The actions of decisions.
const (
	Move    Action = "move"    // it goes there and nowhere else
	Add     Action = "add"     // it goes there too
	Exclude Action = "exclude" // it isn't released
)

// Decision is a person's word on a package of a plan.
type Decision struct {
	Action Action `json:"action"`
	// Package is a NEVRA: every copy of the builds that has it.
	Package string `json:"package"`
	// To is the path of a repository, or a place, which stands for its repository of each
	// arch and kind; empty to exclude.
	To string `json:"to,omitempty"`
	// Reason is why, one line.
	Reason string `json:"reason"`
	// By and User are the person, At the time.
	By   string      `json:"by"`
	User albs.UserID `json:"user"`
	At   time.Time   `json:"at"`
}

// Same reports whether two decisions say the same, whoever said it.
func (d Decision) Same(o Decision) bool {
	return d.Action == o.Action && d.Package == o.Package && d.To == o.To && d.Reason == o.Reason
}

// Bounds of decisions.
const (
	MaxDecisions = 1000
	maxReason    = 500
	maxTo        = 200
)

// Check returns an Invalid error if a list of decisions isn't sound by itself: what is
// excluded goes nowhere, and what is moved goes to one place.
func Check(all []Decision) error {
	if len(all) > MaxDecisions {
		return albs.Errorf(albs.TooLarge, "%d decisions: a release has at most %d", len(all), MaxDecisions)
	}
	for i, d := range all {
		if err := d.check(); err != nil {
			return err
		}
		for _, o := range all[:i] {
			together := d.To != o.To && d.Action != Exclude && o.Action != Exclude && (d.Action == Add || o.Action == Add)
			if d.Package == o.Package && !together {
				return albs.Errorf(albs.Invalid, "%s: to %s and to %s can't both be; take one back", d.Package, o.words(), d.words())
			}
		}
	}
	return nil
}

func (d Decision) words() string { return strings.TrimSpace(string(d.Action) + " " + d.To) }

func (d Decision) check() error {
	bad := func(format string, args ...any) error {
		return albs.Errorf(albs.Invalid, "decision on %.100q: "+format, append([]any{d.Package}, args...)...)
	}
	n, err := rpm.ParseNEVRA(d.Package)
	line := func(s string) bool {
		return s == strings.TrimSpace(s) && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
	}
	switch {
	case err != nil:
		return bad("%w", err)
	case n.String() != d.Package:
		return bad("write it as the plan does, %s", n)
	case !slices.Contains([]Action{Move, Add, Exclude}, d.Action):
		return bad("%.40q is none of %s, %s and %s", d.Action, Move, Add, Exclude)
	case (d.To == "") != (d.Action == Exclude):
		return bad("to %s or to %s it takes a repository or a place, and to %s it none", Move, Add, Exclude)
	case len(d.To) > maxTo || !line(d.To):
		return bad("%.40q is neither the path of a repository nor a place", d.To)
	case d.Reason == "" || len(d.Reason) > maxReason || !line(d.Reason):
		return bad("give the reason, one line of at most %d bytes", maxReason)
	}
	return nil
}

// On returns the decisions about a package.
func On(all []Decision, nevra string) (out []Decision) {
	for _, d := range all {
		if d.Package == nevra {
			out = append(out, d)
		}
	}
	return out
}
