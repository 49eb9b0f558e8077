package page

import (
	"bytes"
	"encoding/xml"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"albs/internal/advisory"
	"albs/internal/advisory/advisorytest"
	"albs/internal/albs"
	"albs/internal/rpm"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
)

var update = flag.Bool("update", false, "write the golden files anew")

var dist = advisorytest.Distribution()

// sample has all that a page shows.
func sample() advisory.Advisory {
	at := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	n := rpm.NEVRA{Name: "qemu-kvm", Epoch: 17, Version: "9.0.0", Release: "10.module+el9", Arch: "x86_64"}
	z := rpm.NEVRA{Name: "zlib", Version: "1.2.11", Release: "40.el9", Arch: "x86_64"}
	return advisory.Advisory{
		ID: "ALSA-2026:1234", Platform: "almalinux-9", Version: 2, Type: advisory.Security, Severity: advisory.Important, Title: "zlib security update", Summary: "A summary.",
		Description: "* zlib: overflow\n\n\tof <b>one</b> & another", Solution: "dnf upgrade", Rights: "Copyright 2026 Example", Upstream: "RHSA-2026:1234", Issued: at, Updated: at.Add(24 * time.Hour), Reboot: true,
		References: []advisory.Reference{{Kind: advisory.ToBugzilla, ID: "1", URL: "https://bugzilla.example.org/?id=1&x=2", Title: "zlib: overflow"}, {Kind: advisory.ToOther, URL: "https://example.org/"}},
		CVEs:       []advisory.CVE{{ID: "CVE-2026-10001", Impact: advisory.Low, CWEs: []string{"CWE-787"}, Public: at, Scores: []advisory.Score{{Vector: "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", Source: "nvd"}}}},
		Packages: []advisory.Package{
			{NEVRA: z, Source: "zlib-1.2.11-40.el9.src.rpm", Repository: "9/BaseOS/x86_64/os", Digest: albs.DigestOf([]byte("z")), Reboot: true, Relogin: true, Restart: true},
			{NEVRA: n, Source: "qemu-kvm-9.0.0-10.module+el9.src.rpm", Repository: "9/AppStream/x86_64/os", Digest: albs.DigestOf([]byte("q")), Module: &advisory.Module{Name: "virt", Stream: "rhel"}},
		},
		VEX:       []advisory.VEX{{CVE: "CVE-2026-10002", Package: "zlib", Status: advisory.NotAffected, Justification: advisory.Justifications()[0], Detail: "It isn't built.", At: at}},
		Withdrawn: &advisory.Withdrawal{At: at.Add(48 * time.Hour), Reason: "It was wrong."},
	}.Normal()
}

func all(as ...advisory.Advisory) []advisory.File {
	var out []advisory.File
	var rows, items []advisory.Piece
	for _, a := range as {
		out = append(out, Files(a, dist)...)
		rows, items = append(rows, Row(a, dist)), append(items, Item(a, dist))
	}
	return append(append(out, Index(rows, dist)...), Feed(items, dist))
}

func TestGolden(t *testing.T) {
	t.Parallel()
	bare := advisory.Advisory{ID: "ALBA-2026:0001", Platform: "almalinux-9", Version: 1, Type: advisory.Bugfix, Title: "zlib bug fix", Description: "Mended.", Issued: sample().Issued, Updated: sample().Issued}
	for _, f := range all(sample(), bare) {
		if strings.HasSuffix(f.Path, ".css") || strings.HasSuffix(f.Path, ".js") {
			continue
		}
		golden := filepath.Join("testdata", filepath.Base(f.Path))
		advisorytest.Golden(t, golden, f.Bytes, *update)
		lint := []string{"--noout", golden}
		if strings.HasSuffix(golden, ".html") {
			lint = []string{"--html", "--noout", golden}
		}
		if _, err := exec.LookPath("xmllint"); err != nil {
			t.Log("xmllint is not installed here: the files are not shown to it")
			continue
		}
		out, err := exec.CommandContext(t.Context(), "xmllint", lint...).CombinedOutput()
		// libxml2 knows the elements of HTML 4 alone.
		said := false
		for _, l := range strings.Split(string(out), "\n") {
			said = said || strings.Contains(l, "error") && !strings.Contains(l, "Tag ")
		}
		if said || err != nil && strings.HasSuffix(golden, ".rss") {
			t.Errorf("xmllint %v: %v %s", lint, err, out)
		}
	}
}

