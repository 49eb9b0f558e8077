// Package page writes advisories for people: a page of HTML for each, an index of all with a
// search, and a feed (RSS 2.0) of the newest.
//
// What an advisory says comes from outside. Everything is escaped by where it stands, no page
// needs a script or loads anything from elsewhere, and each says so to the browser by a
// Content-Security-Policy of its own, for they lie on mirrors whose headers nobody knows.
// Index and feed are made of pieces, one for each advisory.
package page

import (
	"bytes"
	"embed"
	"encoding/xml"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"albs/internal/advisory"
)

//go:embed files
var files embed.FS

// FeedItems is how many advisories the feed has.
const FeedItems = 500

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"day":   func(t time.Time) string { return t.UTC().Format(time.DateOnly) },
	"stamp": func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"file":  advisory.FileName,
	"word":  func(s any) string { return strings.ReplaceAll(fmt.Sprint(s), "_", " ") },
}).ParseFS(files, "files/*.html"))

// Name returns the name of an advisory's page, below the place of its platform's advisories.
func Name(a advisory.Advisory) string { return "html/" + advisory.FileName(a.ID) + ".html" }

// URL returns the address of an advisory's page.
func URL(a advisory.Advisory, d advisory.Distribution) string { return d.URL + "/" + Name(a) }

// view is what a template is given.
type view struct {
	A       advisory.Advisory
	D       advisory.Distribution
	Groups  []group
	Rows    template.HTML // rows of the index, which are HTML already
	Count   int
	Sources []string
}

// group is the packages of one repository and one stream of a module.
type group struct {
	Repository, Stream string
	Packages           []advisory.Package
}

// Files returns the page of an advisory. Equal advisories have equal pages.
func Files(a advisory.Advisory, d advisory.Distribution) []advisory.File {
	a = a.Normal()
	a.References = a.AllReferences()
	v := view{A: a, D: d}
	for _, m := range a.ByModule() {
		for _, p := range m.Packages {
			if n := len(v.Groups); n == 0 || v.Groups[n-1].Stream != m.Stream || v.Groups[n-1].Repository != p.Repository {
				v.Groups = append(v.Groups, group{Repository: p.Repository, Stream: m.Stream})
			}
			g := &v.Groups[len(v.Groups)-1]
			g.Packages = append(g.Packages, p)
		}
	}
	return []advisory.File{{Path: Name(a), Bytes: render("advisory.html", v)}}
}

// Row returns the advisory's row of the index.
func Row(a advisory.Advisory, d advisory.Distribution) advisory.Piece {
	a = a.Normal()
	v := view{A: a, D: d}
	for _, p := range a.Packages {
		v.Sources = append(v.Sources, p.SourceName())
	}
	slices.Sort(v.Sources)
	v.Sources = slices.Compact(v.Sources)
	return advisory.Piece{ID: a.ID, Updated: changed(a), Bytes: render("row.html", v)}
}

// Index returns the index of its rows, the last updated first, and the style and the search
// that it and the pages use.
func Index(rows []advisory.Piece, d advisory.Distribution) []advisory.File {
	rows = advisory.Newest(rows)
	var all bytes.Buffer
	for _, r := range rows {
		all.Write(r.Bytes)
	}
	v := view{D: d, Count: len(rows), Rows: template.HTML(all.String())}
	out := []advisory.File{{Path: "html/index.html", Bytes: render("index.html", v)}}
	for _, name := range []string{"errata.css", "errata.js"} {
		b, _ := files.ReadFile("files/" + name) // it is embedded
		out = append(out, advisory.File{Path: "html/" + name, Bytes: b})
	}
	return out
}

// render executes a template that this package has on data that it made: neither can fail.
func render(name string, v view) []byte {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, v); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// item is an item of RSS 2.0.
type item struct {
	XMLName     xml.Name `xml:"item"`
	Title       string   `xml:"title"`
	Link        string   `xml:"link"`
	Description string   `xml:"description"`
	Categories  []string `xml:"category"`
	GUID        guid     `xml:"guid"`
	Date        string   `xml:"pubDate"`
}

type guid struct {
	Permanent bool   `xml:"isPermaLink,attr"`
	ID        string `xml:",chardata"`
}

// Item returns the advisory's item of the feed. Readers show a new version of it as news.
func Item(a advisory.Advisory, d advisory.Distribution) advisory.Piece {
	a = a.Normal()
	// The description of an item is HTML, which stands in XML: it is escaped twice.
	text := "<pre>" + template.HTMLEscapeString(a.Description) + "</pre>"
	title := "[" + a.ID + "] " + a.FullTitle()
	if w := a.Withdrawn; w != nil {
		title = "[" + a.ID + "] Withdrawn: " + a.Title
		text = "<p>Withdrawn on " + w.At.Format(time.DateOnly) + ": " + template.HTMLEscapeString(w.Reason) + "</p>" + text
	}
	version := fmt.Sprintf("%s#%d", URL(a, d), a.Version)
	if a.Withdrawn != nil {
		version += "-withdrawn"
	}
	i := item{
		Title: title, Link: URL(a, d), Description: text, Categories: []string{string(a.Type)},
		GUID: guid{ID: version}, Date: changed(a).Format(time.RFC1123Z),
	}
	if a.Severity != advisory.None {
		i.Categories = append(i.Categories, string(a.Severity))
	}
	return advisory.Piece{ID: a.ID, Updated: changed(a), Bytes: append(encode(i), '\n')}
}

// changed returns when something was last told of the advisory.
func changed(a advisory.Advisory) time.Time {
	if w := a.Withdrawn; w != nil && w.At.After(a.Updated) {
		return w.At
	}
	return a.Updated
}

// channel is what stands before the items.
type channel struct {
	XMLName     xml.Name `xml:"channel"`
	Title       string   `xml:"title"`
	Link        string   `xml:"link"`
	Description string   `xml:"description"`
	Date        string   `xml:"lastBuildDate,omitempty"`
}

// Feed returns errata.rss of its items: the FeedItems that were updated last.
func Feed(items []advisory.Piece, d advisory.Distribution) advisory.File {
	items = advisory.Newest(items)
	items = items[:min(len(items), FeedItems)]
	name := strings.TrimSpace(d.Name + " " + d.Version)
	c := channel{Title: "Errata Feed for " + name, Link: d.URL + "/html/index.html", Description: "Advisories of " + name + ", the newest first"}
	if len(items) > 0 {
		c.Date = items[0].Updated.UTC().Format(time.RFC1123Z)
	}
	head, end := bytes.TrimSuffix(encode(c), []byte("</channel>")), "</channel>\n</rss>\n"
	parts := [][]byte{[]byte(xml.Header + `<rss version="2.0">` + "\n"), head, []byte("\n")}
	for _, i := range items {
		parts = append(parts, i.Bytes)
	}
	return advisory.File{Path: "errata.rss", Bytes: slices.Concat(append(parts, []byte(end))...)}
}

// encode returns v as XML. What XML has no place for becomes U+FFFD.
func encode(v any) []byte {
	b, err := xml.Marshal(v)
	if err != nil {
		panic(err) // no text makes it fail
	}
	return b
}
