package notary

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/git"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/provenance"
	"albs/internal/master/queue"
)

// Bounds of one repository.
const (
	maxHistory = 256 << 20 // bytes on the wire
	maxCommits = 20_000    // that led to one
	batch      = 200       // commits of one transaction
	maxParents = 1000
	maxText    = 200 // bytes of a name, a mail address or a title
	maxTold    = 5   // refs of a failure that are told one by one
	maxLooks   = 4   // at one ref
	maxAway    = 3   // refs, one after another, that something was away for
)

// errMoved has a ref looked at again: it isn't what it was, or another request has stated
// what it names.
var errMoved = albs.Errorf(albs.Unavailable, "the ref has moved, or another request was ahead")

// notarize is the master's own task. What a ref names is seen now, and by the master: the
// task's row tells what it named when that was asked for, and anyone who writes there could
// have it tell a commit of a fork, which hosts give by its id.
func (n *Notary) notarize(ctx context.Context, t queue.Task, log io.Writer) (albs.Result, error) {
	spec := *t.Spec.Notarize
	var done albs.NotarizeResult
	var failed []string
	var kind albs.Kind
	away := 0
	listed, err := n.listed(ctx, spec.URL)
	if err != nil {
		return albs.Result{}, err
	}
	names := make(map[string]string, len(listed))
	for _, r := range listed {
		names[r.Name] = r.Commit
	}
	for i, ref := range spec.Refs {
		asked := ref.Commit
		ref.Commit = names[ref.Name]
		fmt.Fprintf(log, "%s at %s (%d of %d refs)\n", ref.Name, cmp.Or(ref.Commit, "no commit"), i+1, len(spec.Refs))
		if ref.Commit != asked {
			fmt.Fprintf(log, "it named %s when that was asked for\n", asked)
		}
		err := n.follow(ctx, spec, ref, &done, log)
		switch k := albs.KindOf(err); k {
		case "":
			away = 0
			continue
		case albs.Invalid, albs.NotFound, albs.Forbidden, albs.TooLarge: // of this ref: others may be well
			away = 0
			kind = cmp.Or(kind, k)
		case albs.Unavailable: // they may be, too, and another attempt is worth it
			if away++; away == maxAway || ctx.Err() != nil {
				return albs.Result{}, err
			}
			kind = k
		default:
			return albs.Result{}, err
		}
		fmt.Fprintf(log, "%s: %v\n", ref.Name, err)
		failed = append(failed, fmt.Sprintf("%s: %v", ref.Name, err))
	}
	fmt.Fprintf(log, "%d commits and %d refs are stated\n", done.Commits, done.Refs)
	if len(failed) > 0 {
		more := ""
		if len(failed) > maxTold {
			more = fmt.Sprintf("; and %d more, which the log tells", len(failed)-maxTold)
		}
		return albs.Result{}, albs.Errorf(kind, "%d of %d refs were not notarized: %s%s", len(failed), len(spec.Refs), strings.Join(failed[:min(len(failed), maxTold)], "; "), more)
	}
	return albs.Result{Notarize: &done}, nil
}

// follow states what is new of one ref, which named a commit, or none, a while ago.
func (n *Notary) follow(ctx context.Context, spec albs.NotarizeSpec, ref albs.NamedRef, done *albs.NotarizeResult, log io.Writer) error {
	if ref.Commit == "" {
		return albs.Errorf(albs.NotFound, "%s has no such branch or tag any more", spec.URL)
	}
	for range maxLooks {
		err := n.ref(ctx, spec, ref, done, log)
		if !errors.Is(err, errMoved) {
			return err
		}
		if ref.Commit, _, err = n.Git.Resolve(ctx, spec.URL, ref.Name); err != nil {
			return err
		}
		fmt.Fprintf(log, "it has moved, or another request was ahead: %s at %s\n", ref.Name, ref.Commit)
	}
	return albs.Errorf(albs.Unavailable, "it has moved, or another request was ahead, each of the %d times that it was looked at", maxLooks)
}

