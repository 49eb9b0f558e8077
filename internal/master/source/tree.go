package source

import (
	"context"
	"fmt"
	"io"

	"albs/internal/git"
	"albs/internal/master/artifact"
)

// Check returns an Invalid error unless rawURL is one of a git repository, without
// credentials, and ref may be a branch, a tag, HEAD or a commit: nothing in them can mean
// anything else to a program. Nothing is run.
func Check(rawURL, ref string) error {
	if err := git.ValidURL(rawURL); err != nil {
		return err
	}
	return git.ValidRef(ref)
}

// Files returns the paths of a commit's plain files, which may have to be fetched, in the
// order of their bytes. Links and submodules are none. Errors are those of Import.
func (s *Sources) Files(ctx context.Context, c Commit) ([]string, error) {
	entries, err := s.git.List(ctx, c.URL, c.SHA)
	if err != nil {
		return nil, fmt.Errorf("list %s of %s: %w", c.SHA, c.URL, err)
	}
	var out []string
	for _, e := range entries {
		if e.Regular() {
			out = append(out, e.Path)
		}
	}
	return out, nil
}

// File returns the content of a plain file of a commit, at most limit bytes. NotFound if
// the commit has none of that name, TooLarge beyond limit; else errors are those of Import.
func (s *Sources) File(ctx context.Context, c Commit, name string, limit int64) ([]byte, error) {
	return s.git.Read(ctx, c.URL, c.SHA, name, limit)
}

// Tree exports a commit's files as one tar of at most limit bytes, else it is TooLarge; its
// artifact is called name and the commit. The bytes are durable on return, and no row is
// written. Other errors are those of Import.
func (s *Sources) Tree(ctx context.Context, c Commit, name string, limit int64) (artifact.Artifact, error) {
	a, err := s.stream(ctx, c, name, ".tar", limit, func(w io.Writer) error { return s.git.Export(ctx, c.URL, c.SHA, w) })
	if err != nil {
		return artifact.Artifact{}, fmt.Errorf("export %s of %s: %w", c.SHA, c.URL, err)
	}
	return a, nil
}
