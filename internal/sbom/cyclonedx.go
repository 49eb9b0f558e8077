package sbom

import (
	"bytes"
	"cmp"
	"fmt"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// cyclonedxJSON writes CycloneDX 1.6 (ECMA-424, first edition) as JSON.
func (b Bill) cyclonedxJSON() ([]byte, error) { return b.cyclonedx(cdx.BOMFileFormatJSON) }

func (b Bill) cyclonedxXML() ([]byte, error) { return b.cyclonedx(cdx.BOMFileFormatXML) }

func (b Bill) cyclonedx(f cdx.BOMFileFormat) ([]byte, error) {
	id, err := b.uuid()
	if err != nil {
		return nil, err
	}
	bom := cdx.NewBOM()
	bom.SerialNumber = "urn:uuid:" + id
	root := b.component(b.Root)
	bom.Metadata = &cdx.Metadata{
		Timestamp:  stamp(b.Made),
		Lifecycles: &[]cdx.Lifecycle{{Phase: b.phase()}},
		Tools: &cdx.ToolsChoice{Components: &[]cdx.Component{{
			Type: cdx.ComponentTypeApplication, Name: "albs", Version: b.Tool,
		}}},
		Supplier:  b.Supplier.entity(),
		Component: &root,
	}
	var parts []cdx.Component
	deps := []cdx.Dependency{dependency(b.Root)}
	for _, c := range b.Others {
		parts = append(parts, b.component(c))
		deps = append(deps, dependency(c))
	}
	if len(parts) > 0 {
		bom.Components = &parts
	}
	bom.Dependencies = &deps
	bom.Compositions = b.compositions()
	var out bytes.Buffer
	if err := cdx.NewBOMEncoder(&out, f).SetPretty(true).SetEscapeHTML(false).EncodeVersion(bom, cdx.SpecVersion1_6); err != nil {
		return nil, fmt.Errorf("write CycloneDX: %w", err)
	}
	return out.Bytes(), nil
}

// phase is when the facts were found: at the build, or of what it left.
func (b Bill) phase() cdx.LifecyclePhase {
	if b.Kind == Build || b.Kind == BuildRoot {
		return cdx.LifecyclePhaseBuild
	}
	return cdx.LifecyclePhasePostBuild
}

func (p Party) entity() *cdx.OrganizationalEntity {
	if p.Name == "" {
		return nil
	}
	e := &cdx.OrganizationalEntity{Name: p.Name}
	if p.URL != "" {
		e.URL = &[]string{p.URL}
	}
	if p.Email != "" {
		e.Contact = &[]cdx.OrganizationalContact{{Email: p.Email}}
	}
	return e
}

var cdxTypes = map[Type]cdx.ComponentType{
	Library: cdx.ComponentTypeLibrary, Source: cdx.ComponentTypeLibrary, Bundled: cdx.ComponentTypeLibrary,
	System: cdx.ComponentTypeOS, Application: cdx.ComponentTypeApplication, Set: cdx.ComponentTypeFramework,
}

func (b Bill) component(c Component) cdx.Component {
	out := cdx.Component{
		BOMRef: c.Ref, Type: cdxTypes[c.Type], Name: c.Name, Version: c.Version, PackageURL: c.PURL,
		Description: cmp.Or(c.Description, c.Summary),
	}
	if c.Type != System && c.Type != Bundled {
		out.Supplier = Party{Name: c.Supplier}.entity()
		if out.Supplier == nil {
			out.Supplier = b.Supplier.entity()
		}
	}
	if c.SHA256 != "" {
		hashes := []cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: c.SHA256}}
		if c.SHA512 != "" {
			hashes = append(hashes, cdx.Hash{Algorithm: cdx.HashAlgoSHA512, Value: c.SHA512})
		}
		out.Hashes = &hashes
	}
	if l := ParseLicense(c.License); l.Expression != "" {
		said := cdx.LicenseAcknowledgementDeclared
		out.Licenses = &cdx.Licenses{{Expression: l.Expression, Acknowledgement: &said}}
	}
	var refs []cdx.ExternalReference
	if c.Download != "" {
		refs = append(refs, cdx.ExternalReference{Type: cdx.ERTypeDistribution, URL: c.Download, Hashes: out.Hashes})
	}
	if c.Homepage != "" {
		refs = append(refs, cdx.ExternalReference{Type: cdx.ERTypeWebsite, URL: c.Homepage})
	}
	var commits []cdx.Commit
	for _, o := range c.Commits {
		refs = append(refs, cdx.ExternalReference{Type: cdx.ERTypeVCS, URL: o.URL})
		commits = append(commits, cdx.Commit{UID: o.SHA, URL: o.URL})
	}
	if len(refs) > 0 {
		out.ExternalReferences = &refs
	}
	if len(commits) > 0 {
		out.Pedigree = &cdx.Pedigree{Commits: &commits}
	}
	var ps []cdx.Property
	for _, p := range c.properties() {
		ps = append(ps, cdx.Property{Name: p.Name, Value: p.Value})
	}
	if len(ps) > 0 {
		out.Properties = &ps
	}
	return out
}

// dependency tells what a component rests on: what it needs, what is in it, and what it
// was built from. CycloneDX has one word for the three.
func dependency(c Component) cdx.Dependency {
	d := cdx.Dependency{Ref: c.Ref}
	on := append([]string{}, c.Needs...)
	on = append(on, c.Contains...)
	if c.From != "" {
		on = append(on, c.From)
	}
	if on = sorted(on); len(on) > 0 {
		d.Dependencies = &on
	}
	return d
}

// compositions say of which components all dependencies are known, and of which none
// may be; and of a set, whether all that is within it is listed.
func (b Bill) compositions() *[]cdx.Composition {
	var whole, unknown []cdx.BOMReference
	for _, c := range b.all() {
		switch {
		case c.Resolved:
			whole = append(whole, cdx.BOMReference(c.Ref))
		case c.Type == Library || c.Type == Application:
			unknown = append(unknown, cdx.BOMReference(c.Ref))
		}
	}
	var out []cdx.Composition
	if len(whole) > 0 {
		out = append(out, cdx.Composition{Aggregate: cdx.CompositionAggregateComplete, Dependencies: &whole})
	}
	if len(unknown) > 0 {
		out = append(out, cdx.Composition{Aggregate: cdx.CompositionAggregateUnknown, Dependencies: &unknown})
	}
	if b.Kind == Build || b.Kind == Release || b.Kind == Image || b.Kind == BuildRoot {
		c := cdx.Composition{Aggregate: cdx.CompositionAggregateComplete, Assemblies: &[]cdx.BOMReference{cdx.BOMReference(b.Root.Ref)}}
		if b.Root.Partial {
			c.Aggregate = cdx.CompositionAggregateIncomplete
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil
	}
	return &out
}
