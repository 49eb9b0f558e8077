package client

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"albs/internal/albs"
)

// Me returns the account whose token the client has.
func (c *Client) Me(ctx context.Context) (User, error) {
	doc, err := get[User](ctx, c, "/whoami")
	return doc.Value, err
}

// UserKey is the public part of a key by which a person signs approvals.
type UserKey struct {
	ID          int64     `json:"id"`
	KeyID       string    `json:"keyid"`
	Fingerprint string    `json:"fingerprint"` // as ssh-keygen -l prints it
	Public      string    `json:"public"`
	Created     time.Time `json:"created_at"`
	Removed     time.Time `json:"removed_at"` // zero while it counts
}

// UserKeys lists a person's keys.
func (c *Client) UserKeys(ctx context.Context, user albs.UserID) (Doc[[]UserKey], error) {
	return get[[]UserKey](ctx, c, fmt.Sprintf("/users/%d/keys/", user))
}

// AddUserKey registers a key by its public line.
func (c *Client) AddUserKey(ctx context.Context, user albs.UserID, public string) (Doc[UserKey], error) {
	return send[UserKey](ctx, c, http.MethodPost, fmt.Sprintf("/users/%d/keys/", user), map[string]string{"public": public})
}

// RemoveUserKey ends the use of a key.
func (c *Client) RemoveUserKey(ctx context.Context, id int64) error {
	return c.Send(ctx, http.MethodDelete, fmt.Sprintf("/user-keys/%d/", id), nil, nil)
}

// Approvable is what people approve: a release, a request to sign a build, or a file that
// is to be signed.
type Approvable struct {
	Subject string // as its approvals name it, "release:3"
	path    string
}

// ApprovableRelease is a release's plan.
func ApprovableRelease(id albs.ReleaseID) Approvable {
	return Approvable{fmt.Sprintf("release:%d", id), fmt.Sprintf("/releases/%d/", id)}
}

// ApprovableRequest is a request to sign a build.
func ApprovableRequest(id int64) Approvable {
	return Approvable{fmt.Sprintf("sign:%d", id), fmt.Sprintf("/sign-tasks/%d/", id)}
}

// ApprovableFile is a file that is to be signed.
func ApprovableFile(id albs.TaskID) Approvable {
	return Approvable{fmt.Sprintf("file:%d", id), fmt.Sprintf("/sign-files/%d/", id)}
}

// Approvals is how far the approval of something is.
type Approvals struct {
	Digest    albs.Digest `json:"digest"`
	Approvals []Approval  `json:"approvals"`
	Needed    int         `json:"approvals_needed"`
}

// Approval is one person's word.
type Approval struct {
	Name   string    `json:"username"`
	At     time.Time `json:"at"`
	Signed bool      `json:"signed"` // by the person's own key
}

// Approvals returns how far the approval of something is.
func (c *Client) Approvals(ctx context.Context, a Approvable) (Doc[Approvals], error) {
	return get[Approvals](ctx, c, a.path)
}

// Effects downloads what something comes to: the bytes that its digest is of.
func (c *Client) Effects(ctx context.Context, a Approvable, limit int64) ([]byte, error) {
	return c.Document(ctx, a.path+"effects/", jsonType, limit)
}

// ApproveSigned approves by an envelope that the person's own key signed.
func (c *Client) ApproveSigned(ctx context.Context, a Approvable, digest albs.Digest, envelope []byte) (Doc[Approvals], error) {
	return send[Approvals](ctx, c, http.MethodPost, a.path+"approve/", map[string]string{"digest": string(digest), "envelope": string(envelope)})
}

// SignedFile is a file that people have signed, or want to.
type SignedFile struct {
	Task      albs.TaskID    `json:"task_id"`
	State     albs.TaskState `json:"state"`
	Reason    string         `json:"reason"`
	Name      string         `json:"name"`
	SHA256    albs.Digest    `json:"sha256"`
	Key       string         `json:"key"`
	Product   string         `json:"product"`
	SignType  string         `json:"sign_type"`
	Requester string         `json:"requester"`
	Created   time.Time      `json:"created_at"`
	Signed    bool           `json:"signed"`
	Needed    int            `json:"approvals_needed"`
	Approvals []Approval     `json:"approvals"`
}

// NewSignedFile asks for a file's signature.
type NewSignedFile struct {
	Name, Key, Product string
	Clear              bool
	Content            []byte
}

// SignFile asks for a file to be signed, and returns how far that is.
func (c *Client) SignFile(ctx context.Context, n NewSignedFile) (Doc[SignedFile], error) {
	q := url.Values{"name": {n.Name}, "keyid": {n.Key}}
	set(q, "product", n.Product)
	if n.Clear {
		q.Set("sign_type", "clear-sign")
	}
	var out Doc[SignedFile]
	err := c.Upload(ctx, "/sign-files/?"+q.Encode(), bytes.NewReader(n.Content), int64(len(n.Content)), &out)
	return out, err
}

// SignedFile returns how far the signature of a file is.
func (c *Client) SignedFile(ctx context.Context, id albs.TaskID) (Doc[SignedFile], error) {
	return get[SignedFile](ctx, c, fmt.Sprintf("/sign-files/%d/", id))
}

// SignedFiles lists files that people have signed, the newest first, of product if it isn't
// "", and below the task before if it isn't 0.
func (c *Client) SignedFiles(ctx context.Context, product string, before albs.TaskID) (Doc[[]SignedFile], error) {
	q := url.Values{}
	set(q, "product", product)
	if before != 0 {
		q.Set("before", strconv.FormatInt(int64(before), 10))
	}
	return get[[]SignedFile](ctx, c, "/sign-files/?"+q.Encode())
}

// FileSignature downloads a file's signature, or its clear-signed copy.
func (c *Client) FileSignature(ctx context.Context, id albs.TaskID, limit int64) ([]byte, error) {
	return c.Document(ctx, fmt.Sprintf("/sign-files/%d/signature", id), "text/plain", limit)
}

// FileContent downloads a file that is to be signed.
func (c *Client) FileContent(ctx context.Context, id albs.TaskID, limit int64) ([]byte, error) {
	return c.Document(ctx, fmt.Sprintf("/sign-files/%d/content", id), "application/octet-stream", limit)
}

// AllowedFile is a file on a product's list of what its keys may sign.
type AllowedFile struct {
	SHA256 albs.Digest `json:"sha256"`
	Name   string      `json:"name"`
	Note   string      `json:"note"`
	By     string      `json:"username"`
	At     time.Time   `json:"at"`
}

func allowedPath(product string) string {
	return "/products/" + url.PathEscape(product) + "/sign-allowed/"
}

// AllowedFiles returns a product's list.
func (c *Client) AllowedFiles(ctx context.Context, product string) (Doc[[]AllowedFile], error) {
	return get[[]AllowedFile](ctx, c, allowedPath(product))
}

// AllowFile puts a file on a product's list.
func (c *Client) AllowFile(ctx context.Context, product, name string, d albs.Digest, note string) (Doc[[]AllowedFile], error) {
	return send[[]AllowedFile](ctx, c, http.MethodPost, allowedPath(product), map[string]string{"sha256": string(d), "name": name, "note": note})
}

// DisallowFile takes a file off a product's list.
func (c *Client) DisallowFile(ctx context.Context, product string, d albs.Digest) (Doc[[]AllowedFile], error) {
	return send[[]AllowedFile](ctx, c, http.MethodDelete, allowedPath(product)+url.PathEscape(string(d))+"/", nil)
}
