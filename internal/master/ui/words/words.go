// Package words says things the way all pages say them: how a state looks, how long
// Ago something was, and foreign text with everything spelled out that would mislead a
// reader's eye. It is pure.
package words

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// A Look is how a state is shown: a word, an icon and a colour, so that none of
// them is needed alone. Class is one of wait, run, ok, bad, off.
type Look struct{ Word, Icon, Class string }

var looks = map[string]Look{
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
	"waived":  {"waived", "skip", "wait"},
	// of a waiver
	"in force":     {"in force", "ok", "wait"},
	"expires soon": {"expires soon", "clock", "weak"},
	"taken back":   {"taken back", "skip", "off"},
	"expired":      {"expired", "clock", "off"},
	// of a stage or case of a test, which may be skipped as well
	"todo":    {"to do", "none", "off"},
	"not_run": {"not run", "none", "bad"},
	"bad":     {"what is bad", "bad", "bad"},
	"broken":  {"broken", "bad", "bad"},
	// of an attempt
	"ok":      {"ok", "ok", "ok"},
	"infra":   {"given back", "skip", "wait"},
	"stopped": {"stopped", "skip", "off"},
	"lost":    {"lost", "bad", "wait"},
	// of a step or a package
	"given":  {"given", "skip", "off"},
	"signed": {"signed", "key", "ok"},
	"part":   {"in part", "clock", "wait"},
	"none":   {"not yet", "none", "off"},
	// of a release
	"scheduled":   {"planned", "clock", "wait"},
	"in progress": {"running", "run", "run"},
	"completed":   {"released", "ok", "ok"},
	"reverted":    {"reverted", "skip", "off"},
	"withdrawn":   {"withdrawn", "skip", "off"},
	"approved":    {"approved", "ok", "ok"},
	// of an advisory, what it waits for, and what answers it
	"not released": {"not released", "none", "off"},
	"released":     {"released", "ok", "ok"},
	"frozen":       {"frozen", "pause", "off"},
	"needs build":  {"needs build", "bad", "weak"},
	"needs match":  {"needs match", "clock", "wait"},
	"ready":        {"ready", "ok", "ok"},
	"proposal":     {"proposed", "clock", "wait"},
	"skipped":      {"skipped", "skip", "off"},
	"lacking":      {"no answer", "bad", "bad"},
	"open":         {"to be decided", "clock", "wait"},
	"settled":      {"answered", "ok", "ok"},
	"exact":        {"exact", "ok", "ok"},
	"equal":        {"equal", "ok", "ok"},
	"newer":        {"newer", "up", "wait"},
	"source":       {"source", "none", "weak"},
	"by hand":      {"by hand", "move", "run"},
	"critical":     {"critical", "bad", "bad"},
	"important":    {"important", "up", "weak"},
	"moderate":     {"moderate", "none", "wait"},
	"low":          {"low", "down", "off"},
	"created":      {"created", "plus", "ok"},
	"changed":      {"changed", "move", "run"},
	"unchanged":    {"as before", "none", "off"},
	// of how a package is touched by a vulnerability
	"affected":            {"affected", "bad", "bad"},
	"not_affected":        {"not affected", "ok", "ok"},
	"fixed":               {"fixed", "ok", "ok"},
	"under_investigation": {"under investigation", "clock", "wait"},
	// of what the public sees of advisories
	"sound":            {"as it is shown", "ok", "ok"},
	"trouble":          {"differs", "bad", "bad"},
	"unchecked":        {"not checked", "none", "off"},
	"unread":           {"can’t be read", "bad", "bad"},
	"missing package":  {"missing package", "bad", "bad"},
	"wrong digest":     {"wrong digest", "bad", "bad"},
	"missing module":   {"missing module", "bad", "bad"},
	"missing advisory": {"missing advisory", "bad", "bad"},
	"wrong advisory":   {"wrong advisory", "bad", "bad"},
	// of a package in a plan, or between two serials
	"add":        {"add", "plus", "ok"},
	"keep":       {"keep", "none", "off"},
	"remove":     {"remove", "bad", "bad"},
	"refused":    {"refused", "bad", "bad"},
	"move":       {"move", "move", "run"},
	"exclude":    {"exclude", "skip", "off"},
	"added":      {"added", "plus", "ok"},
	"removed":    {"removed", "bad", "bad"},
	"upgraded":   {"upgraded", "up", "run"},
	"downgraded": {"downgraded", "down", "wait"},
	"replaced":   {"replaced", "move", "wait"},
	// of what a rebuild came to
	"bit-identical":     {"bit-identical", "ok", "ok"},
	"payload-identical": {"payload-identical", "ok", "ok"},
	"inputs-differ":     {"inputs differ", "none", "wait"},
	"differs":           {"differs", "bad", "bad"},
	// of a repository
	"new":   {"new", "plus", "ok"},
	"gone":  {"gone", "bad", "bad"},
	"shown": {"shown now", "ok", "ok"},
	"past":  {"the past", "clock", "off"},
	// of a request for signatures, and of a key
	"IDLE":        {"queued", "clock", "wait"},
	"IN_PROGRESS": {"being signed", "run", "run"},
	"COMPLETED":   {"signed", "key", "ok"},
	"FAILED":      {"failed", "bad", "bad"},
	"active":      {"active", "key", "ok"},
	"revoked":     {"revoked", "bad", "bad"},
	"inactive":    {"not active", "skip", "off"},
	// of a subscription, and of what is sent to it
	"paused":  {"paused", "pause", "wait"},
	"waiting": {"waiting", "clock", "wait"},
	"sent":    {"sent", "ok", "ok"},
	"dead":    {"given up", "bad", "bad"},
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

// LookOf returns how a state is shown, whichever type it has; an unknown one is
// shown by its name.
func LookOf(state any) Look {
	s := fmt.Sprint(state)
	if l, ok := looks[s]; ok {
		return l
	}
	return Look{s, "none", "off"}
}

// maxBrief is how many characters of a name a box of a picture shows.
const maxBrief = 20

// Brief is a name as far as a box of a picture has room for it, inert.
func Brief(s string) string {
	s = Inert(s)
	r := []rune(s)
	if len(r) <= maxBrief {
		return s
	}
	return string(r[:maxBrief-1]) + "…"
}

// Ago says how long before now t is, roughly: the exact time stands in a title.
func Ago(now, t time.Time) string {
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

// Took says how long something lasted, to two units.
func Took(from, to time.Time) string {
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

// Plural says how many there are of what one word tells, as "1 task" and "2 tasks".
func Plural(n int, one string) string {
	s := humanize.Comma(int64(n)) + " " + one
	if n != 1 {
		s += "s"
	}
	return s
}

// Inert returns s with everything spelled out that a reader doesn't see or that
// changes how the rest is seen: control characters, marks of writing direction,
// separators of lines, invisible characters and bytes that are no UTF-8. It
// doesn't escape HTML; templates do.
func Inert(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if !strings.ContainsFunc(s, Misleads) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case !Misleads(r):
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

// InertLines is Inert for a text of several lines, which stay lines.
func InertLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = Inert(l)
	}
	return strings.Join(lines, "\n")
}

// Misleads reports whether a character has to be spelled out: see Unicode TR 36
// and CVE-2021-42574 for those of writing direction.
func Misleads(r rune) bool {
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

// Cut returns at most n bytes of s, with a sign that there were more.
func Cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// Bytes says a size for people, in binary units.
func Bytes(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }
