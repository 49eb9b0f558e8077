package api

import (
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/artifact"
	"albs/internal/master/bill"
	"albs/internal/master/db"
	"albs/internal/master/provenance"
	"albs/internal/sbom"
)

// TestSBOM: a bill is given in each format, under its type and digest, to anybody.
func TestSBOM(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	sum := albs.DigestOf([]byte("a package"))
	b := sbom.Bill{Kind: sbom.Package, Root: sbom.Component{Ref: "a", Type: sbom.Library, Name: "hello"}, Made: time.Unix(1, 0), Base: "https://albs.example/sbom"}
	model, err := b.Encode()
	must(err)
	text, err := b.Write(sbom.SPDXJSON)
	must(err)
	_, _, err = f.Artifacts.Blobs().Write(ctx, bytes.NewReader(model), 1<<20)
	must(err)
	doc, err := f.Artifacts.Save(ctx, bytes.NewReader(text), 1<<20, "hello.rpm.spdx.json", artifact.Document)
	must(err)
	must(f.db.InTx(ctx, func(tx db.Tx) error {
		if err := f.Artifacts.Add(ctx, tx, doc); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO bill (id, kind, subject, name, model, build_id, product, serial, created_at) VALUES (1, 'package', $1, 'hello.rpm', $2, 0, '', 0, $3)`,
			string(sum), albs.DigestOf(model), db.Now()); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO bill_document (bill_id, format, digest) VALUES (1, 'spdx-json', $1)`, doc.Digest)
		return err
	}))
	path := "/api/v1/sbom/package/" + string(sum)
	if a := f.call(t, "anon", get, path, nil, http.StatusOK); a.Header.Get("X-Albs-Attested") != "false" {
		t.Error("what only a row says is attested")
	}
	must(f.db.InTx(ctx, func(tx db.Tx) error {
		return f.Provenance.State(ctx, tx, provenance.Fact{
			Subjects: []attest.Subject{{Name: "hello.rpm", Digest: map[string]string{attest.SHA256: string(sum)}}}, Predicate: attest.SBOM,
			Body: attest.SBOMBody{Kind: attest.SBOMPackage, Documents: []attest.Descriptor{{Name: string(sbom.SPDXJSON), Digest: map[string]string{attest.SHA256: string(doc.Digest)}}}},
		})
	}))
	tags := map[string]bool{}
	for _, format := range sbom.Formats() {
		want, err := b.Write(format)
		must(err)
		a := f.call(t, "anon", get, path+"?format="+string(format), nil, http.StatusOK)
		kept := format == sbom.SPDXJSON
		tag, attested := a.Header.Get("ETag"), strconv.FormatBool(kept)
		if kept && tag != `"`+string(albs.DigestOf(want))+`"` || tags[tag] {
			t.Errorf("the tag of %s is %s", format, tag)
		}
		tags[tag] = true
		if h := a.Header; !bytes.Equal(a.body, want) || h.Get("Content-Type") != format.MediaType() || h.Get("X-Albs-Attested") != attested ||
			!strings.Contains(h.Get("Content-Disposition"), "hello.rpm"+format.Ending()) {
			t.Errorf("%s comes as %v:\n%s", format, h, a.body)
		}
		req := f.request(t, "anon", get, path+"?format="+string(format), nil)
		req.Header.Set("If-None-Match", tag)
		if a := do(t, req); a.StatusCode != http.StatusNotModified {
			t.Errorf("%s that is there already comes with %s", format, a.Status)
		}
		head := f.call(t, "anon", http.MethodHead, path+"?format="+string(format), nil, http.StatusOK)
		if head.Header.Get("ETag") != tag || len(head.body) != 0 || (head.ContentLength >= 0) != kept {
			t.Errorf("without its bytes %s comes as %v, of length %d", format, head.Header, head.ContentLength)
		}
		req = f.request(t, "anon", get, path+"?format="+string(format), nil)
		req.Header.Set("Range", "bytes=2-5")
		if a := do(t, req); a.StatusCode != http.StatusPartialContent || !bytes.Equal(a.body, want[2:6]) {
			t.Errorf("a part of %s comes with %s: %q", format, a.Status, a.body)
		}
	}
	if a := f.call(t, "anon", get, path, nil, http.StatusOK); !bytes.Equal(a.body, text) {
		t.Error("without a format it isn't SPDX as JSON")
	}
	for path, status := range map[string]int{
		path + "?format=spdx-xml": 400, "/api/v1/sbom/package/" + strings.Repeat("0", 64): 404, "/api/v1/sbom/package/hello-1-1.x86_64": 404, "/api/v1/sbom/package/hello": 400,
		"/api/v1/sbom/root/" + string(sum): 404, "/api/v1/sbom/root/hello-1-1.x86_64": 404, "/api/v1/sbom/root/hello": 400,
		"/api/v1/sbom/build/1": 404, "/api/v1/sbom/build/x": 400, "/api/v1/sbom/release/1": 404, "/api/v1/sbom/release/x": 400,
	} {
		f.call(t, "anon", get, path, nil, status).problem(t)
	}
	if !slices.Contains(bill.Attested, sbom.SPDXJSON) {
		t.Error("the format that is given unless another is named is not attested")
	}
}
