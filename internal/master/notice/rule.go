package notice

import (
	"math"
	"net/mail"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"albs/internal/albs"
)

// Channel is how a subscription is served.
type Channel string

// The channels.
const (
	Webhook Channel = "webhook"
	ByMail  Channel = "mail"
)

// Filter says what a subscription wants to be told of. But for Kinds, an empty list
// leaves all.
type Filter struct {
	Kinds     []Kind   `json:"kinds"`
	Platforms []string `json:"platforms,omitempty"` // of what is told of single platforms
	Products  []string `json:"products,omitempty"`
	Severity  string   `json:"severity,omitempty"` // of advisories: the least
}

// Bounds of what a person gives.
const (
	maxKinds  = 20
	maxNames  = 50
	maxName   = 100
	maxTarget = 2000
	maxNote   = 200
)

// severities are those of advisories, the least bad first; "none" is that of one that
// wasn't judged.
var severities = []string{"none", "low", "moderate", "important", "critical"}

// wants reports whether a notice is to be sent.
func (f Filter) wants(n Notice) bool {
	if !slices.Contains(f.Kinds, n.Kind) {
		return false
	}
	if len(f.Products) > 0 && !slices.Contains(f.Products, n.Data.Product) {
		return false
	}
	if len(f.Platforms) > 0 && len(n.Data.Platforms) > 0 &&
		!slices.ContainsFunc(n.Data.Platforms, func(p string) bool { return slices.Contains(f.Platforms, p) }) {
		return false
	}
	return n.Data.Advisory == nil || f.Severity == "" ||
		slices.Index(severities, n.Data.Advisory.Severity) >= slices.Index(severities, f.Severity)
}

// check returns the filter with its lists in order, or Invalid or TooLarge.
func (f Filter) check() (Filter, error) {
	for what, list := range map[string][]string{"platforms": f.Platforms, "products": f.Products} {
		if len(list) > maxNames {
			return f, albs.Errorf(albs.TooLarge, "%d %s are too many, %d go", len(list), what, maxNames)
		}
		for _, name := range list {
			if name == "" || len(name) > maxName || misleads(name) {
				return f, albs.Errorf(albs.Invalid, "%.100q is no name among %s", name, what)
			}
		}
	}
	if len(f.Kinds) == 0 || len(f.Kinds) > maxKinds {
		return f, albs.Errorf(albs.Invalid, "say of what to tell: some of %s", words(Kinds()))
	}
	for _, k := range f.Kinds {
		if !slices.Contains(Kinds(), k) {
			return f, albs.Errorf(albs.Invalid, "%.60q isn't told of: choose some of %s", k, words(Kinds()))
		}
	}
	if f.Severity != "" && !slices.Contains(severities, f.Severity) {
		return f, albs.Errorf(albs.Invalid, "%.40q is no severity: %s", f.Severity, strings.Join(severities, ", "))
	}
	return Filter{Kinds: sorted(f.Kinds), Platforms: sorted(f.Platforms), Products: sorted(f.Products), Severity: f.Severity}, nil
}

func sorted[T ~string](list []T) []T {
	return slices.Compact(slices.Sorted(slices.Values(list)))
}

func words[T ~string](list []T) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return strings.Join(out, ", ")
}

// checkAddress returns a mail address as it goes into a header and an envelope, or
// Invalid: the bare address in ASCII (RFC 5322, addr-spec), without a name or a comment,
// and nothing that a server could take for something else.
func checkAddress(s string) (string, error) {
	bad := albs.Errorf(albs.Invalid, "%.100q is no mail address such as security@example.org", s)
	if len(s) > 254 || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`<>()[]\,;:"`, r) }) {
		return "", bad
	}
	a, err := mail.ParseAddress(s)
	if err != nil || a.Address != s || a.Name != "" {
		return "", bad
	}
	return s, nil
}

// host returns the host of a webhook, which may be shown and logged: the rest of a URL may
// be a secret.
func host(target string) string {
	u, err := url.Parse(target)
	if err != nil {
		return ""
	}
	return u.Host
}

// Of attempts.
const (
	giveUp     = 24 * time.Hour // after which a delivery is dead
	firstPause = 30 * time.Second
	longest    = time.Hour
)

// pause returns how long a lane waits after so many failures in a row, at least one:
// doubled each time up to an hour, and spread by a fifth to both sides as jitter (0 to 1)
// says, so that receivers which came back aren't all asked at once.
func pause(failures int, jitter float64) time.Duration {
	d := longest
	if shift := max(failures, 1) - 1; shift < 10 {
		d = min(firstPause<<shift, longest)
	}
	return time.Duration(math.Round(float64(d) * (0.8 + 0.4*jitter)))
}

// tooLate is how old something is of which nobody is told any more: events are read from
// their beginning where nobody has followed them yet.
const tooLate = 7 * 24 * time.Hour

// due reports whether what happened at a time is told to a subscription that was made at
// another.
func due(happened, made, now time.Time) bool {
	return !happened.Before(made) && now.Sub(happened) < tooLate
}

// misleads reports whether a line has what would break it or mislead a reader's eye:
// control and format characters, of which those that change the direction of writing are.
func misleads(s string) bool { return strings.ContainsFunc(s, unseen) }

func unseen(r rune) bool {
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) || r == unicode.ReplacementChar
}

// line returns foreign text as one line of at most n bytes.
func line(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if unseen(r) {
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n], "") + "…"
	}
	return s
}
