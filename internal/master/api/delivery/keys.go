package delivery

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"albs/internal/albs"
	"albs/internal/master/api/rest"
	"albs/internal/master/sign"
)

func (s *Resources) routeKeys() {
	rest.Handle(s.Server, rest.Operation(rest.Get, "/api/v1/sign-keys/", "List signing keys"), s.listKeys)
	op := rest.Operation(rest.Post, "/api/v1/sign-keys/{key}/revoke", "Have the signer revoke a key, for good")
	op.DefaultStatus = http.StatusAccepted
	rest.Handle(s.Server, op, s.revokeKey)
	rest.Handle(s.Server, rest.Operation(rest.Get, "/api/v1/sign-keys/{key}/revocation", "Show how far a key's revocation is"), s.getRevocation)
	rest.Handle(s.Server, rest.Operation(rest.Get, "/api/v1/sign-keys/{key}/packages", "List the packages signed with a key that products show now"), s.keyPackages)
	op = rest.Operation(rest.Post, "/api/v1/sign-keys/generate", "Have a signer make a key, which never leaves it")
	op.DefaultStatus = http.StatusAccepted
	rest.Handle(s.Server, op, s.generateKey)
	rest.Handle(s.Server, rest.Operation(rest.Get, "/api/v1/sign-keys/generate/{task_id}/", "Show how far the making of a key is"), s.getKeygen)
	rest.Handle(s.Server, rest.Operation(rest.Get, "/api/v1/sign-keys/{key}/", "Show a signing key, by fingerprint or name"), s.getKey)
	rest.Handle(s.Server, rest.Operation(rest.Patch, "/api/v1/sign-keys/{key}/deactivate", "End a key's use for anything new"), s.deactivateKey)

	op = rest.Operation(rest.Get, "/api/v1/sign-keys/{key}/public", "Download the public key, as rpm --import takes it")
	op.Parameters = rest.PathParams(op.Path)
	op.Responses = rest.Answers(http.StatusOK, "ASCII-armored", keyType)
	s.Raw(op, s.publicKey)
}

const keyType = "application/pgp-keys"

// KeyView is the public part of a signing key.
type KeyView struct {
	ID          int64  `json:"id" doc:"The last eight digits of the fingerprint as a number, for clients that want one"`
	Name        string `json:"name"`
	Description string `json:"description" doc:"Empty"`
	KeyID       string `json:"keyid"`
	Fingerprint string `json:"fingerprint"`
	PublicURL   string `json:"public_url"`
	Active      bool   `json:"active"`

	UserID    string    `json:"user_id" doc:"What the key says in itself"`
	Algorithm string    `json:"algorithm"`
	Products  []string  `json:"products" doc:"The only products that it signs for; all if there are none"`
	CreatedAt time.Time `json:"created_at"`

	Subkey    string     `json:"subkey,omitempty" doc:"The fingerprint of the subkey that signs, if the key itself only certifies"`
	Kept      string     `json:"kept,omitempty" enum:"file,token" doc:"Where the signer has the private part"`
	NotBefore *time.Time `json:"not_before,omitempty" doc:"It signs from then on"`
	NotAfter  *time.Time `json:"not_after,omitempty" doc:"And until then"`
	RevokedAt *time.Time `json:"revoked_at,omitempty"`
	Unusable  string     `json:"unusable,omitempty" doc:"Why it signs nothing now"`
}

func viewKey(k sign.Key) KeyView {
	return KeyView{
		ID: keyNumber(k.Fingerprint), Name: k.Name, KeyID: k.Fingerprint[max(len(k.Fingerprint)-16, 0):], Fingerprint: k.Fingerprint,
		PublicURL: "/api/v1/sign-keys/" + k.Fingerprint + "/public", Active: k.Active, UserID: k.UserID, Algorithm: k.Algorithm,
		Products: append([]string{}, k.Products...), CreatedAt: k.CreatedAt, Subkey: k.Subkey, Kept: k.Kept,
		NotBefore: rest.TimeOf(k.NotBefore), NotAfter: rest.TimeOf(k.NotAfter), RevokedAt: rest.TimeOf(k.RevokedAt), Unusable: k.Unusable(time.Now()),
	}
}

