package delivery

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/api/rest"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/content"
	"albs/internal/master/provenance"
)

type digestInput struct {
	SHA256 string `path:"sha256" maxLength:"64"`
}

func (s *Resources) routeArtifacts() {
	rest.Handle(s.Server, rest.Operation(rest.Get, "/api/v1/artifacts/{sha256}/", "Show what is known of a file"), s.getArtifact)
	rest.Handle(s.Server, rest.Operation(rest.Get, "/api/v1/artifacts/{sha256}/history", "List all that was stated about a file and what it was made from"), s.history)

	op := rest.Operation(rest.Get, "/api/v1/artifacts/{sha256}/download", "Download a file; ranges are served, and every byte is checked against the digest")
	op.Parameters = rest.PathParams(op.Path)
	op.Responses = rest.Answers(http.StatusOK, "The file", "application/octet-stream")
	op.Responses["206"] = &huma.Response{Description: "A range of it", Content: map[string]*huma.MediaType{"application/octet-stream": {}}}
	s.Raw(op, s.download)

	op = rest.Operation(rest.Get, "/api/v1/artifacts/{sha256}/bundle", "Download the statements that lead to a file, for albs verify and others: NAME.intoto.jsonl")
	op.Parameters = rest.PathParams(op.Path)
	op.Responses = rest.Answers(http.StatusOK, "DSSE envelopes in the order in which they were made, one a line", bundleType)
	s.Raw(op, s.beside(attest.EnvelopesSuffix, attest.Bundle.Envelopes))

	op = rest.Operation(rest.Get, "/api/v1/artifacts/{sha256}/ledger-proof", "Download the proof that the ledger holds those statements: NAME.ledger-proof")
	op.Parameters = rest.PathParams(op.Path)
	op.Responses = rest.Answers(http.StatusOK, "For each line of the bundle a ledger proof, then a signed ledger state", bundleType)
	s.Raw(op, s.beside(attest.ProofSuffix, attest.Bundle.Proof))

	op = rest.Operation(rest.Get, "/api/v1/trust", "Download what a stranger needs to verify packages of this server")
	op.Parameters = []*huma.Param{
		rest.QueryParam("product", huma.TypeString, "Trust this product alone; all if it is absent"),
		rest.QueryParam("keys", huma.TypeBoolean, "With the keys of packages, which a signer doesn't need; true if it is absent"),
	}
	op.Responses = rest.Answers(http.StatusOK, "The trust document", "application/json")
	s.Raw(op, s.trust)
}

// DownloadPath is where a file is downloaded by its digest.
func DownloadPath(d albs.Digest) string { return "/api/v1/artifacts/" + string(d) + "/download" }

const bundleType = "application/jsonl"

// ArtifactDetail is what is known of one file.
type ArtifactDetail struct {
	SHA256   albs.Digest   `json:"sha256"`
	Size     int64         `json:"size"`
	Kind     artifact.Kind `json:"kind"`
	Name     string        `json:"name"`
	At       time.Time     `json:"created_at"`
	Href     string        `json:"href"`
	NEVRA    string        `json:"nevra,omitempty"`
	Source   string        `json:"source_rpm,omitempty"`
	Header   albs.Digest   `json:"header_sha256,omitempty"`
	Payload  albs.Digest   `json:"payload_sha256,omitempty"`
	Unsigned albs.Digest   `json:"unsigned,omitempty" doc:"Of a signed copy: the unsigned file"`
	SignedBy string        `json:"signed_by,omitempty" doc:"Fingerprint of the key"`
	Signed   []SignedView  `json:"signed" doc:"The signed copies of an unsigned file"`
	// Notarized is asked of the ledger, not of the database.
	Notarized bool   `json:"notarized" doc:"The ledger proves the file's record and every statement about it"`
	Trouble   string `json:"trouble,omitempty" doc:"Why it cannot be proven, where something contradicts the ledger"`
}

// SignedView is a signed copy of a file.
type SignedView struct {
	SHA256 albs.Digest `json:"sha256"`
	Key    string      `json:"key"`
}

