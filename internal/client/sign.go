package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"albs/internal/albs"
)

// Key is the public part of a signing key.
type Key struct {
	Name        string    `json:"name"`
	Fingerprint string    `json:"fingerprint"`
	UserID      string    `json:"user_id"`
	Algorithm   string    `json:"algorithm"`
	Products    []string  `json:"products"`
	Active      bool      `json:"active"`
	Created     time.Time `json:"created_at"`
	Subkey      string    `json:"subkey"` // fingerprint of the subkey that signs, "" if the key does
	Kept        string    `json:"kept"`   // file, token or ""
	NotBefore   time.Time `json:"not_before"`
	NotAfter    time.Time `json:"not_after"`
	Revoked     time.Time `json:"revoked_at"`
	Unusable    string    `json:"unusable"` // why it signs nothing now
}

// Key returns a key by its name or fingerprint, or NotFound.
func (c *Client) Key(ctx context.Context, key string) (Doc[Key], error) {
	return get[Key](ctx, c, "/sign-keys/"+url.PathEscape(key)+"/")
}

// KeyPackages is what products show of the packages that a key signed.
type KeyPackages struct {
	Total    int `json:"total"`
	Packages []struct {
		Product    string      `json:"product"`
		Repository string      `json:"repository"`
		NEVRA      string      `json:"nevra"`
		Digest     albs.Digest `json:"sha256"`
	} `json:"packages"`
}

// KeyPackages lists the packages signed with a key that products show now.
func (c *Client) KeyPackages(ctx context.Context, key string) (Doc[KeyPackages], error) {
	return get[KeyPackages](ctx, c, "/sign-keys/"+url.PathEscape(key)+"/packages")
}

// Revocation is a wish that a key ends.
type Revocation struct {
	Task        albs.TaskID    `json:"task_id"`
	State       albs.TaskState `json:"state"`
	StateReason string         `json:"state_reason"`
	Fingerprint string         `json:"fingerprint"`
	Reason      string         `json:"reason"`
	Text        string         `json:"text"`
}

// RevokeKey has the signer revoke a key: compromised, superseded or retired, and words
// for people.
func (c *Client) RevokeKey(ctx context.Context, key, reason, text string) (Doc[Revocation], error) {
	return send[Revocation](ctx, c, http.MethodPost, "/sign-keys/"+url.PathEscape(key)+"/revoke", map[string]string{"reason": reason, "text": text})
}

// Revocation returns where the revocation of a key stands, or NotFound.
func (c *Client) Revocation(ctx context.Context, key string) (Doc[Revocation], error) {
	return get[Revocation](ctx, c, "/sign-keys/"+url.PathEscape(key)+"/revocation")
}

// Keys lists all keys by name.
func (c *Client) Keys(ctx context.Context) (Doc[[]Key], error) {
	return get[[]Key](ctx, c, "/sign-keys/")
}

// Keygen is a wish for a key.
type Keygen struct {
	Task        albs.TaskID    `json:"task_id"`
	Name        string         `json:"name"`
	State       albs.TaskState `json:"state"`
	Reason      string         `json:"reason"`
	Fingerprint string         `json:"fingerprint"` // "" until the key is there
}

// NewKey asks for a key.
type NewKey struct {
	Name      string   `json:"name"`
	UserID    string   `json:"user_id"`
	Algorithm string   `json:"algorithm"`          // rsa4096 or ed25519
	Products  []string `json:"products,omitempty"` // none for all

	Subkey    bool      `json:"subkey,omitempty"`
	NotBefore time.Time `json:"not_before,omitzero"`
	NotAfter  time.Time `json:"not_after,omitzero"`
}

// GenerateKey has a signer make a key that never leaves it.
func (c *Client) GenerateKey(ctx context.Context, n NewKey) (Doc[Keygen], error) {
	return send[Keygen](ctx, c, http.MethodPost, "/sign-keys/generate", n)
}

// Keygen returns where the making of a key stands.
func (c *Client) Keygen(ctx context.Context, task albs.TaskID) (Doc[Keygen], error) {
	return get[Keygen](ctx, c, "/sign-keys/generate/"+task.String()+"/")
}

const maxPublicKey = 64 << 10

// PublicKey downloads a key's public part, ASCII-armored; key is its name or
// fingerprint.
func (c *Client) PublicKey(ctx context.Context, key string) ([]byte, error) {
	return c.Document(ctx, "/sign-keys/"+url.PathEscape(key)+"/public", "application/pgp-keys", maxPublicKey)
}

// The statuses of a SignTask.
const (
	SignIdle       = 1
	SignInProgress = 2
	SignCompleted  = 3
	SignFailed     = 4
)

// SignTask is a request to have a build signed.
type SignTask struct {
	ID        int64        `json:"id"`
	Build     albs.BuildID `json:"build_id"`
	Key       Key          `json:"sign_key"`
	Status    int          `json:"status"` // one of the Sign constants
	Reason    string       `json:"error_message"`
	Requester string       `json:"requester"`
	Created   time.Time    `json:"created_at"`
	Approvals []Approval   `json:"approvals"`
	Needed    int          `json:"approvals_needed"` // 0 where nobody has to
	Packages  []struct {
		Name     string      `json:"name"`
		Unsigned albs.Digest `json:"sha256"`
		Signed   albs.Digest `json:"signed_sha256"` // "" until it is signed
	} `json:"packages"`
}

// SignBuild asks for all packages of a build to be signed with a key, by its name
// or fingerprint.
func (c *Client) SignBuild(ctx context.Context, id albs.BuildID, key string) (Doc[SignTask], error) {
	return send[SignTask](ctx, c, http.MethodPost, "/sign-tasks/", map[string]any{"build_id": id, "sign_key": key})
}

// SignTask returns a request to sign a build, or NotFound.
func (c *Client) SignTask(ctx context.Context, id int64) (Doc[SignTask], error) {
	return get[SignTask](ctx, c, "/sign-tasks/"+strconv.FormatInt(id, 10)+"/")
}
