package delivery

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"mime/multipart"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"

	"albs/internal/albs"
	"albs/internal/disk"
	"albs/internal/master/api/rest"
	"albs/internal/master/face"
	given "albs/internal/master/record"
	"albs/internal/repodata"
	"albs/internal/repodata/record"
)

const recordsPath = "/api/v1/products/{name}/metadata/"

func (s *Resources) routeRecords() {
	rest.Handle(s.Server, rest.Operation(rest.Get, recordsPath, "List the metadata files that a product's repositories were given"), s.listRecords)

	op := rest.Operation(rest.Post, recordsPath+"{type}", "Give a repository a metadata file; the product's next release takes it over")
	op.Description = "The file is the body, plain or compressed by gzip, zstd or xz; the type is group, modules, updateinfo or productid."
	op.Parameters = append(rest.PathParams(op.Path), rest.QueryParam("repository", huma.TypeString, "The repository's path in the product"))
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/octet-stream": {}}}
	op.Responses = rest.Answers(http.StatusOK, "What the repository will have", "application/json")
	op.Responses["200"].Content["application/json"].Schema = rest.SchemaOf[[]RecordView](s.Server)
	s.Raw(op, s.giveRecord)

	rest.Handle(s.Server, rest.Operation(rest.Delete, recordsPath+"{type}", "Take a metadata file from a repository; the product's next release shows it no more"), s.takeRecord)

	op = rest.Operation(rest.Post, "/api/v1/uploads/upload_repometada/", "Give a repository its modules and comps, as ALBS's clients do")
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		"multipart/form-data": {Schema: &huma.Schema{Type: huma.TypeObject, Required: []string{"repository"}, Properties: map[string]*huma.Schema{
			"modules": {Type: huma.TypeString, Format: "binary"}, "comps": {Type: huma.TypeString, Format: "binary"},
			"repository": {Type: huma.TypeString, Description: "PRODUCT/PATH"},
		}}},
	}}
	op.Responses = rest.Answers(http.StatusOK, "What the repository will have", "application/json")
	op.Responses["200"].Content["application/json"].Schema = rest.SchemaOf[[]RecordView](s.Server)
	s.Raw(op, s.uploadMetadata)
}

// RecordView is a metadata file that a repository was given.
type RecordView struct {
	Repository string      `json:"repository" doc:"The repository's path in the product"`
	Type       string      `json:"type"`
	SHA256     albs.Digest `json:"sha256" doc:"Of the file uncompressed"`
	Size       int64       `json:"size" doc:"The same"`
	// Files are kept as artifacts, by whose digest they are downloaded.
	Files []repodata.Record `json:"files" doc:"What repomd.xml will name"`
	Actor string            `json:"given_by"`
	At    time.Time         `json:"given_at"`
}

func viewRecord(g given.Given) RecordView {
	return RecordView{Repository: g.Path, Type: g.Type, SHA256: g.Digest, Size: g.Size, Files: g.Files, Actor: g.Actor, At: g.At.Time}
}

type recordsInput struct {
	Name       string `path:"name" maxLength:"100"`
	Repository string `query:"repository" maxLength:"200" doc:"Only of the repository with that path"`
}

func (s *Resources) listRecords(ctx context.Context, in *recordsInput) (*rest.Body[[]RecordView], error) {
	p, err := named(ctx, s.Products, in.Name)
	if err != nil {
		return nil, err
	}
	all, err := s.Records.Of(ctx, p.Name)
	if err != nil {
		return nil, err
	}
	out := []RecordView{}
	for _, g := range all {
		if in.Repository == "" || in.Repository == g.Path {
			out = append(out, viewRecord(g))
		}
	}
	return rest.Answer(out), nil
}

func (s *Resources) giveRecord(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(face.LongBody(w, r, record.MaxBytes))
	if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		s.Fail(w, r, albs.Errorf(albs.TooLarge, "the file has more than %d bytes", large.Limit))
		return
	}
	if err != nil {
		s.Fail(w, r, albs.Errorf(albs.Invalid, "the upload broke off: %w", err))
		return
	}
	s.give(w, r, chi.URLParam(r, "name"), r.URL.Query().Get("repository"), map[string]io.Reader{chi.URLParam(r, "type"): bytes.NewReader(b)})
}

// give answers with what a repository will have of the files.
func (s *Resources) give(w http.ResponseWriter, r *http.Request, name, path string, files map[string]io.Reader) {
	set, err := s.Records.Set(r.Context(), name, path, files)
	if err != nil {
		s.Fail(w, r, err)
		return
	}
	rest.WriteJSON(w, http.StatusOK, viewed(set, viewRecord))
}

type takeInput struct {
	Name       string `path:"name" maxLength:"100"`
	Type       string `path:"type" maxLength:"40"`
	Repository string `query:"repository" required:"true" maxLength:"200" doc:"The repository's path in the product"`
}

func (s *Resources) takeRecord(ctx context.Context, in *takeInput) (*struct{}, error) {
	return nil, s.Records.Remove(ctx, in.Name, in.Repository, in.Type)
}

// formMemory is how much of a form is held in memory; the rest waits in a file.
const formMemory = 8 << 20

// albsTypes are the types of what ALBS's form calls otherwise.
var albsTypes = map[string]string{"comps": "group", "modules": "modules"}

// formFault tells whose fault it is that a form could not be read.
func formFault(err error) error {
	large, tooLarge := errors.AsType[*http.MaxBytesError](err)
	_, file := errors.AsType[*fs.PathError](err)
	switch {
	case tooLarge:
		return albs.Errorf(albs.TooLarge, "the form has more than %d bytes", large.Limit)
	case errors.Is(err, multipart.ErrMessageTooLarge):
		return albs.Errorf(albs.TooLarge, "a field of the form is too long")
	case file:
		return disk.Trouble(err, "hold the form in the temporary folder")
	}
	return albs.Errorf(albs.Invalid, "the form is malformed or broke off: %w", err)
}

func (s *Resources) uploadMetadata(w http.ResponseWriter, r *http.Request) {
	r.Body = face.LongBody(w, r, 2*record.MaxBytes)
	if err := r.ParseMultipartForm(formMemory); err != nil {
		s.Fail(w, r, formFault(err))
		return
	}
	defer func() { _ = r.MultipartForm.RemoveAll() }() // what stays is in the system's temporary folder
	name, path, ok := strings.Cut(r.PostFormValue("repository"), "/")
	if !ok {
		s.Fail(w, r, albs.Errorf(albs.Invalid, "the form's repository is PRODUCT/PATH, the product and the repository's path in it"))
		return
	}
	files := map[string]io.Reader{}
	for field, typ := range albsTypes {
		parts := r.MultipartForm.File[field]
		if len(parts) == 0 {
			continue
		}
		f, err := parts[0].Open()
		if err != nil {
			s.Fail(w, r, err)
			return
		}
		defer func(f multipart.File) { _ = f.Close() }(f)
		files[typ] = f
	}
	s.give(w, r, name, path, files)
}
