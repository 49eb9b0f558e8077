package notice

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
)

func TestFilterWants(t *testing.T) {
	t.Parallel()
	advisory := func(severity, platform string) Notice {
		return Notice{Kind: Released, Data: Data{Product: "demo", Platforms: []string{platform}, Advisory: &Advisory{Severity: severity, Platform: platform}}}
	}
	build := Notice{Kind: BuildFailed, Data: Data{Product: "demo", Platforms: []string{"el8", "el9"}}}
	release := Notice{Kind: Published, Data: Data{Product: "demo"}}
	all := Kinds()
	for _, tc := range []struct {
		name   string
		filter Filter
		notice Notice
		want   bool
	}{
		{"its kind", Filter{Kinds: []Kind{Published}}, release, true},
		{"another kind", Filter{Kinds: []Kind{Failed}}, release, false},
		{"a test", Filter{Kinds: all}, Notice{Kind: test}, false},
		{"its product", Filter{Kinds: all, Products: []string{"a", "demo"}}, release, true},
		{"another product", Filter{Kinds: all, Products: []string{"a"}}, release, false},
		{"of no product", Filter{Kinds: all, Products: []string{"a"}}, Notice{Kind: BuildFailed}, false},
		{"its platform", Filter{Kinds: all, Platforms: []string{"el9"}}, advisory("low", "el9"), true},
		{"another platform", Filter{Kinds: all, Platforms: []string{"el9"}}, advisory("low", "el8"), false},
		{"one of its platforms", Filter{Kinds: all, Platforms: []string{"el9"}}, build, true},
		{"none of its platforms", Filter{Kinds: all, Platforms: []string{"el10"}}, build, false},
		{"of no single platform", Filter{Kinds: all, Platforms: []string{"el9"}}, release, true},
		{"as severe", Filter{Kinds: all, Severity: "important"}, advisory("important", "el9"), true},
		{"more severe", Filter{Kinds: all, Severity: "important"}, advisory("critical", "el9"), true},
		{"less severe", Filter{Kinds: all, Severity: "important"}, advisory("moderate", "el9"), false},
		{"not judged", Filter{Kinds: all, Severity: "low"}, advisory("none", "el9"), false},
		{"not judged, and that is enough", Filter{Kinds: all, Severity: "none"}, advisory("none", "el9"), true},
		{"a severity nobody knows", Filter{Kinds: all, Severity: "low"}, advisory("dire", "el9"), false},
		{"no advisory", Filter{Kinds: all, Severity: "critical"}, build, true},
	} {
		if got := tc.filter.wants(tc.notice); got != tc.want {
			t.Errorf("%s: wants = %t, want %t", tc.name, got, tc.want)
		}
	}
}

