package sbom

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/purl"
	"albs/internal/rpm"
)

// File is a package's file as somebody holds it.
type File struct {
	SHA256 albs.Digest
	SHA512 string // lower-case hex; "" if it wasn't taken
	URL    string // where it can be had, "" if it isn't public
}

// RefOf is what a bill calls the package with that digest.
func RefOf(d albs.Digest) string { return refPrefix + string(d) }

const refPrefix = "rpm-"

// OfPackage returns the component that a package's headers describe, and those that it
// says to have bundled, which it contains. What it needs and was built from the caller
// knows.
func OfPackage(p *rpm.Package, f File, d Distribution) (Component, []Component) {
	c := Component{
		Ref: RefOf(f.SHA256), Type: Library, Name: p.Name, Version: p.EVR().String(), PURL: PURL(p.NEVRA, d, p.SourceRPM),
		File: p.Filename(), SHA256: string(f.SHA256), SHA512: f.SHA512, License: p.License,
		Summary: p.Summary, Description: p.Description, Homepage: homepage(p.URL), Download: f.URL, Supplier: p.Vendor, Built: built(p.BuildTime),
	}
	if p.Source {
		c.Type = Source
	}
	add := func(name, value string) {
		if value != "" {
			c.Properties = append(c.Properties, Property{name, value})
		}
	}
	add(PropertyEpoch, fmt.Sprint(p.Epoch))
	add(PropertyVersion, p.Version)
	add(PropertyRelease, p.Release)
	add(PropertyArch, p.Arch)
	add(PropertySourceRPM, p.SourceRPM)
	add(PropertyBuildHost, p.BuildHost)
	if !c.Built.IsZero() {
		add(PropertyBuildTime, stamp(c.Built))
	}
	add(PropertyHeader, string(p.HeaderSHA256))
	add(PropertyPayload, string(p.PayloadSHA256))
	bundled := bundledIn(p, c.Ref)
	for _, b := range bundled {
		c.Contains = append(c.Contains, b.Ref)
	}
	return c, bundled
}

func built(t time.Time) time.Time {
	if t.Unix() <= 0 { // as the header's reader has it where nothing is said
		return time.Time{}
	}
	return t.UTC()
}

// homepage is a URL of the header if it is one: the field holds any text.
func homepage(s string) string {
	if !web.MatchString(s) {
		return ""
	}
	return s
}

var web = regexp.MustCompile(`^https?://[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._~:/?#@!$&'()*+,;=%-]*)?$`)

// bundledIn returns what a package says to have of other projects within: its provides
// bundled(NAME) = VERSION, which Fedora's packaging guidelines ask for. Names of an
// ecosystem, as npm(x), are those of its registry.
func bundledIn(p *rpm.Package, ref string) []Component {
	var out []Component
	seen := map[string]bool{}
	for _, d := range p.Provides {
		name, ok := strings.CutPrefix(d.Name, "bundled(")
		if !ok || !strings.HasSuffix(name, ")") {
			continue
		}
		name = strings.TrimSuffix(name, ")")
		version := d.EVR.String()
		if d.Comparison() != "EQ" {
			version = ""
		}
		c := Component{Ref: ref + "/bundled/" + strings.Trim(name+"@"+version, "@"), Type: Bundled, Name: name, Version: version}
		if name == "" || seen[c.Ref] {
			continue
		}
		seen[c.Ref] = true
		c.PURL = bundledPURL(name, version)
		out = append(out, c)
	}
	return out
}

// ecosystems are those of bundled(ECOSYSTEM(NAME)) or bundled(ECOSYSTEM-NAME) whose
// names are a registry's, by its type of purl.
var ecosystems = []struct{ before, after, typ string }{
	{"crate(", ")", "cargo"}, {"golang(", ")", "golang"}, {"npm(", ")", "npm"}, {"nodejs-", "", "npm"},
	{"python3dist(", ")", "pypi"}, {"python3-", "", "pypi"}, {"rubygem-", "", "gem"}, {"rubygem(", ")", "gem"},
}

