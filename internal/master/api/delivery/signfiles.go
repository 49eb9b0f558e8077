package delivery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"albs/internal/albs"
	"albs/internal/master/api/rest"
	"albs/internal/master/face"
	"albs/internal/master/sign"
)

func (s *Resources) routeSignFiles() {
	rest.Handle(s.Server, rest.Operation(rest.Get, "/api/v1/sign-files/", "List files that people have signed, the newest first"), s.listSignFiles)
	rest.Handle(s.Server, rest.Operation(rest.Get, "/api/v1/sign-files/{task_id}/", "Show a file that is to be signed"), s.getSignFile)
	s.routeBytes("/api/v1/sign-files/{task_id}/signature", "task_id", "Download a file's signature, or its clear-signed copy", "text/plain",
		func(ctx context.Context, id int64) ([]byte, error) {
			return s.Signs.FileSignature(ctx, albs.TaskID(id))
		})
	s.routeBytes("/api/v1/sign-files/{task_id}/content", "task_id", "Download a file that is to be signed", "application/octet-stream",
		func(ctx context.Context, id int64) ([]byte, error) { return s.Signs.FileContent(ctx, albs.TaskID(id)) })

	op := rest.Operation(rest.Post, "/api/v1/sign-files/", "Have a file signed that is no package: a document that albs made, or one on the product's list")
	fileOperation(&op)
	op.Responses = rest.Answers(http.StatusCreated, "How far it is", "application/json")
	op.Responses["201"].Content["application/json"].Schema = rest.SchemaOf[SignFileView](s.Server)
	s.Raw(op, s.signFile)

	op = rest.Operation(rest.Post, "/api/v1/sign", "The same as ALBS's sign-file service has it: the answer is the signature")
	fileOperation(&op)
	op.Responses = rest.Answers(http.StatusOK, "ASCII-armored", "text/plain")
	s.Raw(op, s.signNow)

	rest.Handle(s.Server, rest.Operation(rest.Get, "/api/v1/products/{name}/sign-allowed/", "List the files that a product's keys may sign"), s.listAllowed)
	rest.Handle(s.Server, rest.Created(rest.Operation(rest.Post, "/api/v1/products/{name}/sign-allowed/", "Put a file on that list, by its sha256")), s.allowFile)
	rest.Handle(s.Server, rest.Operation(rest.Delete, "/api/v1/products/{name}/sign-allowed/{sha256}/", "Take a file off that list"), s.disallowFile)
}

func fileOperation(op *huma.Operation) {
	op.Description = "The file is the body with its name in ?name=, or the first file of a multipart form."
	op.Parameters = []*huma.Param{
		rest.QueryParam("name", huma.TypeString, "The file's name, for a body that is the file"),
		rest.QueryParam("keyid", huma.TypeString, "The key's name or fingerprint, or its last 16 digits"),
		rest.QueryParam("sign_type", huma.TypeString, "detach-sign or clear-sign; the first if it is absent"),
		rest.QueryParam("sign_algo", huma.TypeString, "SHA256, the only one"),
		rest.QueryParam("product", huma.TypeString, "Signed for; the only one that the key was made for if it is absent"),
	}
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		"application/octet-stream": {},
		"multipart/form-data":      {Schema: &huma.Schema{Type: huma.TypeObject, Properties: map[string]*huma.Schema{"file": {Type: huma.TypeString, Format: "binary"}}}},
	}}
}

// SignFileView is a file that people have signed, or want to.
type SignFileView struct {
	Task      albs.TaskID    `json:"task_id"`
	State     albs.TaskState `json:"state"`
	Reason    string         `json:"reason"`
	Name      string         `json:"name"`
	SHA256    albs.Digest    `json:"sha256"`
	Size      int64          `json:"size"`
	Key       string         `json:"key" doc:"Fingerprint"`
	Product   string         `json:"product"`
	SignType  string         `json:"sign_type" enum:"detach-sign,clear-sign"`
	Requester string         `json:"requester"`
	CreatedAt time.Time      `json:"created_at"`
	Signed    bool           `json:"signed"`
	ApprovalsView
	Failure *FailureView `json:"failure,omitempty" doc:"Of one that failed: why"`
}

