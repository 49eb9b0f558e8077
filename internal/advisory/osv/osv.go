// Package osv writes advisories as OSV does (Open Source Vulnerability format, schema
// 1.7.5, https://ossf.github.io/osv-schema/) and reads those that others write.
//
// A package is named as the schema has it for distributions of RPM: by its source package,
// with the version that mends it. Which packages were built of it is in
// ecosystem_specific: binaries, each with version, arch and digest, and rpmmod, the stream of
// the module to which all of them belong. What OSV has no field for is in
// database_specific.
package osv

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/rpm"
)

// SchemaVersion is the version of OSV's schema that is written.
const SchemaVersion = "1.7.5"

// document is an advisory in OSV, as far as it is written or read.
type document struct {
	SchemaVersion string       `json:"schema_version,omitempty"`
	ID            string       `json:"id"`
	Modified      string       `json:"modified"`
	Published     string       `json:"published,omitempty"`
	Withdrawn     string       `json:"withdrawn,omitempty"`
	Aliases       []string     `json:"aliases,omitempty"` // only read
	Upstream      []string     `json:"upstream,omitempty"`
	Related       []string     `json:"related,omitempty"`
	Summary       string       `json:"summary,omitempty"`
	Details       string       `json:"details,omitempty"`
	Severity      []severity   `json:"severity,omitempty"`
	Affected      []affected   `json:"affected,omitempty"`
	References    []reference  `json:"references,omitempty"`
	Database      *databaseOwn `json:"database_specific,omitempty"`
}

type severity struct {
	Type  string `json:"type"`
	Score string `json:"score"`
}

type affected struct {
	Package   pkg           `json:"package"`
	Severity  []severity    `json:"severity,omitempty"` // only read
	Ranges    []ranges      `json:"ranges,omitempty"`
	Ecosystem *ecosystemOwn `json:"ecosystem_specific,omitempty"`
}

type pkg struct {
	Ecosystem string `json:"ecosystem"`
	Name      string `json:"name"`
	PURL      string `json:"purl,omitempty"` // only read
}

type ranges struct {
	Type   string  `json:"type"`
	Events []event `json:"events"`
}

type event struct {
	Introduced string `json:"introduced,omitempty"`
	Fixed      string `json:"fixed,omitempty"`
}

type reference struct {
	Type string `json:"type"`
	URL  string `json:"url"`
}

// ecosystemOwn is what this ecosystem says of what was built.
type ecosystemOwn struct {
	RPMMod   string   `json:"rpmmod,omitempty"` // name:stream
	Binaries []binary `json:"binaries,omitempty"`
}

type binary struct {
	Name       string      `json:"name"`
	Version    string      `json:"version"` // [epoch:]version-release
	Arch       string      `json:"arch"`
	Source     string      `json:"source,omitempty"`
	Repository string      `json:"repository,omitempty"`
	SHA256     albs.Digest `json:"sha256,omitempty"`
	Module     string      `json:"module,omitempty"` // name:stream:version:context:arch
	Reboot     bool        `json:"reboot_suggested,omitempty"`
	Relogin    bool        `json:"relogin_suggested,omitempty"`
	Restart    bool        `json:"restart_suggested,omitempty"`
}

// databaseOwn is what OSV has no field for.
type databaseOwn struct {
	Type       advisory.Type        `json:"type,omitempty"`
	Severity   string               `json:"severity,omitempty"`
	Version    int                  `json:"version,omitempty"`
	Summary    string               `json:"summary,omitempty"`
	Solution   string               `json:"solution,omitempty"`
	Rights     string               `json:"rights,omitempty"`
	From       string               `json:"from,omitempty"`
	Reboot     bool                 `json:"reboot_suggested,omitempty"`
	Withdrawal string               `json:"withdrawal_reason,omitempty"`
	CVEs       []cve                `json:"cves,omitempty"`
	References []advisory.Reference `json:"references,omitempty"` // all, if OSV's say less
}

type cve struct {
	ID     string           `json:"id"`
	Scores []advisory.Score `json:"scores,omitempty"`
	CWEs   []string         `json:"cwes,omitempty"`
	Impact string           `json:"impact,omitempty"`
	Public string           `json:"public,omitempty"`
}