// ref states what is new of one ref, or returns errMoved.
func (n *Notary) ref(ctx context.Context, spec albs.NotarizeSpec, ref albs.NamedRef, done *albs.NotarizeResult, log io.Writer) error {
	// The row first: head finds that another request was ahead by it.
	row, err := n.store.lastRef(ctx, n.DB, spec.URL, ref.Name)
	if err != nil {
		return err
	}
	last, err := n.before(ctx, spec.URL, ref.Name, row)
	if err != nil {
		return err
	}
	if last.Commit != row.Commit {
		fmt.Fprintf(log, "it named %s before, by the ledger; the database, which was changed, says %s\n", last.Commit, cmp.Or(row.Commit, "nothing of it"))
	}
	body := attest.CommitBody{
		Repository: provenance.GitURI(spec.URL), Ref: ref.Name, Requester: spec.Requester, Head: true, Previous: last.Commit,
	}
	again := last.Commit == ref.Commit
	if again {
		lacking, err := n.lacksUpstream(ctx, spec.URL, ref, last.SHA256)
		if err != nil {
			return err
		}
		if !lacking {
			fmt.Fprintln(log, "it names the commit that it named before")
			return nil
		}
		body.Previous = ""
	}
	if err := n.upstream(ctx, spec, ref, &body); err != nil {
		return err
	}
	if again && body.Upstream == nil {
		fmt.Fprintln(log, "it names the commit that it named before, whose upstream isn't notarized still")
		return nil
	}
	reached, err := n.Git.Ancestry(ctx, spec.URL, ref.Commit, git.Bounds{Commits: maxCommits, Bytes: maxHistory})
	if err != nil {
		return err
	}
	if body.Rewritten = body.Previous != "" && !slices.Contains(reached, body.Previous); body.Rewritten {
		// Another request may have looked later, and stated so before: to be behind it, this
		// look has to follow what was read of it.
		now, _, err := n.Git.Resolve(ctx, spec.URL, ref.Name)
		if err != nil {
			return err
		}
		if now != ref.Commit {
			return errMoved
		}
	}
	known, err := n.store.known(ctx, spec.URL, reached)
	if err != nil {
		return err
	}
	fresh := slices.DeleteFunc(slices.Clone(reached[1:]), func(c string) bool { return known[c] })
	slices.Reverse(fresh)
	for i := 0; i < len(fresh); i += batch {
		some := fresh[i:min(i+batch, len(fresh))]
		stated, err := n.states(ctx, spec, ref, some)
		if err != nil {
			return err
		}
		done.Commits += stated
		fmt.Fprintf(log, "%d of %d commits before it\n", i+len(some), len(fresh))
	}
	stated, err := n.head(ctx, spec, row, body, reached)
	if err != nil {
		return err
	}
	done.Commits += stated
	done.Refs++
	if body.Rewritten {
		done.Rewritten = append(done.Rewritten, ref.Name)
		fmt.Fprintf(log, "its history was rewritten: %s, which it named before, is no part of it\n", last.Commit)
	}
	return nil
}

// before returns what a ref named the last time, the zero body if it was never looked at.
// It is what was stated of the ref. Only where nothing was, as before there were such
// statements, it is the last row, of which SHA256 isn't known.
func (n *Notary) before(ctx context.Context, url, ref string, row refRow) (b attest.RefBody, err error) {
	said, err := n.Provenance.Stated(ctx, attest.RefSubject(provenance.GitURI(url), ref).File(), attest.Ref)
	if err != nil {
		return b, err
	}
	if len(said) == 0 {
		return attest.RefBody{Commit: row.Commit}, nil
	}
	err = said[len(said)-1].Body(&b)
	return b, err
}

// lacksUpstream reports whether what was stated last of a ref and its commit, the subject,
// says that upstream wasn't notarized.
func (n *Notary) lacksUpstream(ctx context.Context, url string, ref albs.NamedRef, subject albs.Digest) (lacking bool, err error) {
	if n.rules.of(ref.Name) == "" {
		return false, nil
	}
	if subject == "" {
		row, err := n.store.commit(ctx, url, ref.Commit)
		if err != nil {
			return false, err
		}
		subject = row.Subject
	}
	said, err := n.Provenance.Stated(ctx, subject, attest.Commit)
	if err != nil {
		return false, err
	}
	for _, s := range said {
		var b attest.CommitBody
		if err := s.Body(&b); err != nil {
			return false, err
		}
		if b.Repository == provenance.GitURI(url) && b.Ref == ref.Name && b.Head {
			lacking = b.WithoutUpstream != ""
		}
	}
	return lacking, nil
}

