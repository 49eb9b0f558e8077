package osv

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/rpm"
)

// maxBytes bounds a file that is read, maxAdvisories what is in one that has a list.
const (
	maxBytes      = 64 << 20
	maxAdvisories = 100_000
)

// foreign is a document as it is read: what its writer may say as it likes is left raw.
type foreign struct {
	document
	Affected []struct {
		affected
		Ecosystem json.RawMessage `json:"ecosystem_specific"`
		Versions  []string        `json:"versions"`
	} `json:"affected"`
	Database json.RawMessage `json:"database_specific"`
}

// Read returns the advisories of a file of OSV, which has one or a list, as of that
// platform; those with one id are one. Sentences say what had to be left out. A file that
// isn't OSV is Invalid, one beyond 64 MiB TooLarge.
//
// A package of which the file tells no binaries, as most writers' don't, is taken for the
// source package that the schema says it is.
func Read(r io.Reader, platform string) ([]advisory.Advisory, []string, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxBytes+1))
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("read OSV: %w", err)
	case len(b) > maxBytes:
		return nil, nil, albs.Errorf(albs.TooLarge, "a file of OSV has at most %d bytes", maxBytes)
	}
	var raw []json.RawMessage
	if b = bytes.TrimSpace(b); len(b) > 0 && b[0] == '[' {
		if err := json.Unmarshal(b, &raw); err != nil {
			return nil, nil, albs.Errorf(albs.Invalid, "the file can't be read as OSV: %w", err)
		}
	} else {
		raw = []json.RawMessage{b}
	}
	if len(raw) > maxAdvisories {
		return nil, nil, albs.Errorf(albs.TooLarge, "the file has %d advisories, more than %d", len(raw), maxAdvisories)
	}
	var out []advisory.Advisory
	var dropped []string
	for _, m := range raw {
		var f foreign
		if err := json.Unmarshal(m, &f); err != nil {
			if len(raw) == 1 {
				return nil, nil, albs.Errorf(albs.Invalid, "the file can't be read as OSV: %w", err)
			}
			dropped = append(dropped, fmt.Sprintf("%.60s… can't be read as OSV: %v", m, err))
			continue
		}
		a, sentences := f.advisory(platform)
		for _, s := range sentences {
			dropped = append(dropped, fmt.Sprintf("%.100s: %s", f.ID, s))
		}
		if a.ID != "" {
			out = append(out, a)
		}
	}
	return advisory.Merge(out), dropped, nil
}

// reading is an advisory that is being read.
type reading struct {
	advisory.Advisory
	dropped []string
}

func (r *reading) note(s string) {
	if s != "" {
		r.dropped = append(r.dropped, s)
	}
}

// advisory returns what the document says, without an id if it can't be an advisory.
func (f foreign) advisory(platform string) (advisory.Advisory, []string) {
	a := reading{Advisory: advisory.Advisory{ID: strings.TrimSpace(f.ID), Platform: platform, Description: advisory.CleanText(f.Details)}}
	var own databaseOwn
	if json.Unmarshal(f.Database, &own) != nil {
		own = databaseOwn{} // another's, who means something else by these words
	}
	var err error
	if a.Severity, err = advisory.ParseSeverity(own.Severity); err != nil {
		a.note(err.Error())
	}
	// AlmaLinux and Rocky Linux say it in the title alone.
	if said, _, ok := strings.Cut(f.Summary, ": "); ok && own.Version == 0 && slices.Contains(advisory.Severities(), advisory.Severity(strings.ToLower(said))) {
		a.Severity = advisory.Severity(strings.ToLower(said))
	}
	a.SetTitle(f.Summary)
	a.Version, a.Reboot = own.Version, own.Reboot
	a.Summary, a.Solution = advisory.CleanText(own.Summary), advisory.CleanText(own.Solution)
	a.Rights, a.From = advisory.CleanLine(own.Rights), advisory.CleanLine(own.From)
	a.time(&a.Issued, f.Published)
	a.time(&a.Updated, f.Modified)
	if f.Withdrawn != "" {
		a.Withdrawn = &advisory.Withdrawal{Reason: advisory.CleanText(own.Withdrawal)}
		a.time(&a.Withdrawn.At, f.Withdrawn)
		if a.Withdrawn.Reason == "" {
			a.Withdrawn.Reason = "It was withdrawn where it came from."
		}
	}
	a.vulnerabilities(f, own)
	if a.Type = typeOf(a.ID, own.Type); a.Type == "" {
		a.Type = advisory.Security
	}
	if len(own.References) > 0 {
		for _, r := range own.References {
			a.note(a.AddReference(r))
		}
	} else {
		for _, r := range f.References {
			a.note(a.AddReference(meant(r, a.ID)))
		}
	}
	for _, at := range f.Affected {
		var eco ecosystemOwn
		if json.Unmarshal(at.Ecosystem, &eco) != nil {
			eco = ecosystemOwn{}
		}
		a.packages(at.affected, eco)
	}
	if err := a.Settle(); err != nil {
		return advisory.Advisory{}, append(a.dropped, "it can't be taken over: "+err.Error())
	}
	return a.Advisory, a.dropped
}

