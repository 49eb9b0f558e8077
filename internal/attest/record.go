package attest

import (
	"encoding/json"
	"strconv"
	"strings"

	"albs/internal/albs"
	"albs/internal/ledger"
)

// The kinds of records.
const (
	FileRecord = "file"
	GitRecord  = "git"
)

// Record is what the ledger says of a file, or ALBS of a commit, under its sha256 in
// hex: the value that ALBS's immudb wrapper writes and its tools read, in the
// vocabulary of its versions 0.1, which knows little, and 0.2.
type Record struct {
	Name    string      `json:"name"` // of the file; of a commit git@HOST:PATH@SHORT
	Kind    string      `json:"kind"`
	Size    string      `json:"size"` // for people: "1.66 MB"
	Hash    albs.Digest `json:"hash"` // its key; for a commit, of the JSON that tells of it
	Signer  string      `json:"signer"`
	Version string      `json:"version"` // of the vocabulary: 0.1 or 0.2

	// Of a package. Version 0.1 tells none of it but the name in Name, from which it is taken.
	Package   string `json:"package,omitempty"`
	Epoch     int    `json:"epoch,omitempty"`
	Ver       string `json:"ver,omitempty"`
	Release   string `json:"release,omitempty"`
	Arch      string `json:"arch,omitempty"`
	SourceRPM string `json:"source_rpm,omitempty"`

	// What it was made from and where.
	BuildID      string      `json:"build_id,omitempty"`
	BuildHost    string      `json:"build_host,omitempty"`
	BuildArch    string      `json:"build_arch,omitempty"`
	BuiltBy      string      `json:"built_by,omitempty"`
	SourceType   string      `json:"source_type,omitempty"` // git, srpm or ""
	GitURL       string      `json:"git_url,omitempty"`
	GitRef       string      `json:"git_ref,omitempty"`
	GitCommit    string      `json:"git_commit,omitempty"`
	CommitRecord string      `json:"commit_record,omitempty"` // that ALBS found notarized
	SRPM         string      `json:"srpm,omitempty"`
	SRPMHash     albs.Digest `json:"srpm_hash,omitempty"`
	Unsigned     albs.Digest `json:"unsigned,omitempty"` // of a signed package
}

// maxMetadata bounds the names in a record's metadata.
const maxMetadata = 64

// ParseRecord reads a record. Invalid if the value isn't one, TooLarge if no ledger of
// ours could have kept it. Nothing of what it says is proven by that.
func ParseRecord(value []byte) (Record, error) {
	if len(value) > ledger.MaxValue {
		return Record{}, albs.Errorf(albs.TooLarge, "a record has at most %d bytes", ledger.MaxValue)
	}
	var v struct {
		Name, Kind, Size, Hash, Signer string
		Metadata                       map[string]json.RawMessage
	}
	if err := json.Unmarshal(value, &v); err != nil {
		return Record{}, albs.Errorf(albs.Invalid, "the value is no record: %w", err)
	}
	hash, err := albs.ParseDigest(v.Hash)
	switch {
	case v.Name == "" || v.Kind != FileRecord && v.Kind != GitRecord:
		return Record{}, albs.Errorf(albs.Invalid, "the value is no record: it names no file and no commit")
	case err != nil:
		return Record{}, albs.Errorf(albs.Invalid, "the value is no record: %w", err)
	case len(v.Metadata) > maxMetadata:
		return Record{}, albs.Errorf(albs.TooLarge, "a record has at most %d fields of metadata", maxMetadata)
	}
	// ALBS writes numbers as such or as texts, and what it doesn't know as null or None.
	m := make(map[string]string, len(v.Metadata))
	for k, raw := range v.Metadata {
		var s string
		if json.Unmarshal(raw, &s) != nil {
			if s = string(raw); s == "null" || strings.HasPrefix(s, "{") || strings.HasPrefix(s, "[") {
				continue
			}
		}
		if s != "None" && s != "(none)" {
			m[k] = s
		}
	}
	r := Record{
		Name: v.Name, Kind: v.Kind, Size: v.Size, Hash: hash, Signer: v.Signer, Version: m["sbom_api_ver"],
		Package: m["name"], Ver: m["version"], Release: m["release"], Arch: m["arch"], SourceRPM: m["sourcerpm"],
		BuildID: m["build_id"], BuildHost: m["build_host"], BuildArch: m["build_arch"], BuiltBy: m["built_by"],
		SourceType: m["source_type"], GitURL: m["git_url"], GitRef: m["git_ref"], GitCommit: m["git_commit"],
		CommitRecord: m["alma_commit_sbom_hash"], SRPM: m["srpm_nevra"],
	}
	if r.Version == "" {
		r.Version = m["sbom_api"] // its first name
	}
	if r.Version != "0.1" && r.Version != "0.2" {
		return Record{}, albs.Errorf(albs.Invalid, "the record's vocabulary is %.40q; 0.1 and 0.2 are known", r.Version)
	}
	if e := m["epoch"]; e != "" {
		if r.Epoch, err = strconv.Atoi(e); err != nil || r.Epoch < 0 {
			return Record{}, albs.Errorf(albs.Invalid, "the record's epoch is %.40q", e)
		}
	}
	for name, to := range map[string]*albs.Digest{"srpm_sha256": &r.SRPMHash, "unsigned_hash": &r.Unsigned} {
		if m[name] == "" {
			continue
		}
		if *to, err = albs.ParseDigest(m[name]); err != nil {
			return Record{}, albs.Errorf(albs.Invalid, "the record names what is no digest: %w", err)
		}
	}
	if r.Kind == GitRecord {
		var git struct{ Commit string }
		if raw, ok := v.Metadata["git"]; ok {
			if err := json.Unmarshal(raw, &git); err != nil {
				return Record{}, albs.Errorf(albs.Invalid, "the record's commit can't be read: %w", err)
			}
		}
		r.GitCommit = git.Commit
	}
	if r.Kind == FileRecord && r.Package == "" {
		r.fromName()
	}
	return r, nil
}

// fromName fills in what the name NAME-VERSION-RELEASE.ARCH.rpm tells of a package.
func (r *Record) fromName() {
	base, ok := strings.CutSuffix(r.Name, ".rpm")
	dot := strings.LastIndexByte(base, '.')
	if !ok || dot < 0 {
		return
	}
	nvr := base[:dot]
	rel := strings.LastIndexByte(nvr, '-')
	if rel <= 0 {
		return
	}
	ver := strings.LastIndexByte(nvr[:rel], '-')
	if ver <= 0 {
		return
	}
	r.Package, r.Ver, r.Release, r.Arch = nvr[:ver], nvr[ver+1:rel], nvr[rel+1:], base[dot+1:]
}