// upstream finds the commit that a changed tag's changes, which has to be notarized.
func (n *Notary) upstream(ctx context.Context, spec albs.NotarizeSpec, ref albs.NamedRef, body *attest.CommitBody) error {
	name := n.rules.of(ref.Name)
	if name == "" {
		return nil
	}
	why := ""
	commit, _, err := n.Git.Resolve(ctx, spec.URL, name)
	switch albs.KindOf(err) {
	case "":
	case albs.NotFound, albs.Invalid:
		why = fmt.Sprintf("%s, which it changes, isn't in the repository", name)
	default:
		return err
	}
	if why == "" {
		uri := provenance.GitURI(spec.URL)
		of := provenance.NamedCommit{Repository: uri, Commit: commit}
		found, err := n.Provenance.Commits(ctx, of)
		if err != nil {
			return err
		}
		// One on its way to the ledger is there before this one, which goes the same way behind it.
		if s := found[of]; s.Standing == provenance.Verified || s.Standing == provenance.Pending {
			record, err := n.recordOf(ctx, s.SHA256, uri)
			if err != nil {
				return err
			}
			body.Upstream = &attest.CommitLink{Repository: uri, Ref: name, Commit: commit, SHA256: s.SHA256, Record: record}
			return nil
		}
		why = fmt.Sprintf("commit %s of %s, which it changes, isn't notarized", commit, name)
	}
	if !spec.WithoutUpstream {
		return albs.Errorf(albs.Invalid, "%s: notarize that too, or go on without upstream knowingly", why)
	}
	body.WithoutUpstream = name
	return nil
}

// recordOf returns the key of ALBS's record of a commit, by the statements about it that
// the ledger has; "" if none names one.
func (n *Notary) recordOf(ctx context.Context, subject albs.Digest, repository string) (albs.Digest, error) {
	said, err := n.Provenance.Stated(ctx, subject, attest.Commit)
	if err != nil {
		return "", err
	}
	for _, s := range said {
		var b attest.CommitBody
		if err := s.Body(&b); err != nil {
			return "", err
		}
		if b.Repository == repository && b.Record != "" {
			return b.Record, nil
		}
	}
	return "", nil
}

// states states commits that aren't what a ref names, and returns of how many nothing was
// stated before.
func (n *Notary) states(ctx context.Context, spec albs.NotarizeSpec, ref albs.NamedRef, commits []string) (stated int, err error) {
	type seen struct {
		git.Commit
		subject albs.Digest
	}
	var all []seen
	err = n.Git.Objects(ctx, spec.URL, ref.Commit, commits, func(c git.Commit, raw []byte) error {
		all = append(all, seen{c, albs.DigestOf(raw)})
		return checkParents(c)
	})
	if err != nil {
		return 0, err
	}
	err = n.DB.InTx(ctx, func(tx db.Tx) error {
		stated = 0
		for _, c := range all {
			added, err := n.store.addCommit(ctx, tx, rowOf(spec.URL, ref.Name, c.Commit, c.subject))
			if err != nil {
				return err
			}
			if !added { // by another master, or another request
				continue
			}
			stated++
			body := attest.CommitBody{Repository: provenance.GitURI(spec.URL), Ref: ref.Name, Requester: spec.Requester}
			if err := n.state(ctx, tx, spec.URL, c.Commit, c.subject, body); err != nil {
				return err
			}
		}
		return nil
	})
	return stated, err
}