// hostile puts s wherever an advisory has text.
func hostile(s string) advisory.Advisory {
	a := sample()
	a.Title, a.Summary, a.Description, a.Solution, a.Rights, a.Upstream = s, s, s, s, s, s
	a.Withdrawn = &advisory.Withdrawal{At: a.Updated, Reason: s}
	a.References = append(a.References, advisory.Reference{Kind: advisory.ToOther, ID: s, URL: "https://example.org/" + s, Title: s}, advisory.Reference{Kind: advisory.ToOther, URL: s})
	for i := range a.CVEs {
		a.CVEs[i].Scores = []advisory.Score{{Vector: s, Source: s}}
	}
	for i := range a.Packages {
		// Such ones pass no check; pages hold without it.
		a.Packages[i].Name, a.Packages[i].Source, a.Packages[i].Repository = s, s, s
		a.Packages[i].Module = &advisory.Module{Name: s, Stream: s}
	}
	a.VEX[0].Package, a.VEX[0].Stream, a.VEX[0].Detail = s, s, s
	return a
}

// skeleton returns the elements and attributes of a page, with the values of those that can
// do something, and fails for what can do harm.
func skeleton(t *testing.T, f advisory.File) string {
	t.Helper()
	var out strings.Builder
	z := html.NewTokenizer(bytes.NewReader(f.Bytes))
	for {
		switch z.Next() {
		case html.ErrorToken:
			if z.Err() != io.EOF {
				t.Fatal(z.Err())
			}
			return out.String()
		case html.StartTagToken, html.SelfClosingTagToken:
			tok := z.Token()
			fmt.Fprintf(&out, "<%s", tok.Data)
			for _, a := range tok.Attr {
				if strings.HasPrefix(a.Key, "on") || a.Key == "style" || a.Key == "srcdoc" {
					t.Errorf("%s has %s=%q", f.Path, a.Key, a.Val)
				}
				if v := strings.ToLower(strings.TrimSpace(a.Val)); (a.Key == "href" || a.Key == "src") && strings.Contains(v, ":") && !strings.HasPrefix(v, "https://") {
					t.Errorf("%s leads to %q", f.Path, a.Val)
				}
				if a.Key == "src" && a.Val != "errata.js" || tok.Data == "link" && a.Key == "href" && a.Val != "errata.css" && a.Val != "../errata.rss" {
					t.Errorf("%s loads %q", f.Path, a.Val)
				}
				fmt.Fprintf(&out, " %s", a.Key)
			}
			out.WriteString(">")
		case html.EndTagToken:
			fmt.Fprintf(&out, "</%s>", z.Token().Data)
		case html.CommentToken:
			t.Errorf("%s has a comment", f.Path)
		}
	}
}

// TestHostile: no text of an advisory changes what a page or the feed is made of.
func TestHostile(t *testing.T) {
	t.Parallel()
	plain := all(hostile("harmless"))
	for _, s := range append(advisorytest.Hostile, "</title><script>alert(1)</script>", "</textarea><svg/onload=alert(1)>", "\x00\xff", "data:text/html,x", "JaVaScRiPt:alert(1)", "//evil.example.org") {
		for i, f := range all(hostile(s)) {
			if strings.HasSuffix(f.Path, ".html") {
				if got, want := skeleton(t, f), skeleton(t, plain[i]); got != want {
					t.Errorf("%q changes %s: %s", s, f.Path, cmp.Diff(want, got))
				}
			}
			if f.Path != "errata.rss" {
				continue
			}
			var feed struct {
				Channel struct {
					Title string `xml:"title"`
					Items []struct {
						Title       []string                     `xml:"title"`
						Link        []string                     `xml:"link"`
						Description []string                     `xml:"description"`
						All         []struct{ XMLName xml.Name } `xml:",any"`
					} `xml:"item"`
				} `xml:"channel"`
			}
			if err := xml.Unmarshal(f.Bytes, &feed); err != nil {
				t.Fatalf("%q breaks the feed: %v", s, err)
			}
			it := feed.Channel.Items
			if len(it) != 1 || len(it[0].Title) != 1 || len(it[0].Link) != 1 || len(it[0].Description) != 1 || len(it[0].All) != 4 {
				t.Fatalf("%q changes the feed: %+v", s, feed)
			}
			// What a reader of the feed shows is HTML.
			if got := skeleton(t, advisory.File{Path: "the description", Bytes: []byte(it[0].Description[0])}); got != "<p></p><pre></pre>" {
				t.Errorf("%q changes the description to %s", s, got)
			}
		}
	}
}