// The names of ALBS's sign-file service.
const (
	detachSign = "detach-sign"
	clearSign  = "clear-sign"
)

func viewSignFile(f sign.File) SignFileView {
	kind := detachSign
	if f.Clear {
		kind = clearSign
	}
	return SignFileView{
		Task: f.Task.ID, State: f.Task.State, Reason: f.Task.Reason, Name: f.Name, SHA256: f.Digest, Size: f.Size, Key: f.Key, Product: f.Product,
		SignType: kind, Requester: f.Requester, CreatedAt: f.CreatedAt, Signed: f.Signed, ApprovalsView: viewSignApprovals(f.Approvals),
		Failure: ViewFailure(f.Cause(), 0),
	}
}

type signFilesInput struct {
	Product string      `query:"product" doc:"Only of this product"`
	Before  albs.TaskID `query:"before" doc:"Only those with a lower task_id, for the next page; a page has up to 100"`
}

func (s *Resources) listSignFiles(ctx context.Context, in *signFilesInput) (*rest.Body[[]SignFileView], error) {
	files, _, err := s.Signs.Files(ctx, sign.FileFilter{Product: in.Product, Before: in.Before, Limit: signTasksPage})
	if err != nil {
		return nil, err
	}
	out := make([]SignFileView, len(files))
	for i, f := range files {
		out[i] = viewSignFile(f)
	}
	return rest.Answer(out), nil
}

type signFileInput struct {
	ID albs.TaskID `path:"task_id" minimum:"1"`
}

func (s *Resources) getSignFile(ctx context.Context, in *signFileInput) (*rest.Body[SignFileView], error) {
	f, err := s.Signs.File(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return rest.Answer(viewSignFile(f)), nil
}

// askFile reads a request of either route and asks for the signature.
func (s *Resources) askFile(w http.ResponseWriter, r *http.Request) (sign.File, error) {
	q := r.URL.Query()
	wish := sign.FileWish{Product: q.Get("product")}
	switch q.Get("sign_type") {
	case "", detachSign:
	case clearSign:
		wish.Clear = true
	default:
		return sign.File{}, albs.Errorf(albs.Invalid, "query.sign_type %.40q is neither %s nor %s", q.Get("sign_type"), detachSign, clearSign)
	}
	if algo := q.Get("sign_algo"); algo != "" && algo != "SHA256" {
		return sign.File{}, albs.Errorf(albs.Invalid, "query.sign_algo %.40q: signatures are made with SHA256", algo)
	}
	key, err := s.keyCalled(r.Context(), q.Get("keyid"))
	if err != nil {
		return sign.File{}, err
	}
	wish.Key = key
	r.Body = face.LongBody(w, r, sign.MaxFile+64<<10) // with what multipart adds
	name, file, err := rest.Uploaded(r)
	if err != nil {
		return sign.File{}, err
	}
	wish.Name = name
	wish.Content, err = io.ReadAll(io.LimitReader(file, sign.MaxFile+1))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return sign.File{}, albs.Errorf(albs.TooLarge, "files of at most %d bytes are signed", sign.MaxFile)
	}
	if err != nil {
		return sign.File{}, albs.Errorf(albs.Invalid, "the upload broke off: %w", err)
	}
	return s.Signs.SignFile(r.Context(), wish)
}

// keyCalled returns the fingerprint of a key by its name, its fingerprint, or its id of 16
// digits, which ALBS's scripts have.
func (s *Resources) keyCalled(ctx context.Context, called string) (string, error) {
	if called == "" {
		return "", albs.Errorf(albs.Invalid, "name the key to sign with as ?keyid=")
	}
	keys, err := s.Signs.Keys(ctx)
	if err != nil {
		return "", err
	}
	var found []string
	for _, k := range keys {
		if k.Name == called || k.Fingerprint == called || viewKey(k).KeyID == called {
			found = append(found, k.Fingerprint)
		}
	}
	switch len(found) {
	case 0:
		return "", albs.Errorf(albs.NotFound, "there is no key %.60q", called)
	case 1:
		return found[0], nil
	}
	return "", albs.Errorf(albs.Conflict, "%d keys are called %.60q: give a fingerprint", len(found), called)
}

