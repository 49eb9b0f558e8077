package git

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"

	"albs/internal/albs"
)

// Bounds of what is read of commits and refs.
const (
	maxObject  = 256 << 10 // bytes of the object of one commit
	objects    = 64        // objects that one git gives
	maxRefList = 16 << 20  // bytes of the names of all refs
)

// Ref is a branch or a tag of a repository, by its full name. Commit is what it names,
// a tag's target if that is one; whether it is a commit shows when it is fetched.
type Ref struct {
	Name   string
	Type   RefType
	Commit string
}

// Refs returns all branches and tags that the repository at url has now, as it lists
// them. Names that ValidRef refuses are among them. It fails as Resolve does, and with
// TooLarge if the list has more than 16 MiB.
func (m *Mirrors) Refs(ctx context.Context, url string) ([]Ref, error) {
	if err := m.check(url); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err := m.remote(ctx, url, remoteTimeout, maxAdvert, command{
		args: []string{"ls-remote", "--quiet", "--end-of-options", url, "refs/heads/*", "refs/tags/*"}, stdout: &out, limit: maxRefList,
	})
	if err != nil {
		return nil, err
	}
	var refs []Ref
	byName := map[string]int{}
	for line := range strings.Lines(out.String()) {
		id, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if !ok || !validCommit(id) {
			continue
		}
		if of, peeled := strings.CutSuffix(name, "^{}"); peeled {
			if i, ok := byName[of]; ok {
				refs[i].Commit = id
			}
			continue
		}
		r := Ref{Name: name, Type: RefBranch, Commit: id}
		switch {
		case strings.HasPrefix(name, "refs/tags/"):
			r.Type = RefTag
		case !strings.HasPrefix(name, "refs/heads/"):
			continue // matched by its tail alone
		}
		byName[name] = len(refs)
		refs = append(refs, r)
	}
	return refs, nil
}

// Ancestry returns commit and all that came before it, in the order of git rev-list: the
// newest first. It fails as History does.
func (m *Mirrors) Ancestry(ctx context.Context, url, commit string, most Bounds) ([]string, error) {
	dir, err := m.ensure(ctx, url, commit)
	if err != nil {
		return nil, err
	}
	unlock, err := m.lock(ctx, mirrorName(url)) // see History
	if err != nil {
		return nil, err
	}
	defer unlock()
	return m.whole(ctx, dir, url, commit, most)
}

// Objects hands the objects of commits, which Ancestry has listed of head, to take in
// their order, each as git cat-file prints it and checked against its id. NotFound is a
// commit that the mirror doesn't have, TooLarge one of more than 256 KiB; an error of take
// ends it.
func (m *Mirrors) Objects(ctx context.Context, url, head string, commits []string, take func(Commit, []byte) error) error {
	dir, err := m.ensure(ctx, url, head)
	if err != nil {
		return err
	}
	for _, c := range commits {
		if !validCommit(c) {
			return albs.Errorf(albs.Invalid, "%.80q is not a full commit id (40 lower-case hex digits)", c)
		}
	}
	for len(commits) > 0 {
		some := commits[:min(objects, len(commits))]
		commits = commits[len(some):]
		if err := m.objects(ctx, dir, some, take); err != nil {
			return fmt.Errorf("read commits of %s: %w", url, err)
		}
	}
	return nil
}

func (m *Mirrors) objects(ctx context.Context, dir string, commits []string, take func(Commit, []byte) error) error {
	var out bytes.Buffer
	err := m.local(ctx, dir, command{
		args:  []string{"cat-file", "--batch"},
		stdin: strings.NewReader(strings.Join(commits, "\n") + "\n"), stdout: &out, limit: int64(len(commits)) * maxObject,
	})
	if err != nil {
		return err
	}
	rest := out.Bytes()
	for _, id := range commits {
		c, raw, after, err := readObject(id, rest)
		if err != nil {
			return err
		}
		if err := take(c, raw); err != nil {
			return err
		}
		rest = after
	}
	return nil
}

// readObject reads one answer of git cat-file --batch: id SP type SP size LF object LF.
func readObject(id string, b []byte) (c Commit, raw, rest []byte, err error) {
	head, body, ok := bytes.Cut(b, []byte("\n"))
	facts := strings.Fields(string(head))
	if !ok || len(facts) != 3 || facts[0] != id || facts[1] != "commit" {
		return c, nil, nil, albs.Errorf(albs.NotFound, "there is no commit %s", id)
	}
	size, err := strconv.Atoi(facts[2])
	if err != nil || size < 0 || size >= len(body) || body[size] != '\n' {
		return c, nil, nil, albs.Errorf(albs.Internal, "git's answer about commit %s is not of the known form", id)
	}
	if size > maxObject {
		return c, nil, nil, albs.Errorf(albs.TooLarge, "commit %s has %d bytes, %d are taken", id, size, maxObject)
	}
	raw = body[:size:size]
	c, err = ParseCommit(id, raw)
	return c, raw, body[size+1:], err
}
