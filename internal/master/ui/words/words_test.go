package words

import (
	"strings"
	"testing"
	"time"
)

func TestWords(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		-time.Second: "just now", 0: "just now", 30 * time.Second: "30 s ago", 90 * time.Second: "1 min ago", 47 * time.Hour: "47 h ago",
		72 * time.Hour: "3 days ago", 90 * 24 * time.Hour: "2026-11-22",
	} {
		if got := Ago(at.Add(d), at); got != want {
			t.Errorf("Ago(%v) = %q, want %q", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{-1: "0 ms", 40 * time.Millisecond: "40 ms", 61 * time.Second: "1 min 1 s", 3661 * time.Second: "1 h 1 min"} {
		if got := Took(at, at.Add(d)); got != want {
			t.Errorf("Took(%v) = %q, want %q", d, got, want)
		}
	}
	if got := Took(time.Time{}, at); got != "" {
		t.Errorf("took from nothing = %q", got)
	}
}

func TestInertLines(t *testing.T) {
	t.Parallel()
	if got := InertLines("a\x1b\n\u202eb\r\n"); got != "a␛\n\\u202eb␍\n" {
		t.Errorf("InertLines = %q", got)
	}
}

// TestMisleads: the first and the last of each kind are spelled out, and their
// neighbours are text.
func TestMisleads(t *testing.T) {
	t.Parallel()
	for _, r := range "\x00\x08\n\x1f\x7f\u0080\u009f\u00ad\u061c\u200b\u200e\u200f\u2028\u2029\u202a\u202e\u2060\u2066\u2069\ufeff\ufff9\ufffb\U000e0000\U000e007f" {
		if !Misleads(r) || strings.ContainsRune(Inert(string(r)), r) {
			t.Errorf("%U is shown as it is", r)
		}
	}
	for _, r := range "\t ~\u00a0\u00ae\u200c\u200d\u2027\u202f\u2065\u206a\ufffc\ufffd\U000e0080" {
		if s := Inert(string(r)); s != string(r) {
			t.Errorf("%U is shown as %q", r, s)
		}
	}
}