func (s *Resources) getArtifact(ctx context.Context, in *digestInput) (*rest.Body[ArtifactDetail], error) {
	d, err := albs.ParseDigest(in.SHA256)
	if err != nil {
		return nil, err
	}
	a, err := s.Artifacts.Find(ctx, d)
	if err != nil {
		return nil, err
	}
	out := ArtifactDetail{
		SHA256: a.Digest, Size: a.Size, Kind: a.Kind, Name: a.Name, At: a.At.Time, Href: DownloadPath(a.Digest), Source: a.SourceRPM,
		Header: a.HeaderSHA256, Payload: a.PayloadSHA256, Unsigned: a.Unsigned, SignedBy: a.SignedBy, Signed: []SignedView{},
	}
	if a.NEVRA.Name != "" {
		out.NEVRA = a.NEVRA.String()
	}
	copies, err := s.Artifacts.Copies(ctx, d)
	if err != nil {
		return nil, err
	}
	for _, c := range copies {
		out.Signed = append(out.Signed, SignedView{c.Digest, c.SignedBy})
	}
	out.Notarized, err = s.Provenance.Notarized(ctx, d)
	if albs.KindOf(err) == albs.Conflict { // an answer, and the most important one
		out.Notarized, out.Trouble, err = false, err.Error(), nil
	}
	if err != nil {
		return nil, err
	}
	return rest.Answer(out), nil
}

func (s *Resources) history(ctx context.Context, in *digestInput) (*rest.Body[[]provenance.Event], error) {
	d, err := albs.ParseDigest(in.SHA256)
	if err != nil {
		return nil, err
	}
	if _, err := s.Artifacts.Find(ctx, d); err != nil {
		return nil, err
	}
	events, err := s.Provenance.History(ctx, d)
	if err != nil {
		return nil, err
	}
	if events == nil {
		events = []provenance.Event{}
	}
	return rest.Answer(events), nil
}

func (s *Resources) download(w http.ResponseWriter, r *http.Request) {
	d, err := albs.ParseDigest(chi.URLParam(r, "sha256"))
	var a artifact.Artifact
	if err == nil {
		a, err = s.Artifacts.Find(r.Context(), d)
	}
	public := content.Public(a.Kind)
	if err == nil && !public {
		err = auth.Can(r.Context(), auth.ReadPrivate, auth.Object{})
	}
	if err != nil {
		s.Fail(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": a.Name}))
	h.Set("ETag", fmt.Sprintf("%q", d))
	if public {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	rest.ServeRanges(w, r, a.Size, func(offset, length int64) (io.ReadCloser, error) {
		if offset == 0 && length == a.Size {
			length = -1 // the whole file is checked at its end, a range before its beginning
		}
		return s.Artifacts.Open(r.Context(), d, offset, length)
	})
}

// beside serves one of the files that lie beside a package, by the name that it has there.
func (s *Resources) beside(suffix string, part func(attest.Bundle) []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		d, err := albs.ParseDigest(chi.URLParam(r, "sha256"))
		if err != nil {
			s.Fail(w, r, err)
			return
		}
		a, err := s.Artifacts.Find(r.Context(), d)
		if err != nil {
			s.Fail(w, r, err)
			return
		}
		b, err := s.Provenance.Bundle(r.Context(), d)
		if err != nil {
			s.Fail(w, r, err)
			return
		}
		w.Header().Set("Content-Type", bundleType)
		w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": a.Name + suffix}))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(part(b)))
	}
}

func (s *Resources) trust(w http.ResponseWriter, r *http.Request) {
	keys := true
	if v := r.URL.Query().Get("keys"); v != "" {
		var err error
		if keys, err = strconv.ParseBool(v); err != nil {
			s.Fail(w, r, albs.Errorf(albs.Invalid, "keys is true or false, not %.40q", v))
			return
		}
	}
	doc, err := s.Trust(r.Context(), r.URL.Query().Get("product"), keys)
	if err != nil {
		s.Fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-cache")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(doc))
}
