package ui

import (
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"albs/internal/albs"
	"albs/internal/failure"
	"albs/internal/master/build/status"
	"albs/internal/master/queue"
	"albs/internal/master/ui/order"
	"albs/internal/master/ui/picture"
)

// A look is how a state is shown: a word, an icon and a colour, so that none of
// them is needed alone. Class is one of wait, run, ok, bad, off.
type look struct{ Word, Icon, Class string }

var looks = map[string]look{
	"queued":    {"queued", "clock", "wait"},
	"blocked":   {"waiting", "pause", "off"},
	"leased":    {"running", "run", "run"},
	"running":   {"running", "run", "run"},
	"stopping":  {"stopping", "run", "run"},
	"succeeded": {"succeeded", "ok", "ok"},
	"failed":    {"failed", "bad", "bad"},
	"excluded":  {"excluded", "skip", "off"},
	"cancelled": {"cancelled", "skip", "off"},
	// of tests
	"passed":  {"passed", "ok", "ok"},
	"pending": {"pending", "clock", "wait"},
	"missing": {"not tested", "none", "off"},
	// of an attempt
	"ok":      {"ok", "ok", "ok"},
	"infra":   {"given back", "skip", "wait"},
	"stopped": {"stopped", "skip", "off"},
	"lost":    {"lost", "bad", "wait"},
	// of a step or a package
	"given":    {"given", "skip", "off"},
	"signed":   {"signed", "key", "ok"},
	"part":     {"in part", "clock", "wait"},
	"planned":  {"planned", "clock", "wait"},
	"released": {"released", "ok", "ok"},
	"reverted": {"reverted", "skip", "off"},
	"none":     {"not yet", "none", "off"},
	// of a worker
	"busy":        {"busy", "run", "run"},
	"idle":        {"idle", "clock", "ok"},
	"draining":    {"draining", "run", "wait"},
	"drained":     {"drained", "pause", "wait"},
	"quarantined": {"quarantined", "bad", "bad"},
	"away":        {"away", "none", "bad"},
	"unseen":      {"never asked", "none", "off"},
	"disabled":    {"disabled", "skip", "off"},
}

// lookOf returns how a state is shown, whichever type it has; an unknown one is
// shown by its name.
func lookOf(state any) look {
	s := fmt.Sprint(state)
	if l, ok := looks[s]; ok {
		return l
	}
	return look{s, "none", "off"}
}

func functions(a *assets) template.FuncMap {
	return template.FuncMap{
		"static":  a.url,
		"look":    lookOf,
		"release": releaseState,
		"inert":   inert,
		"ago":     func(t time.Time) string { return ago(time.Now(), t) },
		"exact":   func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
		"iso":     func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"bytes":   func(n int64) string { return humanize.IBytes(uint64(max(n, 0))) },
		"number":  func(n int) string { return humanize.Comma(int64(n)) },
		"plural":  plural,
		"short":   func(d albs.Digest) string { return d.Short() },
		"commit":  func(s string) string { return s[:min(len(s), 10)] },
		"lasting": func(t time.Time) string { return took(t, time.Now()) },
		"took":    took,
		"join":    func(ss []string) string { return strings.Join(ss, " ") },

		"worded": func(c *failure.Cause) *causeView { return causeOf(c, 0, 0, 0) }, // of what no log tells
		"sub":    func(a, b int) int { return a - b },
		"add":    func(a, b int) int { return a + b },
		// brief is a name as far as a box of a picture has room for it.
		"brief":    func(s string) string { return brief(inert(s)) },
		"boxwidth": func() int { return picture.BoxWidth },
		"arrows":   func() []string { return []string{order.Met, order.Awaited, order.Vain, order.Cut} },
		"tasklink": func(t queue.Task) string {
			return "/build/" + strings.TrimPrefix(t.Topic, "build:") + "/task/" + t.ID.String()
		},
	}
}

// maxBrief is how many characters of a name a box of a picture shows.
const maxBrief = 20

func brief(s string) string {
	r := []rune(s)
	if len(r) <= maxBrief {
		return s
	}
	return string(r[:maxBrief-1]) + "…"
}

// ago says how long before now t is, roughly: the exact time stands in a title.
func ago(now, t time.Time) string {
	d := now.Sub(t)
	switch {
	case d < 5*time.Second: // clocks differ a little
		return "just now"
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", d/time.Hour)
	case d < 60*24*time.Hour:
		return fmt.Sprintf("%d days ago", d/(24*time.Hour))
	}
	return t.UTC().Format("2006-01-02")
}

// took says how long something lasted, to two units.
func took(from, to time.Time) string {
	if from.IsZero() || to.IsZero() {
		return ""
	}
	d := max(to.Sub(from), 0)
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d/time.Millisecond)
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", d/time.Minute, d/time.Second%60)
	}
	return fmt.Sprintf("%d h %d min", d/time.Hour, d/time.Minute%60)
}

func plural(n int, one string) string {
	s := humanize.Comma(int64(n)) + " " + one
	if n != 1 {
		s += "s"
	}
	return s
}

// inert returns s with everything spelled out that a reader doesn't see or that
// changes how the rest is seen: control characters, marks of writing direction,
// separators of lines, invisible characters and bytes that are no UTF-8. It
// doesn't escape HTML; templates do.
func inert(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if !strings.ContainsFunc(s, misleads) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case !misleads(r):
			b.WriteRune(r)
		case r < ' ':
			b.WriteRune('\u2400' + r) // the control pictures stand in the controls' order
		case r == 0x7f:
			b.WriteRune('\u2421')
		default:
			b.WriteString(`\u` + strings.Repeat("0", max(0, 4-len(strconv.FormatInt(int64(r), 16)))) + strconv.FormatInt(int64(r), 16))
		}
	}
	return b.String()
}

// misleads reports whether a character has to be spelled out: see Unicode TR 36
// and CVE-2021-42574 for those of writing direction.
func misleads(r rune) bool {
	switch {
	case r == '\t':
		return false
	case r < ' ', r >= 0x7f && r <= 0x9f:
		return true
	case r == 0x061c, r == 0x200e, r == 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
		return true // direction
	case r == 0x2028, r == 0x2029, r == 0x00ad, r == 0x200b, r == 0x2060, r == 0xfeff:
		return true // breaks, and what has no width
	case r >= 0xe0000 && r <= 0xe007f, r >= 0xfff9 && r <= 0xfffb:
		return true // tags and annotations
	}
	return false
}

// stepState is the state of several tasks together, by what a person has to know
// first.
func stepState(states []albs.TaskState) string {
	n := make(map[albs.TaskState]int)
	for _, s := range states {
		n[s]++
	}
	switch {
	case len(states) == 0:
		return "none"
	case n[albs.TaskFailed] > 0:
		return string(status.Failed)
	case n[albs.TaskLeased]+n[albs.TaskStopping] > 0:
		return string(status.Running)
	case n[albs.TaskQueued] > 0:
		return string(albs.TaskQueued)
	case n[albs.TaskCancelled] > 0:
		return string(status.Cancelled)
	case n[albs.TaskBlocked] > 0:
		return string(albs.TaskBlocked)
	case n[albs.TaskExcluded] == len(states):
		return string(albs.TaskExcluded)
	}
	return string(status.Succeeded)
}
