package attest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/attest"
)

var (
	recordHash = strings.Repeat("ab", 32)
	otherHash  = strings.Repeat("cd", 32)
)

func recordOf(metadata string) string {
	return `{"Name": "bash-5.1.8-9.el9.x86_64.rpm", "Kind": "file", "Size": "1.66 MB", "Hash": "` + recordHash + `", "Signer": "albs", "Metadata": {` + metadata + `}}`
}

func TestParseRecord(t *testing.T) {
	t.Parallel()
	file := attest.Record{
		Name: "bash-5.1.8-9.el9.x86_64.rpm", Kind: attest.FileRecord, Size: "1.66 MB", Hash: albs.Digest(recordHash), Signer: "albs",
		Package: "bash", Ver: "5.1.8", Release: "9.el9", Arch: "x86_64",
	}
	of := func(change func(r *attest.Record)) attest.Record {
		r := file
		change(&r)
		return r
	}
	for name, c := range map[string]struct {
		value string
		want  attest.Record
		kind  albs.Kind
	}{
		"version 0.1": {recordOf(`"sbom_api": "0.1"`), of(func(r *attest.Record) { r.Version = "0.1" }), ""},
		"version 0.2 of git": {recordOf(`"sbom_api_ver": "0.2", "name": "bash", "epoch": 2, "version": "5.1.8", "release": "9.el9", "arch": "x86_64", "sourcerpm": "bash-5.1.8-9.el9.src.rpm",
			"build_id": 17, "build_host": "node-1", "build_arch": "x86_64", "built_by": "A <a@b>", "source_type": "git", "git_url": "https://g/bash.git", "git_ref": "c9", "git_commit": "abc",
			"alma_commit_sbom_hash": "def", "unsigned_hash": "` + otherHash + `"`), of(func(r *attest.Record) {
			r.Version, r.Epoch, r.SourceRPM = "0.2", 2, "bash-5.1.8-9.el9.src.rpm"
			r.BuildID, r.BuildHost, r.BuildArch, r.BuiltBy = "17", "node-1", "x86_64", "A <a@b>"
			r.SourceType, r.GitURL, r.GitRef, r.GitCommit, r.CommitRecord = "git", "https://g/bash.git", "c9", "abc", "def"
			r.Unsigned = albs.Digest(otherHash)
		}), ""},
		"version 0.2 of an SRPM": {recordOf(`"sbom_api_ver": "0.2", "epoch": null, "source_type": "srpm", "srpm_url": "x", "srpm_sha256": "` + otherHash + `", "srpm_nevra": "0:bash-5.1.8-9.el9.src"`),
			of(func(r *attest.Record) {
				r.Version, r.SourceType, r.SRPMHash, r.SRPM = "0.2", "srpm", albs.Digest(otherHash), "0:bash-5.1.8-9.el9.src"
			}), ""},
		"an epoch that is none": {recordOf(`"sbom_api_ver": "0.2", "epoch": "None"`), of(func(r *attest.Record) { r.Version = "0.2" }), ""},
		"a commit": {`{"Name": "git@g:bash.git@abcdef0", "Kind": "git", "Size": "1.00 KB", "Hash": "` + recordHash + `", "Signer": "albs", "Metadata": {"sbom_api_ver": "0.2", "git": {"Commit": "abcdef", "Parents": []}}}`,
			attest.Record{Name: "git@g:bash.git@abcdef0", Kind: attest.GitRecord, Size: "1.00 KB", Hash: albs.Digest(recordHash), Signer: "albs", Version: "0.2", GitCommit: "abcdef"}, ""},
		"no vocabulary":    {recordOf(`"name": "bash"`), attest.Record{}, albs.Invalid},
		"a later one":      {recordOf(`"sbom_api_ver": "0.3"`), attest.Record{}, albs.Invalid},
		"a wrong epoch":    {recordOf(`"sbom_api_ver": "0.2", "epoch": "x"`), attest.Record{}, albs.Invalid},
		"a wrong hash":     {strings.Replace(recordOf(`"sbom_api_ver": "0.2"`), recordHash, "ab", 1), attest.Record{}, albs.Invalid},
		"a wrong unsigned": {recordOf(`"sbom_api_ver": "0.2", "unsigned_hash": "x"`), attest.Record{}, albs.Invalid},
		"another kind":     {strings.Replace(recordOf(`"sbom_api_ver": "0.2"`), `"file"`, `"tree"`, 1), attest.Record{}, albs.Invalid},
		"no JSON":          {"x", attest.Record{}, albs.Invalid},
		"too much":         {strings.Repeat(" ", 256<<10) + recordOf(``), attest.Record{}, albs.TooLarge},
	} {
		got, err := attest.ParseRecord([]byte(c.value))
		if albs.KindOf(err) != c.kind {
			t.Errorf("%s: %v, want %q", name, err, c.kind)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	var fields []string
	for i := range 65 {
		fields = append(fields, fmt.Sprintf(`"f%d": "x"`, i))
	}
	if _, err := attest.ParseRecord([]byte(recordOf(strings.Join(fields, ", ")))); albs.KindOf(err) != albs.TooLarge {
		t.Errorf("a record of many fields: %v, want too large", err)
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte(recordOf(`"sbom_api_ver": "0.2", "epoch": 1`)))
	f.Add([]byte(recordOf(`"sbom_api": "0.1"`)))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := attest.ParseRecord(b)
		if err == nil && (!r.Hash.Valid() || r.Name == "" || r.Epoch < 0 || r.Version != "0.1" && r.Version != "0.2") {
			t.Errorf("%+v is no record", r)
		}
	})
}
