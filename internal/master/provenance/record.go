package provenance

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"

	"albs/internal/albs"
	"albs/internal/ledger"
	"albs/internal/master/artifact"
)

// sbomAPIVersion is the version of the metadata's vocabulary, ALBS's newest.
const sbomAPIVersion = "0.2"

// fileRecord is the value under a file's sha256 in the ledger, in the form in
// which ALBS's immudb wrapper writes it and its tools (alma-sbom) read it.
type fileRecord struct {
	Name     string            `json:"Name"`
	Kind     string            `json:"Kind"` // "file"
	Size     string            `json:"Size"` // "1.66 MB"
	Hash     albs.Digest       `json:"Hash"`
	Signer   string            `json:"Signer"`
	Metadata map[string]string `json:"Metadata"`
}

// newRecord returns the record of a. What the master knows of an RPM itself goes
// over what the caller says.
func newRecord(a artifact.Artifact, signer string, metadata map[string]string) (string, error) {
	m := maps.Clone(metadata)
	if m == nil {
		m = map[string]string{}
	}
	m["sbom_api_ver"] = sbomAPIVersion
	if n := a.NEVRA; n.Name != "" {
		m["name"], m["version"], m["release"], m["arch"] = n.Name, n.Version, n.Release, n.Arch
		m["epoch"] = strconv.Itoa(n.Epoch)
		if a.SourceRPM != "" {
			m["sourcerpm"] = a.SourceRPM
		}
	}
	if a.Unsigned != "" {
		m["unsigned_hash"] = string(a.Unsigned)
	}
	b, err := json.Marshal(fileRecord{Name: a.Name, Kind: "file", Size: sizeText(a.Size), Hash: a.Digest, Signer: signer, Metadata: m})
	if err != nil {
		return "", fmt.Errorf("record of %s: %w", a.Name, err)
	}
	if len(b) > ledger.MaxValue {
		return "", albs.Errorf(albs.TooLarge, "the ledger record of %s has %d bytes, %d are allowed", a.Name, len(b), ledger.MaxValue)
	}
	return string(b), nil
}

// sizeText spells a size as the records do: 1024-based, two decimals.
func sizeText(n int64) string {
	size, units := float64(n)/1024, []string{"KB", "MB", "GB", "TB"}
	for size >= 1024 && len(units) > 1 {
		size, units = size/1024, units[1:]
	}
	return fmt.Sprintf("%.2f %s", size, units[0])
}