// keyNumber is ALBS's sort of id for a key. Two keys may, by a chance of one in
// four milliards, share it; then it names neither.
func keyNumber(fingerprint string) int64 {
	n, err := strconv.ParseUint(fingerprint[max(len(fingerprint)-8, 0):], 16, 32)
	if err != nil {
		return 0 // no fingerprint
	}
	return int64(n)
}

func (s *Resources) listKeys(ctx context.Context, _ *struct{}) (*rest.Body[[]KeyView], error) {
	keys, err := s.Signs.Keys(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]KeyView, len(keys))
	for i, k := range keys {
		out[i] = viewKey(k)
	}
	return rest.Answer(out), nil
}

type keyInput struct {
	Key string `path:"key" maxLength:"200" doc:"Fingerprint or name"`
}

func (s *Resources) getKey(ctx context.Context, in *keyInput) (*rest.Body[KeyView], error) {
	k, err := s.Signs.Key(ctx, in.Key)
	if err != nil {
		return nil, err
	}
	return rest.Answer(viewKey(k)), nil
}

func (s *Resources) deactivateKey(ctx context.Context, in *keyInput) (*rest.Body[KeyView], error) {
	if err := s.Signs.Deactivate(ctx, in.Key); err != nil {
		return nil, err
	}
	return s.getKey(ctx, in)
}

type revokeInput struct {
	Key  string `path:"key" maxLength:"200" doc:"Fingerprint or name"`
	Body struct {
		Reason string `json:"reason" enum:"compromised,superseded,retired"`
		Text   string `json:"text,omitempty" maxLength:"200" doc:"For people, in the certificate"`
	}
}

// RevocationView is a wish that a key ends, and how far that is.
type RevocationView struct {
	Task        albs.TaskID    `json:"task_id"`
	State       albs.TaskState `json:"state"`
	StateReason string         `json:"state_reason" doc:"Why it failed, or what it waits for"`
	Fingerprint string         `json:"fingerprint"`
	Reason      string         `json:"reason"`
	Text        string         `json:"text"`
	Requester   string         `json:"requester"`
	CreatedAt   time.Time      `json:"created_at"`
}

func (s *Resources) revokeKey(ctx context.Context, in *revokeInput) (*rest.Body[RevocationView], error) {
	if _, err := s.Signs.RevokeKey(ctx, in.Key, in.Body.Reason, in.Body.Text); err != nil {
		return nil, err
	}
	return s.getRevocation(ctx, &keyInput{in.Key})
}

func (s *Resources) getRevocation(ctx context.Context, in *keyInput) (*rest.Body[RevocationView], error) {
	r, err := s.Signs.Revocation(ctx, in.Key)
	if err != nil {
		return nil, err
	}
	return rest.Answer(RevocationView{
		Task: r.Task.ID, State: r.Task.State, StateReason: r.Task.Reason, Fingerprint: r.Key, Reason: r.Reason, Text: r.Text,
		Requester: r.Requester, CreatedAt: r.CreatedAt,
	}), nil
}

// KeyPackageView is a package that a product shows.
type KeyPackageView struct {
	Product    string      `json:"product"`
	Repository string      `json:"repository"`
	NEVRA      string      `json:"nevra"`
	SHA256     albs.Digest `json:"sha256"`
}

// KeyPackagesView is what products show of a key's packages.
type KeyPackagesView struct {
	Total    int              `json:"total"`
	Packages []KeyPackageView `json:"packages" doc:"The first 1000, by product, repository and file"`
}

const maxKeyPackages = 1000

func (s *Resources) keyPackages(ctx context.Context, in *keyInput) (*rest.Body[KeyPackagesView], error) {
	found, err := s.Releases.ShownBy(ctx, in.Key)
	if err != nil {
		return nil, err
	}
	out := KeyPackagesView{Packages: []KeyPackageView{}}
	for _, f := range found {
		out.Total += len(f.Packages)
		for _, e := range f.Packages[:min(len(f.Packages), maxKeyPackages-len(out.Packages))] {
			out.Packages = append(out.Packages, KeyPackageView{f.Product, f.Path, e.NEVRA.String(), e.Digest})
		}
	}
	return rest.Answer(out), nil
}

