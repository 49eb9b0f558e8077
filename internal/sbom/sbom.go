// Package sbom writes bills of materials: what a package, a build, a release, an image, a
// program or the root of a build consists of, where it came from and what it needs, as
// CycloneDX 1.6 and as SPDX 2.3.
//
// A Bill is the one model, and each format a view of it. What it tells the caller has
// found out; nothing is looked up, and nothing is guessed: what isn't known is left out,
// or said to be unknown where a format has a word for that. The bytes depend on the bill
// and the format alone: no clock is read and no random number drawn, so that whoever has
// the same facts gets the same file, and its digest can be attested.
package sbom

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"albs/internal/albs"
)

// Format is a file format of a bill, as people name it.
type Format string

// The formats. SPDX's own XML form has no writer in the tools that are kept.
const (
	CycloneDXJSON Format = "cyclonedx-json"
	CycloneDXXML  Format = "cyclonedx-xml"
	SPDXJSON      Format = "spdx-json"
	SPDXTagValue  Format = "spdx-tagvalue"
	SPDXYAML      Format = "spdx-yaml"
	SPDXRDF       Format = "spdx-rdf"
)

// formats have the names of their media types and the ends of file names.
var formats = []struct {
	format      Format
	media, ends string
	write       func(Bill) ([]byte, error)
}{
	{CycloneDXJSON, "application/vnd.cyclonedx+json; version=1.6", ".cdx.json", Bill.cyclonedxJSON},
	{CycloneDXXML, "application/vnd.cyclonedx+xml; version=1.6", ".cdx.xml", Bill.cyclonedxXML},
	{SPDXJSON, "application/spdx+json; version=2.3", ".spdx.json", Bill.spdxJSON},
	{SPDXTagValue, "text/spdx; version=2.3; charset=utf-8", ".spdx", Bill.spdxTagValue},
	{SPDXYAML, "application/yaml", ".spdx.yaml", Bill.spdxYAML},
	{SPDXRDF, "application/rdf+xml", ".spdx.rdf", Bill.spdxRDF},
}

// Formats lists the formats in the order in which people are told of them.
func Formats() []Format {
	out := make([]Format, len(formats))
	for i, f := range formats {
		out[i] = f.format
	}
	return out
}

// ParseFormat returns the format of that name, or Invalid with the names there are.
func ParseFormat(s string) (Format, error) {
	if f := Format(s); slices.Contains(Formats(), f) {
		return f, nil
	}
	names := make([]string, len(formats))
	for i, f := range formats {
		names[i] = string(f.format)
	}
	return "", albs.Errorf(albs.Invalid, "there is no SBOM format %.40q; there are %s", s, strings.Join(names, ", "))
}

// MediaType is the format's Content-Type.
func (f Format) MediaType() string {
	for _, o := range formats {
		if o.format == f {
			return o.media
		}
	}
	return ""
}

// Ending is what the name of a file in the format ends in, with its dot.
func (f Format) Ending() string {
	for _, o := range formats {
		if o.format == f {
			return o.ends
		}
	}
	return ""
}

// Kind is what a bill is of.
type Kind string

// The kinds. A package and a program are files; a build, a release, an image and the root
// in which packages were built are sets of packages.
const (
	Package   Kind = "package"
	Build     Kind = "build"
	Release   Kind = "release"
	Image     Kind = "image"
	Program   Kind = "program"
	BuildRoot Kind = "root"
)

// Bill is what one document tells.
type Bill struct {
	Kind Kind `json:"kind"`
	// Root is what the bill is of. Where it is a set, its Contains name the members.
	Root Component `json:"root"`
	// Others are the components that Root and each other name by Ref, in any order.
	Others []Component `json:"others,omitempty"`
	// Made is when the newest thing of which the bill tells came about, as the end of a
	// build: the document's date.
	Made time.Time `json:"made"`
	// Supplier is who gives the document and what it is of.
	Supplier Party `json:"supplier"`
	// Base is the URL below which the SPDX document has its namespace, without a slash at
	// its end.
	Base string `json:"base"`
	// Tool is the version of albs that found the facts.
	Tool string `json:"tool"`
}

// Party is an organization.
type Party struct {
	Name  string `json:"name"`
	URL   string `json:"url,omitempty"`
	Email string `json:"email,omitempty"`
}

// Type is what a component is.
type Type string

// The types of components.
const (
	Library     Type = "library"          // a binary package, a Go module
	Source      Type = "source"           // a source package
	Bundled     Type = "bundled"          // what a package has of another project within
	System      Type = "operating-system" // a distribution
	Application Type = "application"      // a program
	Set         Type = "set"              // a build, a release
)

