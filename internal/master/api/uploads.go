package api

import (
	"errors"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"albs/internal/albs"
	"albs/internal/master/api/rest"
	"albs/internal/master/face"
)

const maxSRPM = 4<<30 + 1<<20 // bytes of an upload, with what multipart adds

type uploadView struct {
	Digest albs.Digest `json:"digest" doc:"To be given as a task's srpm when a build is made"`
	Name   string      `json:"name"`
	Size   int64       `json:"size"`
	NEVRA  string      `json:"nevra"`
}

func (s *Server) routeUploads() {
	op := rest.Operation(post, "/api/v1/uploads/srpm", "Upload an SRPM for later builds")
	op.Description = "The file is the body with its name in ?name=, or the first file of a multipart form."
	op.Parameters = []*huma.Param{rest.QueryParam("name", huma.TypeString, "The file's name, for a body that is the file")}
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		"application/x-rpm": {}, "application/octet-stream": {},
		"multipart/form-data": {Schema: &huma.Schema{Type: huma.TypeObject, Properties: map[string]*huma.Schema{"file": {Type: huma.TypeString, Format: "binary"}}}},
	}}
	op.Responses = rest.Answers(http.StatusCreated, "What was uploaded", "application/json")
	op.Responses["201"].Content["application/json"].Schema = rest.SchemaOf[uploadView](s.Server)
	s.Raw(op, s.uploadSRPM)
}

func (s *Server) uploadSRPM(w http.ResponseWriter, r *http.Request) {
	r.Body = face.LongBody(w, r, maxSRPM)
	name, file, err := rest.Uploaded(r)
	if err != nil {
		s.Fail(w, r, err)
		return
	}
	from := &watched{r: file}
	a, err := s.Builds.UploadSRPM(r.Context(), from, name)
	if err != nil && from.err != nil { // the upload broke off, nothing else did
		err = albs.Errorf(albs.Invalid, "the upload broke off: %w", from.err)
	}
	if err != nil {
		s.Fail(w, r, err)
		return
	}
	rest.WriteJSON(w, http.StatusCreated, uploadView{Digest: a.Digest, Name: a.Name, Size: a.Size, NEVRA: a.NEVRA.String()})
}

// watched remembers how reading from a client failed.
type watched struct {
	r   io.Reader
	err error
}

// Read implements io.Reader.
func (b *watched) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}