// TestPolicy: each page says that it loads nothing from elsewhere, before it loads anything.
func TestPolicy(t *testing.T) {
	t.Parallel()
	for _, f := range all(sample()) {
		if !strings.HasSuffix(f.Path, ".html") {
			continue
		}
		policy := bytes.Index(f.Bytes, []byte(`http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'self'; script-src 'self'`))
		for _, loads := range []string{"<link", "<script"} {
			if at := bytes.Index(f.Bytes, []byte(loads)); policy < 0 || at >= 0 && at < policy {
				t.Errorf("%s has its policy at %d, and %s at %d", f.Path, policy, loads, at)
			}
		}
		if bytes.Contains(f.Bytes, []byte("unsafe-inline")) || bytes.Contains(f.Bytes, []byte("<style")) {
			t.Errorf("%s has styles or scripts of its own", f.Path)
		}
	}
}

// TestFeed: the newest FeedItems, and a new version is news.
func TestFeed(t *testing.T) {
	t.Parallel()
	one := sample()
	one.CVEs, one.Packages, one.Withdrawn = nil, nil, nil
	var items []advisory.Piece
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for n := range FeedItems + 20 {
		a := one
		a.ID, a.Updated = fmt.Sprintf("ALSA-2026:%04d", n), at.Add(time.Duration((n*7)%(FeedItems+20))*time.Hour)
		items = append(items, Item(a, dist))
	}
	f := Feed(items, dist)
	var feed struct {
		Date  string `xml:"channel>lastBuildDate"`
		Items []struct {
			GUID string `xml:"guid"`
			Date string `xml:"pubDate"`
		} `xml:"channel>item"`
	}
	if err := xml.Unmarshal(f.Bytes, &feed); err != nil || len(feed.Items) != FeedItems || feed.Items[0].Date != feed.Date {
		t.Fatalf("%v: %d items of %s", err, len(feed.Items), feed.Date)
	}
	last := time.Time{}
	for _, i := range feed.Items {
		d, err := time.Parse(time.RFC1123Z, i.Date)
		if err != nil || !last.IsZero() && d.After(last) || d.Before(at.Add(20*time.Hour)) {
			t.Errorf("%s comes after %s (%v)", d, last, err)
		}
		last = d
	}
	a, b := sample(), sample()
	b.Version++
	if bytes.Equal(Item(a, dist).Bytes, Item(b, dist).Bytes) {
		t.Error("another version is the same item")
	}
	if f := Feed(nil, dist); xml.Unmarshal(f.Bytes, &feed) != nil {
		t.Errorf("a feed without items is %s", f.Bytes)
	}
}

// TestRandom: all advisories have a page, a row and an item, the same for the same.
func TestRandom(t *testing.T) {
	t.Parallel()
	var as []advisory.Advisory
	for n := range advisorytest.Rounds(100) {
		as = append(as, advisorytest.Random(rand.New(rand.NewPCG(7, uint64(n))), n))
	}
	one, two := all(as...), all(as...)
	for i, f := range one {
		if !bytes.Equal(f.Bytes, two[i].Bytes) || len(f.Bytes) == 0 {
			t.Errorf("%s is another one the second time", f.Path)
		}
		if strings.HasSuffix(f.Path, ".html") {
			skeleton(t, f)
		}
	}
}

// BenchmarkIndex tells what one new advisory costs beside so many others, in page, index and
// feed.
func BenchmarkIndex(b *testing.B) {
	for _, n := range []int{500, 5000} {
		var rows, items []advisory.Piece
		for i := range n {
			a := advisorytest.Random(rand.New(rand.NewPCG(6, uint64(i))), i)
			rows, items = append(rows, Row(a, dist)), append(items, Item(a, dist))
		}
		a := advisorytest.Random(rand.New(rand.NewPCG(6, 0)), n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				Files(a, dist)
				fs := Index(append(rows[:n:n], Row(a, dist)), dist)
				b.SetBytes(int64(len(fs[0].Bytes) + len(Feed(append(items[:n:n], Item(a, dist)), dist).Bytes)))
			}
		})
	}
}
