package attest

import (
	"fmt"

	"albs/internal/albs"
)

// Stater returns the role whose own key signs statements of a predicate. Those that tell
// of what signer and releaser do are theirs; all others are the master's.
func Stater(predicate string) albs.Role {
	switch predicate {
	case Sign:
		return albs.RoleSigner
	case Release, VSA:
		return albs.RoleReleaser
	}
	return albs.RoleMaster
}

// WorkerKeyBody says which key signs the statements of a signer or a releaser from now
// on, or, without one, that the last was forgotten: then the next that the worker tells
// is kept. Its subject is WorkerSubject's.
type WorkerKeyBody struct {
	Worker string        `json:"worker"` // its name
	ID     albs.WorkerID `json:"id"`
	Role   albs.Role     `json:"role"`
	Key    string        `json:"key,omitempty"` // as PublicKey spells it
	By     string        `json:"by,omitempty"`  // the person who had it forgotten
}

// WorkerSubject returns the identity of a worker as the subject of a WorkerKey
// statement: the name for people, and the sha256 of a text of role, id and name.
func WorkerSubject(role albs.Role, id albs.WorkerID, name string) Subject {
	text := fmt.Sprintf("albs-worker/v1\n%s\n%d\n%s\n", role, id, name)
	return Subject{Name: name, Digest: map[string]string{SHA256: string(albs.DigestOf([]byte(text)))}}
}
