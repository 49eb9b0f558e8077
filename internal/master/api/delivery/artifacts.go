package delivery

import (
	"bytes"
	"context"
	"errors"
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
	"albs/internal/disk"
	"albs/internal/master/api/rest"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/content"
	"albs/internal/master/provenance"
	"albs/internal/master/transparency"
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

	current := rest.QueryParam("current", huma.TypeBoolean, "As of now, also of a package in the public log, whose proof is about what was stated at its release; false if it is absent")
	op = rest.Operation(rest.Get, "/api/v1/artifacts/{sha256}/bundle", "Download the statements that lead to a file, for albs verify and others: NAME.intoto.jsonl")
	op.Parameters = append(rest.PathParams(op.Path), current)
	op.Responses = rest.Answers(http.StatusOK, "DSSE envelopes in the order in which they were made, one a line", bundleType)
	s.Raw(op, s.beside(besideFile{attest.EnvelopesSuffix, bundleType, func(f transparency.Files) albs.Digest { return f.Statements }, attest.Bundle.Envelopes}))

	op = rest.Operation(rest.Get, "/api/v1/artifacts/{sha256}/ledger-proof", "Download the proof that the ledger holds those statements: NAME.ledger-proof")
	op.Parameters = append(rest.PathParams(op.Path), current)
	op.Responses = rest.Answers(http.StatusOK, "For each line of the bundle a ledger proof, then a signed ledger state", bundleType)
	s.Raw(op, s.beside(besideFile{attest.ProofSuffix, bundleType, func(f transparency.Files) albs.Digest { return f.LedgerProof }, attest.Bundle.Proof}))

	op = rest.Operation(rest.Get, "/api/v1/artifacts/{sha256}/log-proof", "Download the proof that the release of a package, with those statements, is in the public log: NAME.tlog-proof")
	op.Parameters = rest.PathParams(op.Path)
	op.Responses = rest.Answers(http.StatusOK, "A c2sp.org/tlog-proof@v1", logProofType)
	s.Raw(op, s.beside(besideFile{attest.LogProofSuffix, logProofType, func(f transparency.Files) albs.Digest { return f.LogProof }, nil}))

	op = rest.Operation(rest.Get, "/api/v1/artifacts/{sha256}/vsa", "Download the releaser's summary that it verified a package with all of that: NAME.vsa.json")
	op.Parameters = rest.PathParams(op.Path)
	op.Responses = rest.Answers(http.StatusOK, "A DSSE envelope with a SLSA verification summary", summaryType)
	s.Raw(op, s.summary)

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

// What the files beside packages are served as.
const (
	bundleType   = "application/jsonl"
	logProofType = "text/plain"
	summaryType  = "application/json"
)

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

// besideFile is one of the files that lie beside a package.
type besideFile struct {
	suffix, media string
	// fixed is the one that the public log's proof is about, and current the same as of
	// now; nil if there is none but the fixed one.
	fixed   func(transparency.Files) albs.Digest
	current func(attest.Bundle) []byte
}

// beside serves a file that lies beside a package, by the name that it has there: of a
// package in the public log as it was fixed for that, so that all of them fit together.
func (s *Resources) beside(f besideFile) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name, b, err := s.readBeside(r, f)
		if err != nil {
			s.Fail(w, r, err)
			return
		}
		s.attach(w, r, name+f.suffix, f.media, b)
	}
}

// summary serves the verification summary of a package.
func (s *Resources) summary(w http.ResponseWriter, r *http.Request) {
	name, b, err := s.readSummary(r)
	if err != nil {
		s.Fail(w, r, err)
		return
	}
	s.attach(w, r, name+attest.SummarySuffix, summaryType, b)
}

func (s *Resources) readSummary(r *http.Request) (name string, b []byte, err error) {
	d, err := albs.ParseDigest(chi.URLParam(r, "sha256"))
	if err != nil {
		return "", nil, err
	}
	a, err := s.Artifacts.Find(r.Context(), d)
	if err != nil {
		return "", nil, err
	}
	b, err = s.Logs.Summary(r.Context(), d)
	return a.Name, b, err
}

// attach serves a file of that name.
func (s *Resources) attach(w http.ResponseWriter, r *http.Request, name, media string, b []byte) {
	w.Header().Set("Content-Type", media)
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

// readBeside returns the name of the package that a request is about and what f is of it.
func (s *Resources) readBeside(r *http.Request, f besideFile) (name string, b []byte, err error) {
	d, err := albs.ParseDigest(chi.URLParam(r, "sha256"))
	if err != nil {
		return "", nil, err
	}
	current, err := switchedOn(r, "current", false)
	if err != nil {
		return "", nil, err
	}
	a, err := s.Artifacts.Find(r.Context(), d)
	if err != nil {
		return "", nil, err
	}
	if f.current == nil || !current {
		files, err := s.Logs.Beside(r.Context(), d)
		if err == nil {
			b, err = s.document(r.Context(), f.fixed(files), a.Name+f.suffix)
			return a.Name, b, err
		}
		if f.current == nil || !errors.Is(err, albs.NotFound) {
			return "", nil, err
		}
	}
	bundle, err := s.Provenance.Bundle(r.Context(), d)
	if err != nil {
		return "", nil, err
	}
	return a.Name, f.current(bundle), nil
}

// document reads a file that was kept of what was stated.
func (s *Resources) document(ctx context.Context, d albs.Digest, name string) ([]byte, error) {
	f, err := s.Artifacts.Open(ctx, d, 0, -1)
	if err != nil {
		return nil, err
	}
	b, err := disk.ReadAll(f, name, attest.MaxBundle)
	return b, errors.Join(err, f.Close())
}

// switchedOn is what a query says of a boolean parameter.
func switchedOn(r *http.Request, name string, otherwise bool) (bool, error) {
	v := r.URL.Query().Get(name)
	if v == "" {
		return otherwise, nil
	}
	on, err := strconv.ParseBool(v)
	if err != nil {
		return false, albs.Errorf(albs.Invalid, "%s is true or false, not %.40q", name, v)
	}
	return on, nil
}

func (s *Resources) trust(w http.ResponseWriter, r *http.Request) {
	keys, err := switchedOn(r, "keys", true)
	if err != nil {
		s.Fail(w, r, err)
		return
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