func (s *Resources) signFile(w http.ResponseWriter, r *http.Request) {
	f, err := s.askFile(w, r)
	if err != nil {
		s.Fail(w, r, err)
		return
	}
	rest.WriteJSON(w, http.StatusCreated, viewSignFile(f))
}

// signPatience is how long signNow waits for a signer, and signPause how often it looks.
const (
	signPatience = 50 * time.Second
	signPause    = 200 * time.Millisecond
)

func (s *Resources) signNow(w http.ResponseWriter, r *http.Request) {
	f, err := s.askFile(w, r)
	if err == nil {
		f, err = s.signed(r.Context(), f)
	}
	var b []byte
	if err == nil {
		b, err = s.Signs.FileSignature(r.Context(), f.Task.ID)
	}
	if err != nil {
		s.Fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write(b) // the client is gone
}

// signed waits until a file is signed. A refusal is a Conflict; what takes longer than the
// patience of a request is Unavailable, and the same request later has it.
func (s *Resources) signed(ctx context.Context, f sign.File) (sign.File, error) {
	ctx, cancel := context.WithTimeout(ctx, signPatience)
	defer cancel()
	tick := time.NewTicker(signPause)
	defer tick.Stop()
	for !f.Signed {
		if cause := f.Cause(); cause != nil {
			return f, albs.Errorf(albs.Conflict, "%s was not signed: %s", f.Name, f.Task.Reason)
		}
		select {
		case <-ctx.Done():
			why := ""
			if f.Task.Reason != "" {
				why = ": " + f.Task.Reason
			}
			return f, albs.Errorf(albs.Unavailable, "%s waits to be signed, as task %d%s; ask for the same again later", f.Name, f.Task.ID, why)
		case <-tick.C:
		}
		next, err := s.Signs.File(ctx, f.Task.ID)
		if err != nil && ctx.Err() == nil {
			return f, fmt.Errorf("wait for the signature: %w", err)
		}
		if err == nil {
			f = next
		}
	}
	return f, nil
}

// AllowedView is a file on a product's list of what its keys may sign.
type AllowedView struct {
	SHA256   albs.Digest `json:"sha256"`
	Name     string      `json:"name"`
	Note     string      `json:"note"`
	Username string      `json:"username" doc:"Who put it there"`
	At       time.Time   `json:"at"`
}

type allowedInput struct {
	Name string `path:"name" maxLength:"64"`
}

func (s *Resources) listAllowed(ctx context.Context, in *allowedInput) (*rest.Body[[]AllowedView], error) {
	list, err := s.Signs.AllowedFiles(ctx, in.Name)
	if err != nil {
		return nil, err
	}
	out := make([]AllowedView, len(list))
	for i, a := range list {
		out[i] = AllowedView{a.Digest, a.Name, a.Note, a.By, a.At.Time}
	}
	return rest.Answer(out), nil
}

type allowInput struct {
	Name string `path:"name" maxLength:"64"`
	Body struct {
		SHA256 string `json:"sha256"`
		Name   string `json:"name" doc:"The file's plain name"`
		Note   string `json:"note,omitempty" maxLength:"1000" doc:"What it is and why it is to be signed"`
	}
}

func (s *Resources) allowFile(ctx context.Context, in *allowInput) (*rest.Body[[]AllowedView], error) {
	d, err := albs.ParseDigest(in.Body.SHA256)
	if err != nil {
		return nil, albs.Errorf(albs.Invalid, "body.sha256: %w", err)
	}
	if err := s.Signs.AllowFile(ctx, sign.Allowed{Product: in.Name, Digest: d, Name: in.Body.Name, Note: in.Body.Note}); err != nil {
		return nil, err
	}
	return s.listAllowed(ctx, &allowedInput{in.Name})
}

type disallowInput struct {
	Name   string `path:"name" maxLength:"64"`
	SHA256 string `path:"sha256"`
}

func (s *Resources) disallowFile(ctx context.Context, in *disallowInput) (*rest.Body[[]AllowedView], error) {
	d, err := albs.ParseDigest(in.SHA256)
	if err != nil {
		return nil, albs.Errorf(albs.Invalid, "path.sha256: %w", err)
	}
	if err := s.Signs.DisallowFile(ctx, in.Name, d); err != nil {
		return nil, err
	}
	return s.listAllowed(ctx, &allowedInput{in.Name})
}
