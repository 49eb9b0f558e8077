package attest

import (
	"fmt"
	"slices"
	"time"

	"albs/internal/albs"
)

// Commit is the short name of the predicate of git commits. The subject's sha256 is that
// of the commit's object as git cat-file prints it, and its gitCommit git's own name.
const Commit = "commit"

const commitType = "urn:albs:predicate:commit:v1"

// CommitBody says what the master saw of a commit, where, and who had it look.
type CommitBody struct {
	Repository string       `json:"repository"` // git+https://…
	Ref        string       `json:"ref"`        // whose history has it, by its full name
	Tree       string       `json:"tree"`
	Parents    []string     `json:"parents,omitempty"`
	Author     CommitPerson `json:"author"`    // by the commit's own word, as is all of these two
	Committer  CommitPerson `json:"committer"` //
	Requester  string       `json:"requester"`
	// Head tells that Ref named the commit, and was looked at for its own sake; the rest is
	// of such statements alone.
	Head bool `json:"head,omitempty"`
	// Previous is the commit that Ref named the last time that it was looked at. If that
	// isn't among what came before this one, history was Rewritten.
	Previous  string `json:"previous,omitempty"`
	Rewritten bool   `json:"rewritten,omitempty"`
	// Upstream is the commit that this one changes. Where one should be and isn't
	// notarized, WithoutUpstream is the ref that it should have: the requester went on
	// without, knowingly.
	Upstream        *CommitLink `json:"upstream,omitempty"`
	WithoutUpstream string      `json:"without_upstream,omitempty"`
	// Record is the key under which ALBS's record of the commit stands in the ledger; "" if
	// none was written.
	Record albs.Digest `json:"record,omitempty"`
}

// CommitPerson is an author or a committer.
type CommitPerson struct {
	Name  string    `json:"name"`
	Email string    `json:"email"`
	When  time.Time `json:"when,omitzero"`
}

// CommitLink names another commit that is notarized.
type CommitLink struct {
	Repository string      `json:"repository"`
	Ref        string      `json:"ref"`
	Commit     string      `json:"commit"`
	SHA256     albs.Digest `json:"sha256"` // the subject of its statement
	Record     albs.Digest `json:"record,omitempty"`
}

// RefBody says what a branch or tag named when it was looked at. Its subject is
// RefSubject's, so that the statements of one ref are numbered and none of them can go
// unseen; each is made with a CommitBody of a Head.
type RefBody struct {
	Repository string      `json:"repository"` // git+https://…
	Ref        string      `json:"ref"`        // by its full name
	Commit     string      `json:"commit"`
	SHA256     albs.Digest `json:"sha256"` // the subject of the commit's statement
	// Previous and Rewritten are those of the CommitBody.
	Previous  string `json:"previous,omitempty"`
	Rewritten bool   `json:"rewritten,omitempty"`
	Requester string `json:"requester"`
}

// RefSubject returns a ref of a repository as the subject of a Ref statement: its name for
// people, and the sha256 of a text of the repository, as git+https://…, and the ref's full
// name.
func RefSubject(repository, ref string) Subject {
	text := fmt.Sprintf("albs-ref/v1\n%s\n%s\n", repository, ref)
	return Subject{Name: ref, Digest: map[string]string{SHA256: string(albs.DigestOf([]byte(text)))}}
}

// check holds what the chain relies on.
func (b CommitBody) check(f *fact) error {
	bad := !validCommit(b.Tree) || slices.ContainsFunc(b.Parents, func(p string) bool { return !validCommit(p) }) ||
		b.Upstream != nil && (!validCommit(b.Upstream.Commit) || !b.Upstream.SHA256.Valid())
	if bad {
		return broken(LinkChain, "%s doesn't name tree, parents or upstream of the commit in full", f.key)
	}
	return nil
}

// committed looks at the commit statements of what a source statement names, and tells
// whether there are any.
func (c *chain) committed(s SourceBody) (found bool, err error) {
	for _, f := range c.facts {
		if f.predicate != Commit || f.subject().Digest[GitCommit] != s.Commit {
			continue
		}
		var b CommitBody
		if err := f.read(&b); err != nil {
			return found, err
		}
		if b.Repository != s.Repository { // a commit may be in many: this one says nothing of where it came from
			continue
		}
		if err := b.check(f); err != nil {
			return found, err
		}
		found = true
		if f.used { // another build of the same commit
			continue
		}
		more := ""
		if b.Upstream != nil {
			more = ", changed from upstream commit " + b.Upstream.Commit
		}
		if b.WithoutUpstream != "" {
			more += ", without a notarized upstream"
		}
		if b.Rewritten {
			more += ", after the history of the ref was rewritten"
		}
		c.step(f, LinkChain, "commit %s by %q is notarized, in %s%s", s.Commit, b.Author.Name, b.Ref, more)
	}
	return found, nil
}
