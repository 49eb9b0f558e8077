package provenance

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"

	"albs/internal/albs"
	"albs/internal/ledger"
	"albs/internal/master/artifact"
	"albs/internal/master/db"
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

// Record is a record in the form of ALBS's, of what is no file of this master.
type Record struct {
	Key      albs.Digest
	Name     string
	Kind     string // "git"
	Size     int64
	Metadata any // as JSON an object
}

// Fits reports whether the ledger could keep the record.
func (r Record) Fits() bool {
	b, err := json.Marshal(r.value(""))
	return err == nil && len(b) <= ledger.MaxValue-maxSigner
}

// maxSigner bounds the id of a key.
const maxSigner = 64

func (r Record) value(signer string) any {
	return struct {
		Name     string      `json:"Name"`
		Kind     string      `json:"Kind"`
		Size     string      `json:"Size"`
		Hash     albs.Digest `json:"Hash"`
		Signer   string      `json:"Signer"`
		Metadata any         `json:"Metadata"`
	}{r.Name, r.Kind, sizeText(r.Size), r.Key, signer, r.Metadata}
}

// recordOthers writes records of what is no file, those that are there stay.
func (p *Provenance) recordOthers(ctx context.Context, tx db.Tx, records []Record, at db.Time) error {
	for _, r := range records {
		b, err := json.Marshal(r.value(p.signer.KeyID()))
		if err != nil {
			return fmt.Errorf("record of %s: %w", r.Name, err)
		}
		if !r.Key.Valid() || len(b) > ledger.MaxValue {
			return albs.Errorf(albs.TooLarge, "the ledger record of %s has no valid key or %d bytes, %d are allowed", r.Name, len(b), ledger.MaxValue)
		}
		added, err := insertRecord(ctx, tx, r.Key, string(b), at)
		if err != nil {
			return fmt.Errorf("record %s: %w", r.Name, err)
		}
		if !added {
			continue
		}
		if err := insertOutbox(ctx, tx, 0, r.Key); err != nil {
			return fmt.Errorf("queue record of %s: %w", r.Name, err)
		}
	}
	return nil
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
