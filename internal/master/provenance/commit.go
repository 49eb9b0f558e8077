package provenance

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/ledger"
)

// GitURI returns how statements spell the repository at a URL.
func GitURI(url string) string { return "git+" + url }

// NamedCommit is a git commit of a repository, as statements spell it.
type NamedCommit struct {
	Repository string // git+https://…
	Commit     string // in full
}

// CommitStanding says how far it can be believed that a commit is notarized.
type CommitStanding struct {
	Standing Standing    // Verified, if one statement is
	Trouble  string      // of one that failed
	SHA256   albs.Digest // of the commit's object, which the statements are about; "" if there are none
}

// maxVerified bounds the commits that are remembered as verified: some 30 MB.
const maxVerified = 200_000

// Commits returns how far it can be believed of each commit that it is notarized, of
// that repository. What was proven once since this process began is not proven again, for
// the trusted state only ever advances. Anyone may ask.
func (p *Provenance) Commits(ctx context.Context, wanted ...NamedCommit) (map[NamedCommit]CommitStanding, error) {
	state, err := p.advance(ctx)
	if err != nil {
		return nil, err
	}
	out := make(map[NamedCommit]CommitStanding, len(wanted))
	var unknown []string
	p.mu.Lock()
	for _, w := range wanted {
		if d, ok := p.verified[w]; ok {
			out[w] = CommitStanding{Standing: Verified, SHA256: d}
			continue
		}
		out[w] = CommitStanding{Standing: Missing}
		unknown = append(unknown, w.Commit)
	}
	p.mu.Unlock()
	slices.Sort(unknown)
	unknown = slices.Compact(unknown)
	for some := range slices.Chunk(unknown, 500) {
		found, err := commitStatements(ctx, p.d, some)
		if err != nil {
			return nil, fmt.Errorf("look up commits: %w", err)
		}
		for _, row := range found {
			if err := p.stand(ctx, row, state, out); err != nil {
				return nil, err
			}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for w, s := range out {
		if s.Standing != Verified {
			continue
		}
		if len(p.verified) >= maxVerified {
			clear(p.verified)
		}
		p.verified[w] = s.SHA256
	}
	return out, nil
}

// ExamineCommit is Examine for a git commit of a repository, or of any if repository is
// "": the statements of the predicate commit about it. Anyone may ask.
func (p *Provenance) ExamineCommit(ctx context.Context, repository, commit string) ([]Examined, error) {
	state, err := p.advance(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := commitStatements(ctx, p.d, []string{commit})
	if err != nil {
		return nil, fmt.Errorf("look up commit %.40s: %w", commit, err)
	}
	var out []Examined
	for _, row := range rows {
		e, err := p.examine(ctx, row, state)
		if err != nil {
			return nil, err
		}
		if e.Standing != Failed { // of one that failed it can't be told where it is of
			named, body, err := p.openCommit(ctx, row)
			if err != nil {
				return nil, err
			}
			if named != commit || repository != "" && body.Repository != repository {
				continue
			}
		}
		out = append(out, e)
	}
	return out, nil
}

// WaitCommits is Commits once none of what it returns is Pending. The error is Unavailable
// if ctx ends before.
func (p *Provenance) WaitCommits(ctx context.Context, wanted ...NamedCommit) (map[NamedCommit]CommitStanding, error) {
	wake, stop := p.events.Wake(Topic)
	defer stop()
	for {
		out, err := p.Commits(ctx, wanted...)
		if ctx.Err() == nil {
			if err != nil || !slices.ContainsFunc(wanted, func(w NamedCommit) bool { return out[w].Standing == Pending }) {
				return out, err
			}
		}
		select {
		case <-ctx.Done():
			return nil, albs.Errorf(albs.Unavailable, "the ledger doesn't prove yet what is stated of %d commits: %w", len(wanted), ctx.Err())
		case <-wake:
		case <-time.After(look):
		}
	}
}

// stand adds to out what one statement comes to, if it is about a commit in there of
// which nothing better is known.
func (p *Provenance) stand(ctx context.Context, row statement, state ledger.State, out map[NamedCommit]CommitStanding) error {
	commit, body, err := p.openCommit(ctx, row)
	if err != nil {
		return err
	}
	w := NamedCommit{body.Repository, commit}
	was, wanted := out[w]
	if !wanted || was.Standing == Verified {
		return nil
	}
	e, err := p.examine(ctx, row, state)
	if err != nil {
		return err
	}
	if was.Standing == Missing || e.Standing == Verified || e.Standing == Failed {
		out[w] = CommitStanding{Standing: e.Standing, Trouble: e.Trouble, SHA256: row.Subject}
	}
	return nil
}

// openCommit reads which commit a row is about, and what it says. A row that the
// master's key didn't sign is about none.
func (p *Provenance) openCommit(ctx context.Context, row statement) (string, attest.CommitBody, error) {
	_, st, err := p.open(ctx, row)
	if err != nil {
		return "", attest.CommitBody{}, nil //nolint:nilerr // examine says what is wrong with it, to whom it concerns
	}
	var body attest.CommitBody
	if err := st.Body(&body); err != nil {
		return "", body, fmt.Errorf("read statement %d: %w", row.ID, err)
	}
	return st.Subject[0].Digest[attest.GitCommit], body, nil
}

// commitsOf returns the statements about the commit that a source statement names, of
// its repository: those that are proven, and those on their way.
func (p *Provenance) commitsOf(ctx context.Context, source attest.SourceBody, state ledger.State) (found []proven, pending []statement, err error) {
	rows, err := commitStatements(ctx, p.d, []string{source.Commit})
	if err != nil {
		return nil, nil, fmt.Errorf("look up commit %.40s: %w", source.Commit, err)
	}
	seen := map[albs.Digest]bool{}
	for _, row := range rows {
		if seen[row.Subject] {
			continue
		}
		seen[row.Subject] = true
		f, w, err := p.prove(ctx, row.Subject, state)
		if err != nil {
			return nil, nil, err
		}
		for _, s := range f {
			if commit, body, err := p.openCommit(ctx, s.row); err != nil {
				return nil, nil, err
			} else if s.row.Predicate == attest.Commit && commit == source.Commit && body.Repository == source.Repository {
				found = append(found, s)
			}
		}
		for _, s := range w {
			if commit, body, err := p.openCommit(ctx, s); err != nil {
				return nil, nil, err
			} else if s.Predicate == attest.Commit && commit == source.Commit && body.Repository == source.Repository {
				pending = append(pending, s)
			}
		}
	}
	return found, pending, nil
}

// Unverified returns why the source of a package, signed or not, or of an SRPM isn't
// verified: a clause for people, or "" if the ledger proves that it came from a commit
// that was notarized. Each step is what a proven statement says, never what a row does;
// rows that contradict the ledger are a Conflict.
func (p *Provenance) Unverified(ctx context.Context, d albs.Digest) (string, error) {
	state, err := p.advance(ctx)
	if err != nil {
		return "", err
	}
	found, pending, err := p.chain(ctx, d, state)
	if err != nil {
		return "", err
	}
	waits := slices.ContainsFunc(pending, func(s statement) bool { return s.Predicate == attest.Commit || s.Predicate == attest.Source })
	why := "nothing that is proven says where its source came from"
	for _, f := range found {
		switch f.row.Predicate {
		case attest.Commit:
			return "", nil
		case attest.Source:
			var s attest.SourceBody
			if err := f.statement.Body(&s); err != nil {
				return "", fmt.Errorf("read where %s came from: %w", d.Short(), err)
			}
			why = WhyUnverified(strings.TrimPrefix(s.Repository, "git+"), s.Ref, s.Commit, s.Uploader)
		}
	}
	if waits {
		why = "its source is on the way to the ledger: try again soon"
	}
	return why, nil
}

// WhyUnverified says why a source isn't verified, and what to do: of a commit that isn't
// notarized, or of an SRPM that somebody gave, which has none.
func WhyUnverified(url, ref, commit, uploader string) string {
	switch {
	case commit == "" && uploader == "":
		return "its source package was given, and no commit stands behind it: build it from git"
	case commit == "":
		return fmt.Sprintf("its source package was given by %s, and no commit stands behind it: build it from git", uploader)
	}
	if ref == "" || ref == "HEAD" || ref == commit {
		ref = "BRANCH" // it has to be in the history of one
	}
	return fmt.Sprintf("commit %s of %s is not notarized: albs source notarize %s %s", commit[:min(12, len(commit))], url, url, ref)
}
