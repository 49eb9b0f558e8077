// Package csaf writes advisories as documents of the Common Security Advisory Framework,
// version 2.0 (OASIS, csaf-v2.0-os): a security advisory (its profile 4) of what is fixed,
// and a VEX document (profile 5) of what people state; with hashes, and the lists and the
// metadata by which a provider's documents are found (its section 7). It reads such
// documents, and those that Red Hat publishes in the shapes they had since 2023.
//
// It knows no keys: who publishes signs the documents and puts each signature beside its
// document.
package csaf

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
)

// Categories of documents that are written.
const (
	categoryAdvisory = "csaf_security_advisory"
	categoryVEX      = "csaf_vex"
	categoryBase     = "csaf_base"
)

// vexSuffix is what the id of a VEX document has behind that of its advisory.
const vexSuffix = "-VEX"

// The types below are a document's JSON as far as it is written or read (CSAF 2.0 §3). Their
// fields stand in the order of their names, as the standard has it (§6.2.13).

type document struct {
	Head            head            `json:"document"`
	Tree            *tree           `json:"product_tree,omitempty"`
	Vulnerabilities []vulnerability `json:"vulnerabilities,omitempty"`
}

type head struct {
	Severity     *aggregate    `json:"aggregate_severity,omitempty"`
	Category     string        `json:"category"`
	Version      string        `json:"csaf_version"`
	Distribution *distribution `json:"distribution,omitempty"`
	Lang         string        `json:"lang,omitempty"`
	Notes        []note        `json:"notes,omitempty"`
	Publisher    publisher     `json:"publisher"`
	References   []reference   `json:"references,omitempty"`
	Title        string        `json:"title"`
	Tracking     tracking      `json:"tracking"`
}

type aggregate struct {
	Text string `json:"text"`
}

type distribution struct {
	Text string `json:"text,omitempty"`
	TLP  *tlp   `json:"tlp,omitempty"`
}

type tlp struct {
	Label string `json:"label"`
	URL   string `json:"url,omitempty"`
}

type note struct {
	Category string `json:"category"`
	Text     string `json:"text"`
	Title    string `json:"title,omitempty"`
}

type publisher struct {
	Category  string `json:"category"`
	Contact   string `json:"contact_details,omitempty"`
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
}

type reference struct {
	Category string `json:"category,omitempty"`
	Summary  string `json:"summary"`
	URL      string `json:"url"`
}

type tracking struct {
	Current   string     `json:"current_release_date"`
	Generator *generator `json:"generator,omitempty"`
	ID        string     `json:"id"`
	Initial   string     `json:"initial_release_date"`
	History   []revision `json:"revision_history"`
	Status    string     `json:"status"`
	Version   string     `json:"version"`
}

type generator struct {
	Engine engine `json:"engine"`
}

type engine struct {
	Name string `json:"name"`
}

type revision struct {
	Date    string `json:"date"`
	Number  string `json:"number"`
	Summary string `json:"summary"`
}

type tree struct {
	Branches      []branch       `json:"branches,omitempty"`
	Products      []product      `json:"full_product_names,omitempty"`
	Groups        []group        `json:"product_groups,omitempty"`
	Relationships []relationship `json:"relationships,omitempty"`
}

type branch struct {
	Branches []branch `json:"branches,omitempty"`
	Category string   `json:"category"`
	Name     string   `json:"name"`
	Product  *product `json:"product,omitempty"`
}

type product struct {
	Name   string  `json:"name"`
	ID     string  `json:"product_id"`
	Helper *helper `json:"product_identification_helper,omitempty"`
}

type helper struct {
	CPE    string   `json:"cpe,omitempty"`
	Hashes []hashes `json:"hashes,omitempty"`
	PURL   string   `json:"purl,omitempty"`
}

type hashes struct {
	Files []fileHash `json:"file_hashes"`
	Name  string     `json:"filename"`
}

type fileHash struct {
	Algorithm string `json:"algorithm"`
	Value     string `json:"value"`
}

type group struct {
	ID       string   `json:"group_id"`
	Products []string `json:"product_ids"`
}

type relationship struct {
	Category  string  `json:"category"`
	Product   product `json:"full_product_name"`
	Component string  `json:"product_reference"`
	Of        string  `json:"relates_to_product_reference"`
}

type vulnerability struct {
	CVE          string        `json:"cve,omitempty"`
	CWE          *cwe          `json:"cwe,omitempty"`
	Discovered   string        `json:"discovery_date,omitempty"` // read, where there is no other
	Flags        []justified   `json:"flags,omitempty"`
	Notes        []note        `json:"notes,omitempty"`
	Status       *status       `json:"product_status,omitempty"`
	References   []reference   `json:"references,omitempty"`
	Released     string        `json:"release_date,omitempty"`
	Remediations []remediation `json:"remediations,omitempty"`
	Scores       []score       `json:"scores,omitempty"`
	Threats      []threat      `json:"threats,omitempty"`
	Title        string        `json:"title,omitempty"`
}

type cwe struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type justified struct {
	Date     string   `json:"date,omitempty"`
	Groups   []string `json:"group_ids,omitempty"`
	Label    string   `json:"label"`
	Products []string `json:"product_ids,omitempty"`
}

type status struct {
	FirstFixed         []string `json:"first_fixed,omitempty"`
	Fixed              []string `json:"fixed,omitempty"`
	KnownAffected      []string `json:"known_affected,omitempty"`
	KnownNotAffected   []string `json:"known_not_affected,omitempty"`
	Recommended        []string `json:"recommended,omitempty"` // where SUSE has what is fixed
	UnderInvestigation []string `json:"under_investigation,omitempty"`
}

type remediation struct {
	Category string   `json:"category"`
	Date     string   `json:"date,omitempty"`
	Details  string   `json:"details"`
	Groups   []string `json:"group_ids,omitempty"`
	Products []string `json:"product_ids,omitempty"`
	Restart  *restart `json:"restart_required,omitempty"`
	URL      string   `json:"url,omitempty"`
}

type restart struct {
	Category string `json:"category"`
}

type score struct {
	V2       *cvssScore `json:"cvss_v2,omitempty"`
	V3       *cvssScore `json:"cvss_v3,omitempty"`
	Products []string   `json:"products"`
}

type cvssScore struct {
	Base     float64 `json:"baseScore"`
	Severity string  `json:"baseSeverity,omitempty"`
	Vector   string  `json:"vectorString"`
	Version  string  `json:"version"`
}

type threat struct {
	Category string   `json:"category"`
	Date     string   `json:"date,omitempty"`
	Details  string   `json:"details"`
	Groups   []string `json:"group_ids,omitempty"`
	Products []string `json:"product_ids,omitempty"`
}

// encode returns v as JSON that people can read too, with a newline.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

var noFileName = regexp.MustCompile(`[^+\-a-z0-9]+`)

// fileName returns the name of the file of the document with that tracking id (§5.1).
func fileName(id string) string {
	return noFileName.ReplaceAllString(strings.ToLower(id), "_") + ".json"
}
