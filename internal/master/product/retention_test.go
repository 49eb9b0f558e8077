package product

import (
	"strings"
	"testing"
	"time"
)

func TestOldest(t *testing.T) {
	t.Parallel()
	now := time.Now()
	ago := func(days int) time.Time { return now.Add(-time.Duration(days) * 24 * time.Hour) }
	shown := []Showing{{9, ago(1)}, {8, ago(2)}, {7, ago(10)}, {5, ago(20)}, {4, ago(30)}, {1, ago(40)}} // 8 was left a day ago, 7 two, 5 ten
	for _, tt := range []struct {
		name string
		r    Retention
		want int64
	}{
		{"all", Retention{}, 1},
		{"all, though packages are said", Retention{Packages: AllPackages}, 1},
		{"three", Retention{Trees: 3}, 7},
		{"as many as there are", Retention{Trees: 6}, 1},
		{"more than there are", Retention{Trees: 100}, 1},
		{"by time", Retention{Days: 9}, 7},
		{"to the day", Retention{Days: 10}, 5},
		{"never fewer than two", Retention{Days: 1}, 8},
		{"for either reason: number", Retention{Trees: 4, Days: 1}, 5},
		{"for either reason: time", Retention{Trees: 2, Days: 25}, 4},
	} {
		if got := tt.r.Oldest(shown, now); got != tt.want {
			t.Errorf("%s: the oldest that is kept is %d, want %d", tt.name, got, tt.want)
		}
	}
	if got := (Retention{Trees: 2}).Oldest(shown[:1], now); got != 9 {
		t.Errorf("of one serial, the oldest that is kept is %d", got)
	}
	if got := (Retention{Trees: 2}).Oldest(nil, now); got != 0 {
		t.Errorf("of none, the oldest that is kept is %d", got)
	}
}

func TestParseRetention(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"{trees: 10, days: 90, packages: kept}": "", "{days: 1}": "", "{trees: 2, packages: all}": "", "{packages: all}": "",
		"{trees: 1}":                "a rollback needs one",
		"{trees: -1}":               "retention.trees",
		"{days: -1}":                "retention.days",
		"{days: 100000}":            "retention.days",
		"{trees: 2, packages: few}": "neither all nor kept",
		"{packages: kept}":          "say trees or days",
		"{weeks: 1}":                "there is no key weeks",
	} {
		_, err := Parse(strings.NewReader(good + "retention: " + text + "\n"))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("retention %s: %v, want %q", text, err, want)
		}
	}
}