func bundledPURL(name, version string) string {
	for _, e := range ecosystems {
		rest, ok := strings.CutPrefix(name, e.before)
		if !ok || !strings.HasSuffix(rest, e.after) {
			continue
		}
		rest = strings.TrimSuffix(rest, e.after)
		namespace, base := "", rest
		if i := strings.LastIndexByte(rest, '/'); i >= 0 && e.typ != "cargo" {
			namespace, base = rest[:i], rest[i+1:]
		}
		if base != "" {
			return purl.PURL{Type: e.typ, Namespace: namespace, Name: base, Version: version}.String()
		}
	}
	return purl.PURL{Type: "generic", Name: name, Version: version}.String()
}

// The names of properties, which are ALBS's where it has one: tools ask for them.
const (
	PropertyEpoch     = "almalinux:package:epoch"
	PropertyVersion   = "almalinux:package:version"
	PropertyRelease   = "almalinux:package:release"
	PropertyArch      = "almalinux:package:arch"
	PropertySourceRPM = "almalinux:package:sourcerpm"
	PropertyBuildHost = "almalinux:package:buildhost"

	PropertyBuildID     = "almalinux:albs:build:ID"
	PropertyBuildURL    = "almalinux:albs:build:URL"
	PropertyBuilt       = "almalinux:albs:build:timestamp"
	PropertyAuthor      = "almalinux:albs:build:author"
	PropertyPackageType = "almalinux:albs:build:packageType"
	PropertyTargetArch  = "almalinux:albs:build:targetArch"
	PropertySourceType  = "almalinux:albs:build:source:type"
	PropertyGitURL      = "almalinux:albs:build:source:gitURL"
	PropertyGitRef      = "almalinux:albs:build:source:gitRef"
	PropertyGitCommit   = "almalinux:albs:build:source:gitCommit"
	PropertyGitRecord   = "almalinux:albs:build:source:gitCommitImmudbHash"
	PropertySRPMURL     = "almalinux:albs:build:source:srpmURL"
	PropertySRPMDigest  = "almalinux:albs:build:source:srpmChecksum"
	PropertySRPMNEVRA   = "almalinux:albs:build:source:srpmNEVRA"
	PropertyRecord      = "almalinux:sbom:immudbHash"

	// Ours.
	PropertyBuildTime = "albs:package:buildtime"
	PropertyHeader    = "albs:package:headerSha256"
	PropertyPayload   = "albs:package:payloadSha256"
	PropertyLicense   = "albs:package:license" // as the header spells it
	PropertyUnsigned  = "albs:package:unsignedSha256"
	PropertySignedBy  = "albs:package:signedBy" // fingerprint of the key

	PropertyBuildroot  = "albs:build:buildrootRecordSha256" // all packages of the root in which it was built
	PropertyBuilder    = "albs:build:builder"               // its id
	PropertyNode       = "albs:build:node"
	PropertyInvocation = "albs:build:invocation" // task and attempt
	PropertyVariant    = "albs:image:variant"
	PropertyReleaseID  = "albs:release:ID"
	PropertyProduct    = "albs:release:product"
	PropertySerial     = "albs:release:serial"
	PropertyTree       = "albs:release:treeSha256"
	PropertyRepository = "albs:release:repository" // a path, and the digest of its snapshot
	PropertyUnlisted   = "albs:release:unlisted"   // how many more packages there are
)

// properties are all of a component's: the licence as it was written is one where the
// expression made of it says it otherwise.
func (c Component) properties() []Property {
	ps := c.Properties
	if c.License != "" && ParseLicense(c.License).Expression != c.License {
		ps = Component{Properties: append([]Property{{PropertyLicense, c.License}}, ps...)}.ordered().Properties
	}
	return ps
}

// Alone returns the bill of one package of which no more is known than its file: what
// it needs is not resolved.
func Alone(p *rpm.Package, f File, d Distribution, by Party, base, tool string) Bill {
	c, bundled := OfPackage(p, f, d)
	b := Bill{Kind: Package, Root: c, Others: bundled, Made: c.Built, Supplier: by, Base: base, Tool: tool}
	if b.Made.IsZero() {
		b.Made = time.Unix(0, 0)
	}
	if p.SourceRPM != "" {
		source := sourceNamed(p.SourceRPM, p.Name, d)
		b.Root.From = source.Ref
		b.Others = append(b.Others, source)
	}
	if d.ID != "" {
		b.Others = append(b.Others, d.Component())
		b.Root.Needs = append(b.Root.Needs, d.Ref())
	}
	b.Supplier.Name = cmp.Or(b.Supplier.Name, p.Vendor)
	return b
}