func (s *Resources) publicKey(w http.ResponseWriter, r *http.Request) {
	k, err := s.Signs.Key(r.Context(), chi.URLParam(r, "key"))
	if err != nil {
		s.Fail(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", keyType)
	h.Set("Content-Disposition", `attachment; filename="`+k.Fingerprint+`.asc"`)
	h.Set("Cache-Control", "no-cache")
	_, _ = w.Write(k.Public) // the client is gone
}

type generateInput struct {
	Body struct {
		Name      string   `json:"name" doc:"What products will call it"`
		UserID    string   `json:"user_id" doc:"What it says in itself, as AlmaLinux 9 <packager@example.org>"`
		Algorithm string   `json:"algorithm,omitempty" default:"rsa4096" doc:"rsa4096 or ed25519"`
		Products  []string `json:"products,omitempty" doc:"The only products that it will sign for"`

		Subkey    bool      `json:"subkey,omitempty" doc:"The key certifies, and a subkey of it signs"`
		NotBefore time.Time `json:"not_before,omitzero" doc:"It will sign from then on"`
		NotAfter  time.Time `json:"not_after,omitzero" doc:"And until then"`
	}
}

// KeygenView is a wish for a key, and how far its making is.
type KeygenView struct {
	Task        albs.TaskID    `json:"task_id"`
	State       albs.TaskState `json:"state"`
	Reason      string         `json:"reason"`
	Name        string         `json:"name"`
	UserID      string         `json:"user_id"`
	Algorithm   string         `json:"algorithm"`
	Products    []string       `json:"products"`
	Requester   string         `json:"requester"`
	CreatedAt   time.Time      `json:"created_at"`
	Fingerprint string         `json:"fingerprint,omitempty" doc:"Once the key is there"`
}

func (s *Resources) generateKey(ctx context.Context, in *generateInput) (*rest.Body[KeygenView], error) {
	b := in.Body
	if b.Algorithm == "" {
		b.Algorithm = "rsa4096"
	}
	task, err := s.Signs.GenerateKey(ctx, sign.NewKey{
		Name: b.Name, UserID: b.UserID, Algorithm: b.Algorithm, Subkey: b.Subkey, Products: b.Products, NotBefore: b.NotBefore, NotAfter: b.NotAfter,
	})
	if err != nil {
		return nil, err
	}
	return s.getKeygen(ctx, &keygenInput{task})
}

type keygenInput struct {
	Task albs.TaskID `path:"task_id" minimum:"1"`
}

func (s *Resources) getKeygen(ctx context.Context, in *keygenInput) (*rest.Body[KeygenView], error) {
	k, err := s.Signs.Keygen(ctx, in.Task)
	if err != nil {
		return nil, err
	}
	return rest.Answer(KeygenView{
		Task: k.Task.ID, State: k.Task.State, Reason: k.Task.Reason, Name: k.Name, UserID: k.UserID, Algorithm: k.Algorithm,
		Products: append([]string{}, k.Products...), Requester: k.Requester, CreatedAt: k.CreatedAt, Fingerprint: k.Fingerprint,
	}), nil
}

func (s *Resources) routeSignTasks() {
	rest.Handle(s.Server, rest.Operation(rest.Get, "/api/v1/sign-tasks/", "List requests to sign builds, the newest first"), s.listSignTasks)
	rest.Handle(s.Server, rest.Created(rest.Operation(rest.Post, "/api/v1/sign-tasks/", "Have all packages of a build signed")), s.signBuild)
	rest.Handle(s.Server, rest.Operation(rest.Get, "/api/v1/sign-tasks/{sign_task_id}/", "Show a request to sign a build"), s.getSignTask)
}

// SignTaskView is a request to sign a build.
type SignTaskView struct {
	ID           int64        `json:"id"`
	Build        albs.BuildID `json:"build_id"`
	SignKey      KeyView      `json:"sign_key"`
	Status       int          `json:"status" enum:"1,2,3,4" doc:"ALBS's: 1 idle, 2 in progress, 3 completed, 4 failed"`
	ErrorMessage string       `json:"error_message"`
	CreatedAt    time.Time    `json:"created_at"`

	StatusText string            `json:"status_text"`
	Product    string            `json:"product"`
	Requester  string            `json:"requester"`
	Packages   []SignPackageView `json:"packages"`
	Failure    *FailureView      `json:"failure,omitempty" doc:"Of a request that failed: why"`
	ApprovalsView
}

// SignPackageView is one package of such a request.
type SignPackageView struct {
	Name   string      `json:"name"`
	SHA256 albs.Digest `json:"sha256" doc:"Unsigned"`
	Signed albs.Digest `json:"signed_sha256,omitempty" doc:"Of the signed copy, once there is one"`
}

// ViewSignTasks shows requests with their keys.
func (s *Resources) ViewSignTasks(ctx context.Context, requests ...sign.Request) ([]SignTaskView, error) {
	out := make([]SignTaskView, len(requests))
	keys := map[string]KeyView{}
	for i, r := range requests {
		if _, known := keys[r.Key]; !known {
			k, err := s.Signs.Key(ctx, r.Key)
			if err != nil {
				return nil, err
			}
			keys[r.Key] = viewKey(k)
		}
		out[i] = SignTaskView{
			ID: r.ID, Build: r.Build, SignKey: keys[r.Key], Status: int(r.Status), StatusText: r.Status.String(), ErrorMessage: r.Reason,
			CreatedAt: r.CreatedAt, Product: r.Product, Requester: r.Requester, Packages: []SignPackageView{},
			Failure: ViewFailure(r.Cause(), 0), ApprovalsView: viewSignApprovals(r.Approvals),
		}
		for _, p := range r.Packages {
			out[i].Packages = append(out[i].Packages, SignPackageView{p.Name, p.Digest, p.Signed})
		}
	}
	return out, nil
}

func (s *Resources) signTask(ctx context.Context, r sign.Request) (*rest.Body[SignTaskView], error) {
	out, err := s.ViewSignTasks(ctx, r)
	if err != nil {
		return nil, err
	}
	return rest.Answer(out[0]), nil
}

type signTasksInput struct {
	Build  albs.BuildID `query:"build_id" doc:"Only of this build"`
	Before int64        `query:"before" doc:"Only those with a lower id, for the next page; a page has up to 100"`
}

const signTasksPage = 100

func (s *Resources) listSignTasks(ctx context.Context, in *signTasksInput) (*rest.Body[[]SignTaskView], error) {
	requests, _, err := s.Signs.Requests(ctx, sign.Filter{Build: in.Build, Before: in.Before, Limit: signTasksPage})
	if err != nil {
		return nil, err
	}
	out, err := s.ViewSignTasks(ctx, requests...)
	if err != nil {
		return nil, err
	}
	return rest.Answer(out), nil
}

type signTaskInput struct {
	ID int64 `path:"sign_task_id" minimum:"1"`
}

func (s *Resources) getSignTask(ctx context.Context, in *signTaskInput) (*rest.Body[SignTaskView], error) {
	r, err := s.Signs.Request(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return s.signTask(ctx, r)
}

type signBuildInput struct {
	Body struct {
		Build albs.BuildID `json:"build_id" minimum:"1"`
		KeyID int64        `json:"sign_key_id,omitempty" doc:"The key's id"`
		Key   string       `json:"sign_key,omitempty" doc:"Its fingerprint or name, in place of the id"`
	}
}

func (s *Resources) signBuild(ctx context.Context, in *signBuildInput) (*rest.Body[SignTaskView], error) {
	key := strings.TrimSpace(in.Body.Key)
	if (key == "") == (in.Body.KeyID == 0) {
		return nil, albs.Errorf(albs.Invalid, "give the key, either by body.sign_key_id or by body.sign_key")
	}
	if key == "" {
		var err error
		if key, err = s.keyByNumber(ctx, in.Body.KeyID); err != nil {
			return nil, err
		}
	}
	r, err := s.Signs.SignBuild(ctx, in.Body.Build, key)
	if err != nil {
		return nil, err
	}
	return s.signTask(ctx, r)
}

// keyByNumber returns the fingerprint of the one key with that id.
func (s *Resources) keyByNumber(ctx context.Context, n int64) (string, error) {
	keys, err := s.Signs.Keys(ctx)
	if err != nil {
		return "", err
	}
	found := ""
	for _, k := range keys {
		if keyNumber(k.Fingerprint) != n {
			continue
		}
		if found != "" {
			return "", albs.Errorf(albs.Conflict, "two keys have the id %d: give the fingerprint as body.sign_key", n)
		}
		found = k.Fingerprint
	}
	if found == "" {
		return "", albs.Errorf(albs.NotFound, "there is no key with id %d", n)
	}
	return found, nil
}