// Files returns the advisory's file, osv/ID.json with a dash for each colon. Equal
// advisories have equal files. Nothing is escaped but as JSON wants: the texts are plain.
func Files(a advisory.Advisory, d advisory.Distribution) []advisory.File {
	a = a.Normal()
	doc := document{
		SchemaVersion: SchemaVersion, ID: a.ID, Modified: a.Updated.Format(time.RFC3339), Published: a.Issued.Format(time.RFC3339),
		Upstream: a.AllCVEs(), Summary: a.FullTitle(), Details: a.Description,
		Database: &databaseOwn{Type: a.Type, Severity: a.Severity.Title(), Version: a.Version, Summary: a.Summary, Solution: a.Solution, Rights: a.Rights, From: a.From, Reboot: a.Reboot},
	}
	// What it answers is another database's notice of the same packages elsewhere; the CVEs
	// are what it has from upstream.
	if a.Upstream != "" {
		doc.Related = []string{a.Upstream}
	}
	if w := a.Withdrawn; w != nil {
		doc.Withdrawn, doc.Database.Withdrawal = w.At.Format(time.RFC3339), w.Reason
		doc.Modified = later(a.Updated, w.At).Format(time.RFC3339)
	}
	for _, c := range a.CVEs {
		k := cve{ID: c.ID, Scores: c.Scores, CWEs: c.CWEs, Impact: string(c.Impact)}
		if !c.Public.IsZero() {
			k.Public = c.Public.Format(time.RFC3339)
		}
		if len(k.Scores)+len(k.CWEs)+len(k.Impact)+len(k.Public) > 0 {
			doc.Database.CVEs = append(doc.Database.CVEs, k)
		}
		for _, s := range c.Scores {
			if t := vectorType(s.Vector); t != "" {
				doc.Severity = append(doc.Severity, severity{t, s.Vector})
			}
		}
	}
	slices.SortFunc(doc.Severity, func(x, y severity) int {
		return cmp.Or(strings.Compare(x.Type, y.Type), strings.Compare(x.Score, y.Score))
	})
	doc.Severity = slices.Compact(doc.Severity)
	var told []advisory.Reference
	for _, r := range a.References {
		t := reference{Type: referenceType(r.Kind), URL: r.URL}
		if !slices.Contains(doc.References, t) {
			doc.References, told = append(doc.References, t), append(told, meant(t, a.ID))
		}
	}
	if !slices.Equal((advisory.Advisory{References: told}).Normal().References, a.References) {
		doc.Database.References = a.References
	}
	doc.Affected = affectedOf(a, d)
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(doc); err != nil {
		return nil // every type of a document can be encoded
	}
	return []advisory.File{{Path: "osv/" + advisory.FileName(a.ID) + ".json", Bytes: b.Bytes()}}
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// affectedOf returns the source packages with what was built of them, by module, then name.
func affectedOf(a advisory.Advisory, d advisory.Distribution) []affected {
	var out []affected
	for _, g := range a.ByModule() {
		bySource := map[string][]advisory.Package{}
		var names []string
		for _, p := range g.Packages {
			n := p.SourceName()
			if bySource[n] == nil {
				names = append(names, n)
			}
			bySource[n] = append(bySource[n], p)
		}
		slices.Sort(names)
		for _, n := range names {
			own := &ecosystemOwn{RPMMod: g.Stream}
			for _, p := range bySource[n] {
				b := binary{
					Name: p.Name, Version: p.EVR().String(), Arch: p.Arch, Source: p.Source, Repository: p.Repository, SHA256: p.Digest,
					Reboot: p.Reboot, Relogin: p.Relogin, Restart: p.Restart,
				}
				if m := p.Module; m != nil && *m != (advisory.Module{Name: m.Name, Stream: m.Stream}) {
					b.Module = m.NSVCA()
				}
				own.Binaries = append(own.Binaries, b)
			}
			out = append(out, affected{
				Package:   pkg{Ecosystem: d.Ecosystem, Name: n},
				Ranges:    []ranges{{Type: "ECOSYSTEM", Events: []event{{Introduced: "0"}, {Fixed: fixed(n, bySource[n]).String()}}}},
				Ecosystem: own,
			})
		}
	}
	return out
}

// fixed returns the version of the source package that mends: the lowest by rpm's order, for
// what is built of it is mended from there on. The epoch is that of the package that bears
// the source's name, for others may have epochs of their own.
func fixed(source string, ps []advisory.Package) rpm.EVR {
	named := slices.DeleteFunc(slices.Clone(ps), func(p advisory.Package) bool { return p.Name != source })
	if len(named) == 0 {
		named = ps
	}
	low := named[0].SourceEVR()
	for _, p := range named[1:] {
		if e := p.SourceEVR(); rpm.Compare(e, low) < 0 {
			low = e
		}
	}
	return low
}