func (r *reading) time(to *time.Time, s string) {
	if s == "" {
		return
	}
	t, err := advisory.ParseTime(s)
	if err != nil {
		r.note(err.Error())
		return
	}
	*to = t
}

// typeOf returns the type that is said, or that the id says: SA, BA and EA end the names of
// the series at Red Hat and those who build on it.
func typeOf(id string, said advisory.Type) advisory.Type {
	if slices.Contains(advisory.Types(), said) {
		return said
	}
	series, _, _ := strings.Cut(id, "-")
	switch {
	case strings.HasSuffix(series, "BA"):
		return advisory.Bugfix
	case strings.HasSuffix(series, "EA"):
		return advisory.Enhancement
	}
	return ""
}

// vulnerabilities takes up the CVEs, wherever they are told, and what they are scored.
func (r *reading) vulnerabilities(f foreign, own databaseOwn) {
	known := map[string]advisory.CVE{}
	for _, c := range own.CVEs {
		k := advisory.CVE{ID: c.ID, Scores: c.Scores, CWEs: c.CWEs}
		var err error
		if k.Impact, err = advisory.ParseSeverity(c.Impact); err != nil {
			r.note(err.Error())
		}
		r.time(&k.Public, c.Public)
		if k.Check() == nil {
			known[k.ID] = k
		} else {
			r.note(fmt.Sprintf("what is told of %.40q can't be kept", c.ID))
		}
	}
	for _, id := range slices.Concat([]string{f.ID}, f.Upstream, f.Aliases, f.Related) {
		switch {
		case !advisory.ValidCVE(id):
			if r.Upstream == "" && id != f.ID && advisory.ValidID(id) {
				r.Upstream = id
			}
		case !slices.ContainsFunc(r.CVEs, func(c advisory.CVE) bool { return c.ID == id }):
			c, ok := known[id]
			if !ok {
				c = advisory.CVE{ID: id}
			}
			r.CVEs = append(r.CVEs, c)
		}
	}
	vectors := f.Severity
	for _, a := range f.Affected {
		for _, s := range a.Severity {
			if !slices.Contains(vectors, s) {
				vectors = append(vectors, s)
			}
		}
	}
	if len(known) > 0 {
		return // where each vector stands with its CVE
	}
	for _, s := range vectors {
		switch {
		case vectorType(s.Score) == "":
			r.note(fmt.Sprintf("%.80q is no vector of CVSS", s.Score))
		case len(r.CVEs) != 1:
			r.note(fmt.Sprintf("whose vector %s is isn't told", s.Score))
		default:
			r.CVEs[0].Scores = append(r.CVEs[0].Scores, advisory.Score{Vector: s.Score})
		}
	}
}

// packages takes up what was built, or the source package where that isn't told.
func (r *reading) packages(at affected, eco ecosystemOwn) {
	var stream *advisory.Module
	if m, ok := advisory.ParseModule(eco.RPMMod); ok {
		stream = &m
	} else if eco.RPMMod != "" {
		r.note(fmt.Sprintf("%.80q is no module", eco.RPMMod))
	}
	// SUSE has a version by each name, and no arches.
	if slices.ContainsFunc(eco.Binaries, func(b binary) bool { return b.Name == "" }) {
		eco.Binaries = nil
		r.note(fmt.Sprintf("what is told of what was built of %.80q can't be read", at.Package.Name))
	}
	for _, b := range eco.Binaries {
		evr, err := rpm.ParseEVR(b.Version)
		if err != nil {
			r.note(err.Error())
			continue
		}
		p := advisory.Package{
			NEVRA:  rpm.NEVRA{Name: b.Name, Epoch: evr.Epoch, Version: evr.Version, Release: evr.Release, Arch: b.Arch},
			Source: advisory.SourceFile(b.Source), Module: stream, Repository: b.Repository, Digest: b.SHA256, Reboot: b.Reboot, Relogin: b.Relogin, Restart: b.Restart,
		}
		if m, ok := advisory.ParseModule(b.Module); ok {
			p.Module = &m
		}
		r.note(r.AddPackage(p))
	}
	if len(eco.Binaries) > 0 {
		return
	}
	found := false
	for _, g := range at.Ranges {
		for _, e := range g.Events {
			evr, err := rpm.ParseEVR(e.Fixed)
			if g.Type != "ECOSYSTEM" || e.Fixed == "" || err != nil {
				continue
			}
			found = true
			r.note(r.AddPackage(advisory.Package{
				NEVRA: rpm.NEVRA{Name: at.Package.Name, Epoch: evr.Epoch, Version: evr.Version, Release: evr.Release, Arch: "src"}, Module: stream,
			}))
		}
	}
	if found {
		r.note(fmt.Sprintf("of %.80q only the source package is told", at.Package.Name))
	} else {
		r.note(fmt.Sprintf("no version of %.80q is told that mends it", at.Package.Name))
	}
}
