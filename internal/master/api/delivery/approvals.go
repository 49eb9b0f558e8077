package delivery

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"

	"albs/internal/albs"
	"albs/internal/master/api/rest"
	"albs/internal/master/auth"
	"albs/internal/master/sign"
)

// routeApprovals registers what people approve beside releases' plans, and the bytes that
// they sign. What approves a plan is with releases.
func (s *Resources) routeApprovals() {
	s.routeBytes("/api/v1/releases/{release_id}/effects/", "release_id", "Download what a release comes to: the bytes whose sha256 is its digest", "application/json",
		func(ctx context.Context, id int64) ([]byte, error) {
			return s.Releases.Effects(ctx, albs.ReleaseID(id))
		})
	s.routeBytes("/api/v1/sign-tasks/{sign_task_id}/effects/", "sign_task_id", "Download what a request to sign a build comes to, to be approved", "application/json",
		s.Signs.RequestEffects)
	rest.Handle(s.Server, rest.Operation(rest.Post, "/api/v1/sign-tasks/{sign_task_id}/approve/", "Approve exactly what a request to sign a build comes to"), s.approveSignTask)
	s.routeBytes("/api/v1/sign-files/{task_id}/effects/", "task_id", "Download what the signing of a file comes to, to be approved", "application/json",
		func(ctx context.Context, id int64) ([]byte, error) { return s.Signs.FileEffects(ctx, albs.TaskID(id)) })
	rest.Handle(s.Server, rest.Operation(rest.Post, "/api/v1/sign-files/{task_id}/approve/", "Approve exactly the signing of a file"), s.approveSignFile)
}

// routeBytes registers the download of bytes as they are, of what a number in the path names.
func (s *Resources) routeBytes(path, number, summary, media string, read func(context.Context, int64) ([]byte, error)) {
	op := rest.Operation(rest.Get, path, summary)
	op.Parameters = rest.PathParams(op.Path)
	op.Responses = rest.Answers(http.StatusOK, "As they are", media)
	s.Raw(op, func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.ParseInt(chi.URLParam(r, number), 10, 64)
		if err != nil || n < 1 {
			s.Fail(w, r, albs.Errorf(albs.Invalid, "path.%s is no number above 0", number))
			return
		}
		b, err := read(r.Context(), n)
		if err != nil {
			s.Fail(w, r, err)
			return
		}
		h := w.Header()
		h.Set("Content-Type", media)
		h.Set("Cache-Control", "no-cache")
		h.Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(b) // the client is gone
	})
}

// approvalBody is how a person approves.
type approvalBody struct {
	Digest   string `json:"digest" doc:"Of what was shown"`
	Note     string `json:"note,omitempty" maxLength:"1000"`
	Envelope string `json:"envelope,omitempty" maxLength:"65536" doc:"The DSSE envelope that the person's own key signed, as albs approve makes it; it has its note within"`
}

// word reads the body.
func (b approvalBody) word() (albs.Digest, auth.Word, error) {
	d, err := albs.ParseDigest(b.Digest)
	if err != nil {
		return "", auth.Word{}, albs.Errorf(albs.Invalid, "body.digest: %w", err)
	}
	return d, auth.Word{Note: b.Note, Envelope: []byte(b.Envelope)}, nil
}

// ApprovalView is a person's word for a plan, or for a request for signatures.
type ApprovalView struct {
	Username  string      `json:"username"`
	Digest    albs.Digest `json:"digest"`
	Note      string      `json:"note"`
	At        time.Time   `json:"at"`
	ExpiresAt time.Time   `json:"expires_at"`
	Signed    bool        `json:"signed" doc:"By the person's own key; else it is the master's word that a session said so"`
	KeyID     string      `json:"keyid,omitempty"`
}

func viewApprovals(list []auth.Approval) []ApprovalView {
	out := make([]ApprovalView, len(list))
	for i, a := range list {
		out[i] = ApprovalView{a.Name, a.Digest, a.Note, a.At.Time, a.ExpiresAt.Time, a.Signed(), a.KeyID}
	}
	return out
}

// ApprovalsView is how far the approval of a request for signatures is.
type ApprovalsView struct {
	Digest    albs.Digest    `json:"digest,omitempty" doc:"Over what it comes to; empty if there is nothing to approve"`
	ExpiresAt *time.Time     `json:"expires_at,omitempty"`
	Approvals []ApprovalView `json:"approvals"`
	Needed    int            `json:"approvals_needed"`
}

func viewSignApprovals(a sign.Approvals) ApprovalsView {
	return ApprovalsView{Digest: a.Digest, ExpiresAt: rest.TimeOf(a.Expires), Approvals: viewApprovals(a.Given), Needed: a.Needed}
}

type approveSignTaskInput struct {
	ID   int64 `path:"sign_task_id" minimum:"1"`
	Body approvalBody
}

func (s *Resources) approveSignTask(ctx context.Context, in *approveSignTaskInput) (*rest.Body[SignTaskView], error) {
	d, word, err := in.Body.word()
	if err != nil {
		return nil, err
	}
	r, err := s.Signs.ApproveRequest(ctx, in.ID, d, word)
	if err != nil {
		return nil, err
	}
	return s.signTask(ctx, r)
}

type approveSignFileInput struct {
	ID   albs.TaskID `path:"task_id" minimum:"1"`
	Body approvalBody
}

func (s *Resources) approveSignFile(ctx context.Context, in *approveSignFileInput) (*rest.Body[SignFileView], error) {
	d, word, err := in.Body.word()
	if err != nil {
		return nil, err
	}
	f, err := s.Signs.ApproveFile(ctx, in.ID, d, word)
	if err != nil {
		return nil, err
	}
	return rest.Answer(viewSignFile(f)), nil
}