// Component is a thing of which the bill tells.
type Component struct {
	// Ref names it within the bill: any string that no other has.
	Ref  string `json:"ref"`
	Type Type   `json:"type"`
	Name string `json:"name"`
	// Version is [epoch:]version-release of a package.
	Version string `json:"version,omitempty"`
	PURL    string `json:"purl,omitempty"`
	// File is the name of the file that the digests, lower-case hex, are of.
	File   string `json:"file,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	SHA512 string `json:"sha512,omitempty"`
	// License is the licence as the package's header spells it; "" if nobody said.
	License     string `json:"license,omitempty"`
	Summary     string `json:"summary,omitempty"`
	Description string `json:"description,omitempty"`
	Homepage    string `json:"homepage,omitempty"`
	// Download is where the file can be had.
	Download string `json:"download,omitempty"`
	// Supplier is who gives it, if that isn't the bill's.
	Supplier string `json:"supplier,omitempty"`
	// Built is when it was built; zero if that isn't known.
	Built time.Time `json:"built,omitzero"`
	// Commits are the git commits that it was made from.
	Commits []Commit `json:"commits,omitempty"`
	// Properties are further facts, of ALBS's names (Property).
	Properties []Property `json:"properties,omitempty"`
	// From is the Ref of the source package that it was built from.
	From string `json:"from,omitempty"`
	// Needs are the Refs of what it needs when it is used, and Resolved tells that they
	// are all of it.
	Needs    []string `json:"needs,omitempty"`
	Resolved bool     `json:"resolved,omitempty"`
	// Contains are the Refs of what is within it, and Partial tells that there is more.
	Contains []string `json:"contains,omitempty"`
	Partial  bool     `json:"partial,omitempty"`
}

// Commit is a git commit.
type Commit struct {
	URL string `json:"url"`
	SHA string `json:"sha"`
}

// Property is a named fact.
type Property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Write returns the bill in a format. It is Invalid if the bill contradicts itself:
// a Ref that is missing, twice, or names nothing.
func (b Bill) Write(f Format) ([]byte, error) {
	b, err := b.ordered()
	if err != nil {
		return nil, err
	}
	for _, o := range formats {
		if o.format == f {
			return o.write(b)
		}
	}
	_, err = ParseFormat(string(f))
	return nil, err
}

// Encode returns the bill itself as JSON, from which ParseBill makes it again, and the
// formats with it; the same facts give the same bytes. Invalid as Write.
func (b Bill) Encode() ([]byte, error) {
	b, err := b.ordered()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(b); err != nil {
		return nil, fmt.Errorf("encode the bill: %w", err)
	}
	return out.Bytes(), nil
}

// ParseBill reads what Encode wrote; it is Invalid if that is no bill.
func ParseBill(text []byte) (Bill, error) {
	var b Bill
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&b); err != nil {
		return Bill{}, albs.Errorf(albs.Invalid, "read the bill: %w", err)
	}
	return b.ordered()
}

// ordered returns the bill with every list in one order, whatever the caller's was.
func (b Bill) ordered() (Bill, error) {
	b.Made = b.Made.UTC().Truncate(time.Second)
	b.Root = b.Root.ordered()
	b.Others = slices.Clone(b.Others)
	for i, c := range b.Others {
		b.Others[i] = c.ordered()
	}
	slices.SortFunc(b.Others, func(x, y Component) int {
		return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.Version, y.Version), cmp.Compare(x.Ref, y.Ref))
	})
	refs := map[string]bool{}
	for _, c := range b.all() {
		if c.Ref == "" || refs[c.Ref] {
			return b, albs.Errorf(albs.Invalid, "two components of the bill are called %.200q", c.Ref)
		}
		refs[c.Ref] = true
	}
	for _, c := range b.all() {
		named := slices.Concat(c.Needs, c.Contains)
		if c.From != "" {
			named = append(named, c.From)
		}
		for _, r := range named {
			if !refs[r] {
				return b, albs.Errorf(albs.Invalid, "component %.200q of the bill names %.200q, which isn't in it", c.Ref, r)
			}
		}
	}
	return b, nil
}

func (c Component) ordered() Component {
	c.Needs, c.Contains = sorted(c.Needs), sorted(c.Contains)
	c.Needs = slices.DeleteFunc(c.Needs, func(r string) bool { return r == c.Ref })
	c.Properties = slices.SortedFunc(slices.Values(c.Properties), func(x, y Property) int {
		return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.Value, y.Value))
	})
	c.Built = c.Built.UTC().Truncate(time.Second)
	return c
}

// all returns the root and the others.
func (b Bill) all() []Component { return append([]Component{b.Root}, b.Others...) }

// uuid returns a name-based UUID (RFC 9562, version 5) of the bill's whole content, so
// that two documents have one only if they tell the same.
func (b Bill) uuid() (string, error) {
	var text bytes.Buffer
	if err := json.NewEncoder(&text).Encode(b); err != nil {
		return "", fmt.Errorf("name the bill: %w", err)
	}
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("albs/sbom/"+albs.DigestOf(text.Bytes()))).String(), nil
}

// stamp spells a time as both formats do.
func stamp(t time.Time) string { return t.Format("2006-01-02T15:04:05Z") }

func sorted(s []string) []string { return slices.Compact(slices.Sorted(slices.Values(s))) }