// head states what a ref names, with ALBS's record of it, or returns errMoved if there is
// another last row of the ref than last.
func (n *Notary) head(ctx context.Context, spec albs.NotarizeSpec, last refRow, body attest.CommitBody, reached []string) (stated int, err error) {
	var c git.Commit
	var subject albs.Digest
	err = n.Git.Objects(ctx, spec.URL, reached[0], reached[:1], func(g git.Commit, raw []byte) error {
		c, subject = g, albs.DigestOf(raw)
		return checkParents(g)
	})
	if err != nil {
		return 0, err
	}
	record, err := n.record(ctx, spec.URL, c, reached[1:], body.Upstream)
	if err != nil {
		return 0, err
	}
	var records []provenance.Record
	if record != nil {
		records, body.Record = []provenance.Record{*record}, record.Key
	}
	err = n.DB.InTx(ctx, func(tx db.Tx) error {
		stated = 0
		now, err := n.store.lastRef(ctx, tx, spec.URL, body.Ref)
		if err != nil {
			return err
		}
		if now.ID != last.ID {
			return errMoved
		}
		added, err := n.store.addCommit(ctx, tx, rowOf(spec.URL, body.Ref, c, subject))
		if err != nil {
			return err
		}
		if added {
			stated = 1
		}
		if err := n.store.addRef(ctx, tx, refRow{
			Repository: spec.URL, Ref: body.Ref, Commit: c.ID, Previous: body.Previous, Rewritten: body.Rewritten, Actor: spec.Requester, At: db.Now(),
		}); err != nil {
			return err
		}
		if err := n.state(ctx, tx, spec.URL, c, subject, body, records...); err != nil {
			return err
		}
		if err := n.Provenance.State(ctx, tx, provenance.Fact{
			Subjects: []attest.Subject{attest.RefSubject(body.Repository, body.Ref)}, Predicate: attest.Ref, Body: attest.RefBody{
				Repository: body.Repository, Ref: body.Ref, Commit: c.ID, SHA256: subject, Previous: body.Previous, Rewritten: body.Rewritten, Requester: spec.Requester,
			},
		}); err != nil {
			return err
		}
		return n.Events.Add(ctx, tx, "source.notarized", Topic, auth.From(ctx).String(), map[string]any{
			"repository": spec.URL, "ref": body.Ref, "commit": c.ID, "previous": body.Previous, "rewritten": body.Rewritten, "requester": spec.Requester,
			"without_upstream": body.WithoutUpstream,
		})
	})
	return stated, err
}

// record returns ALBS's record of a commit, nil if there can be none: for its people can't
// be told, or it has too long a history for the ledger's values.
func (n *Notary) record(ctx context.Context, url string, c git.Commit, ancestors []string, upstream *attest.CommitLink) (*provenance.Record, error) {
	text, err := RecordText(c, ancestors)
	if err != nil {
		return nil, nil //nolint:nilerr // others' form can't hold it; the statement does
	}
	files, err := n.Git.List(ctx, url, c.ID)
	if err != nil {
		return nil, err
	}
	r := provenance.Record{Key: albs.DigestOf(text), Name: recordName(url, c.ID), Kind: recordKind}
	for _, f := range files {
		r.Size += f.Size
	}
	metadata := map[string]any{"git": json.RawMessage(text), "sbom_api_ver": "0.2"}
	if upstream != nil && upstream.Record != "" {
		metadata["upstream_commit_sbom_hash"] = upstream.Record
	}
	r.Metadata = metadata
	if !r.Fits() {
		return nil, nil
	}
	return &r, nil
}

// state fills body with what the commit says and states it.
func (n *Notary) state(ctx context.Context, tx db.Tx, url string, c git.Commit, subject albs.Digest, body attest.CommitBody, records ...provenance.Record) error {
	body.Tree, body.Parents = c.Tree, c.Parents
	body.Author, body.Committer = personOf(c.Author), personOf(c.Committer)
	return n.Provenance.State(ctx, tx, provenance.Fact{
		Subjects:  []attest.Subject{{Name: nameOf(url, c.ID), Digest: map[string]string{attest.SHA256: string(subject), attest.GitCommit: c.ID}}},
		Predicate: attest.Commit, Body: body, Records: records,
	})
}

func checkParents(c git.Commit) error {
	if len(c.Parents) > maxParents {
		return albs.Errorf(albs.TooLarge, "commit %s has %d parents, at most %d are taken", c.ID, len(c.Parents), maxParents)
	}
	return nil
}

func personOf(p git.Person) attest.CommitPerson {
	return attest.CommitPerson{Name: short(p.Name), Email: short(p.Email), When: p.When.UTC().Truncate(time.Second)}
}

func rowOf(url, ref string, c git.Commit, subject albs.Digest) commitRow {
	title, _, _ := strings.Cut(strings.TrimSpace(c.Message), "\n")
	return commitRow{
		Repository: url, Commit: c.ID, Subject: subject, Ref: ref, Author: short(c.Author.Name + " <" + c.Author.Email + ">"), Title: short(title),
		CommittedAt: db.At(c.Committer.When), NotarizedAt: db.Now(),
	}
}

// short bounds a text of people and leaves nothing in it that moves a cursor.
func short(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "…"
	}
	return s
}
