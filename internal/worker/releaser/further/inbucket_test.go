package further

import "testing"

// TestKindOf: what a product's tree has beside repositories is told as what it is.
func TestKindOf(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"errata/el9/html/index.html": "text/html; charset=utf-8", "errata/el9/html/errata.css": "text/css; charset=utf-8", "errata/el9/html/errata.js": "text/javascript; charset=utf-8",
		"errata/el9/errata.json": "application/json", "errata/el9/errata.rss": "application/rss+xml; charset=utf-8", "errata/el9/csaf/changes.csv": "text/csv; charset=utf-8",
		"errata/el9/csaf/index.txt": "text/plain; charset=utf-8", "errata/el9/csaf/2026/alsa-2026_1.json.sha512": "text/plain; charset=utf-8",
		"errata/el9/csaf/2026/alsa-2026_1.json.asc": "application/pgp-signature", "errata/el9/oval/org.example.errata-9.xml.gz": "application/gzip", "RPM-GPG-KEY-demo": "",
	} {
		if got := kindOf(name); got != want {
			t.Errorf("%s is told to be %q, want %q", name, got, want)
		}
	}
}
