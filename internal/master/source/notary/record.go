package notary

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"albs/internal/albs"
	"albs/internal/git"
)

// ALBS's tools keep a record of a commit under the sha256 of the exact text that Python's
// json.dumps gives for what GitPython says of it. "Parents" there are all that came before
// the commit, in the order of git rev-list; the repository's URL is no part of it.

// gitRecord is that text's content, in its order.
type gitRecord struct {
	Author       gitPerson `json:"Author"`
	Commit       string    `json:"Commit"`
	Committer    gitPerson `json:"Committer"`
	Message      string    `json:"Message"`
	PGPSignature string    `json:"PGPSignature"`
	Parents      []string  `json:"Parents"`
	Tree         string    `json:"Tree"`
}

type gitPerson struct {
	Email string `json:"Email"`
	Name  string `json:"Name"`
	When  string `json:"When"`
}

// whenForm is Python's %Y-%m-%dT%H:%M:%S%z.
const whenForm = "2006-01-02T15:04:05-0700"

// RecordText returns the text whose sha256 is the key of ALBS's record of c, before which
// came all of ancestors, the newest first. Invalid if author or committer are not spelled
// as git spells them, for then it can't be told what others would make of them.
func RecordText(c git.Commit, ancestors []string) ([]byte, error) {
	r := gitRecord{Commit: c.ID, Message: c.Message, PGPSignature: c.Signature, Parents: append([]string{}, ancestors...), Tree: c.Tree}
	for from, to := range map[*git.Person]*gitPerson{&c.Author: &r.Author, &c.Committer: &r.Committer} {
		if from.When.IsZero() || from.When.Year() < 1970 || from.Email == "" {
			return nil, albs.Errorf(albs.Invalid, "commit %s names %.80q without a mail address or a time", c.ID, from.Name)
		}
		*to = gitPerson{Email: from.Email, Name: from.Name, When: from.When.Format(whenForm)}
	}
	return r.text(), nil
}

// text spells r as json.dumps does.
func (r gitRecord) text() []byte {
	var b bytes.Buffer
	person := func(p gitPerson) {
		b.WriteString(`{"Email": ` + pyString(p.Email) + `, "Name": ` + pyString(p.Name) + `, "When": ` + pyString(p.When) + `}`)
	}
	b.WriteString(`{"Author": `)
	person(r.Author)
	b.WriteString(`, "Commit": ` + pyString(r.Commit) + `, "Committer": `)
	person(r.Committer)
	b.WriteString(`, "Message": ` + pyString(r.Message) + `, "PGPSignature": ` + pyString(r.PGPSignature) + `, "Parents": [`)
	for i, p := range r.Parents {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(pyString(p))
	}
	b.WriteString(`], "Tree": ` + pyString(r.Tree) + `}`)
	return b.Bytes()
}

// pyString spells a string as json.dumps does with ensure_ascii: everything beyond
// printable ASCII is escaped, beyond the basic plane as a pair of surrogates.
func pyString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\b':
			b.WriteString(`\b`)
		case r == '\f':
			b.WriteString(`\f`)
		case r >= ' ' && r <= '~':
			b.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// ReadRecord reads ALBS's record of a commit, the value that stands in the ledger under
// key, and returns the commit that it is of and its upstream's record key, "" if it names
// none. Invalid unless what it says of the commit is what key was made of. That the commit
// is so is not checked: that takes its repository.
func ReadRecord(key albs.Digest, value []byte) (commit string, upstream albs.Digest, err error) {
	var v struct {
		Kind     string `json:"Kind"`
		Metadata struct {
			Git      gitRecord   `json:"git"`
			Upstream albs.Digest `json:"upstream_commit_sbom_hash"`
		} `json:"Metadata"`
	}
	if err := json.Unmarshal(value, &v); err != nil {
		return "", "", albs.Errorf(albs.Invalid, "read a git record: %w", err)
	}
	if v.Kind != recordKind || albs.DigestOf(v.Metadata.Git.text()) != key {
		return "", "", albs.Errorf(albs.Invalid, "the record under %s is not that of a git commit, or was made of something else", key)
	}
	return v.Metadata.Git.Commit, v.Metadata.Upstream, nil
}

const recordKind = "git"

// recordName is what ALBS calls a commit of a repository: git@HOST:PATH@COMMIT.
func recordName(url, commit string) string {
	host, at, _ := strings.Cut(strings.TrimPrefix(url, "https://"), "/")
	return "git@" + host + ":" + at + "@" + commit[:min(7, len(commit))]
}

// nameOf is what statements call a commit of a repository.
func nameOf(url, commit string) string {
	return strings.TrimSuffix(path.Base(strings.TrimRight(url, "/")), ".git") + "@" + commit
}