func TestFilterCheck(t *testing.T) {
	t.Parallel()
	many := make([]string, maxNames+1)
	for i := range many {
		many[i] = "x"
	}
	for _, tc := range []struct {
		name   string
		filter Filter
		want   albs.Kind
	}{
		{"nothing", Filter{}, albs.Invalid},
		{"a kind", Filter{Kinds: []Kind{Released}}, ""},
		{"no kind", Filter{Kinds: []Kind{"errata.edited"}}, albs.Invalid},
		{"tests", Filter{Kinds: []Kind{test}}, albs.Invalid},
		{"too many kinds", Filter{Kinds: make([]Kind, maxKinds+1)}, albs.Invalid},
		{"too many platforms", Filter{Kinds: []Kind{Released}, Platforms: many}, albs.TooLarge},
		{"too many products", Filter{Kinds: []Kind{Released}, Products: many}, albs.TooLarge},
		{"a name of nothing", Filter{Kinds: []Kind{Released}, Products: []string{""}}, albs.Invalid},
		{"a long name", Filter{Kinds: []Kind{Released}, Products: []string{strings.Repeat("x", maxName+1)}}, albs.Invalid},
		{"a name with a line feed", Filter{Kinds: []Kind{Released}, Platforms: []string{"a\nb"}}, albs.Invalid},
		{"a severity", Filter{Kinds: []Kind{Released}, Severity: "none"}, ""},
		{"no severity", Filter{Kinds: []Kind{Released}, Severity: "Important"}, albs.Invalid},
	} {
		if _, err := tc.filter.check(); albs.KindOf(err) != tc.want {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
	got, err := Filter{Kinds: []Kind{Withdrawn, Released, Released}, Products: []string{"b", "a", "b"}}.check()
	want := Filter{Kinds: []Kind{Released, Withdrawn}, Products: []string{"a", "b"}}
	if err != nil || !cmp.Equal(got, want, cmp.Transformer("nil", func(s []string) []string { return append([]string{}, s...) })) {
		t.Errorf("check = %+v, %v; want %+v", got, err, want)
	}
}

func TestCheckAddress(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"security@example.org", "a.b+tag@mail.example.org", "o'brien@example.org", "x@localhost"} {
		if got, err := checkAddress(s); got != s || err != nil {
			t.Errorf("checkAddress(%q) = %q, %v", s, got, err)
		}
	}
	for _, s := range []string{
		"", "nobody", "@example.org", "a@", "a@b@c", "Olga <olga@example.org>", "<olga@example.org>", "olga@example.org, other@example.org", "olga@example.org other@example.org",
		"olga@example.org\r\nBcc: x@example.org", "olga@example.org\n", "\"a b\"@example.org", "olga(comment)@example.org", "ölga@example.org", "a@[127.0.0.1]", "a@exa\x00mple.org",
		strings.Repeat("a", 250) + "@example.org", "a@-x>.org",
	} {
		if got, err := checkAddress(s); albs.KindOf(err) != albs.Invalid {
			t.Errorf("checkAddress(%q) = %q, %v; want it refused", s, got, err)
		}
	}
}

func TestPause(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		failures int
		want     time.Duration
	}{
		{0, 30 * time.Second}, {1, 30 * time.Second}, {2, time.Minute}, {3, 2 * time.Minute}, {4, 4 * time.Minute}, {7, 32 * time.Minute},
		{8, time.Hour}, {9, time.Hour}, {60, time.Hour}, {1 << 30, time.Hour},
	} {
		if got := pause(tc.failures, 0.5); got != tc.want {
			t.Errorf("pause(%d, 0.5) = %v, want %v", tc.failures, got, tc.want)
		}
		if low, high := pause(tc.failures, 0), pause(tc.failures, 1); low != tc.want*8/10 || high != tc.want*12/10 {
			t.Errorf("pause(%d) = %v to %v, want a fifth to both sides of %v", tc.failures, low, high, tc.want)
		}
	}
}

func TestDue(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name           string
		happened, made time.Duration // before now
		want           bool
	}{
		{"since", time.Minute, time.Hour, true},
		{"at the same time", time.Hour, time.Hour, true},
		{"before", 2 * time.Hour, time.Hour, false},
		{"long ago", tooLate, 2 * tooLate, false},
		{"nearly long ago", tooLate - time.Second, 2 * tooLate, true},
	} {
		if got := due(now.Add(-tc.happened), now.Add(-tc.made), now); got != tc.want {
			t.Errorf("%s: due = %t, want %t", tc.name, got, tc.want)
		}
	}
	if keptFor <= tooLate {
		t.Errorf("deliveries are forgotten after %v, while what is %v old is told: it would be told twice", keptFor, tooLate)
	}
}

func TestLine(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain": "plain", "two\r\nlines": "two lines", "a\u202eb": "a b", "\x1b[31mred": "[31mred", "  much   space ": "much space", "bad\xffutf": "bad utf",
		strings.Repeat("é", 60): strings.Repeat("é", 50) + "…",
	} {
		if got := line(in, 100); got != want {
			t.Errorf("line(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestAnswered(t *testing.T) {
	t.Parallel()
	for code, want := range map[int]string{
		200: "ok", 202: "ok", 204: "ok", 301: "again", 307: "again", 400: "again", 401: "again", 404: "again", 410: "gone", 429: "again", 500: "again", 503: "again", 600: "again", 100: "again",
	} {
		o := answered(code)
		got := map[bool]string{true: "ok", false: "again"}[o.ok]
		if o.gone && o.final {
			got = "gone"
		}
		if got != want || (o.reason == "") != o.ok {
			t.Errorf("answered(%d) = %+v, want %s", code, o, want)
		}
	}
}
