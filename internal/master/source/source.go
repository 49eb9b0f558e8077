// Package source brings sources to the master: it resolves git refs to commits,
// exports a commit's files, and its history where rpmautospec needs it, and fetches
// the look-aside files that the commit lists, each checked against its digest before
// anything uses it. It owns the table of look-aside files by foreign digest (sha1,
// sha512).
//
// Nothing of a source is evaluated here: the spec file is found by name, and its text
// is only looked at.
// Nodes never fetch; what they get is an exported tree and files by sha256.
package source

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"strings"

	"albs/internal/albs"
	"albs/internal/egress"
	"albs/internal/git"
	"albs/internal/master/artifact"
	"albs/internal/master/db"
)

// Sources resolves and imports. It may be used concurrently.
type Sources struct {
	store     store
	artifacts *artifact.Artifacts
	git       *git.Mirrors
	egress    *egress.Egress
	limits    Limits
}

// Limits bound what one source may bring in.
type Limits struct {
	Tree    int64 `yaml:"tree"`    // bytes of a commit's files as a tar
	File    int64 `yaml:"file"`    // bytes of one look-aside file
	History int64 `yaml:"history"` // bytes of a commit's history, packed
}

// DefaultLimits are used for every limit that is zero.
var DefaultLimits = Limits{Tree: 2 << 30, File: 4 << 30, History: 256 << 20}

// New returns the sources of a master.
func New(d *db.DB, artifacts *artifact.Artifacts, g *git.Mirrors, e *egress.Egress, limits Limits) *Sources {
	if limits.Tree == 0 {
		limits.Tree = DefaultLimits.Tree
	}
	if limits.File == 0 {
		limits.File = DefaultLimits.File
	}
	if limits.History == 0 {
		limits.History = DefaultLimits.History
	}
	return &Sources{store: store{d}, artifacts: artifacts, git: g, egress: e, limits: limits}
}

// Commit is a git commit that a ref was resolved to.
type Commit struct {
	URL  string
	Ref  string // as asked for
	Type string // git_branch, git_tag or git_ref, as ALBS names them
	SHA  string
}

// refTypes spells what a ref is in ALBS's words.
var refTypes = map[git.RefType]string{git.RefBranch: "git_branch", git.RefTag: "git_tag", git.RefCommit: "git_ref"}

// Resolve asks the repository at rawURL which commit ref names now: a branch, a
// tag (peeled) or a full commit id. Invalid is a malformed URL or ref, NotFound an
// unknown repository or ref, Forbidden an address that egress refuses.
func (s *Sources) Resolve(ctx context.Context, rawURL, ref string) (Commit, error) {
	if err := git.ValidURL(rawURL); err != nil {
		return Commit{}, err
	}
	if err := git.ValidRef(ref); err != nil {
		return Commit{}, err
	}
	sha, kind, err := s.git.Resolve(ctx, rawURL, ref)
	if err != nil {
		return Commit{}, fmt.Errorf("resolve %s#%s: %w", rawURL, ref, err)
	}
	return Commit{URL: rawURL, Ref: ref, Type: refTypes[kind], SHA: sha}, nil
}

// PackageName returns what a repository is called, by the last part of its URL:
// the package's name until its spec file is known.
func PackageName(rawURL string) string {
	return strings.TrimSuffix(path.Base(strings.TrimRight(rawURL, "/")), ".git")
}

// Wanted says what a platform wants of a commit beside its files.
type Wanted struct {
	Lookaside []string // patterns of URLs of files that are not in git
	Autospec  bool     // the history, if the spec file uses macros of rpmautospec
}

// Import fetches c, exports its files as one tar and the history that is wanted as
// another, and fetches and checks every look-aside file that it lists, from the first
// of the URL patterns that has it. It says on log what it does. The files and their
// artifact rows are durable on return. Errors: Invalid (layout, list, digest, a history
// that isn't whole), NotFound (a file that no look-aside has), TooLarge, Forbidden,
// Unavailable.
func (s *Sources) Import(ctx context.Context, c Commit, want Wanted, log io.Writer) (albs.ImportResult, error) {
	var out albs.ImportResult
	fmt.Fprintf(log, "fetching %s at %s (%s)\n", c.URL, c.SHA, c.Ref)
	if err := s.git.Fetch(ctx, c.URL, c.SHA); err != nil {
		return out, fmt.Errorf("fetch %s: %w", c.URL, err)
	}
	entries, err := s.git.List(ctx, c.URL, c.SHA)
	if err != nil {
		return out, fmt.Errorf("list %s: %w", c.SHA, err)
	}
	paths := make([]string, len(entries))
	for i, e := range entries {
		paths[i] = e.Path
	}
	layout, err := FindLayout(paths)
	if err != nil {
		return out, err
	}
	tree, err := s.export(ctx, c, layout.Package)
	if err != nil {
		return out, err
	}
	fmt.Fprintf(log, "exported %d files, spec %s, tree %s\n", len(entries), layout.Spec, tree.Digest)
	held := []artifact.Artifact{tree}
	out = albs.ImportResult{Tree: tree.Digest, Spec: layout.Spec, Package: layout.Package}
	if want.Autospec {
		history, err := s.history(ctx, c, layout, log)
		if err != nil {
			return out, err
		}
		if history != nil {
			held = append(held, *history)
			out.History = history.Digest
		}
	}

	files, err := s.lookaside(ctx, c, layout)
	if err != nil {
		return out, err
	}
	if len(files) == 0 {
		fmt.Fprintln(log, "no look-aside list: every source is in git")
	}
	for _, f := range files {
		a, err := s.file(ctx, f, layout.Package, want.Lookaside, log)
		if err != nil {
			return out, err
		}
		out.Sources = append(out.Sources, albs.File{Name: f.Name, Digest: a.Digest, Size: a.Size})
		held = append(held, a)
	}
	err = s.store.d.InTx(ctx, func(tx db.Tx) error { return s.artifacts.Add(ctx, tx, held...) })
	if err != nil {
		return out, fmt.Errorf("record imported files: %w", err)
	}
	return out, nil
}

// Bounds of what rpmautospec gets.
const (
	maxSpec    = 8 << 20 // bytes of a spec file, as nodes take it
	maxCommits = 20_000
)

// history packs the commit's history, if the spec file uses rpmautospec; else it
// returns nil.
func (s *Sources) history(ctx context.Context, c Commit, l Layout, log io.Writer) (*artifact.Artifact, error) {
	text, err := s.git.Read(ctx, c.URL, c.SHA, l.Spec, maxSpec)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", l.Spec, err)
	}
	macro, must := albs.Autospec(text)
	below := strings.Contains(l.Spec, "/")
	if macro == "" || below && !must {
		return nil, nil
	}
	if below {
		return nil, albs.Errorf(albs.Invalid, "the spec uses %%%s, and lies at %s: rpmautospec counts commits only of a spec at the root of its repository", macro, l.Spec)
	}
	var commits int
	// The index of a pack of tiny objects is some three times as large as the pack.
	a, err := s.stream(ctx, c, l.Package, ".git.tar", 4*s.limits.History+1<<20, func(w io.Writer) (err error) {
		commits, err = s.git.History(ctx, c.URL, c.SHA, git.Bounds{Commits: maxCommits, Bytes: s.limits.History}, w)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("the spec uses %%%s, which needs the history: %w", macro, err)
	}
	fmt.Fprintf(log, "the spec uses %%%s: packed the history, %d commits, %s\n", macro, commits, a.Digest)
	return &a, nil
}

// lookaside reads the list of files that are not in git.
func (s *Sources) lookaside(ctx context.Context, c Commit, l Layout) ([]Lookaside, error) {
	if l.Metadata == "" {
		return nil, nil
	}
	list, err := s.git.Read(ctx, c.URL, c.SHA, l.Metadata, maxMetadata)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", l.Metadata, err)
	}
	return ParseLookaside(l.Metadata, list)
}

// export streams the commit's tar into the blob store.
func (s *Sources) export(ctx context.Context, c Commit, pkg string) (artifact.Artifact, error) {
	a, err := s.stream(ctx, c, pkg, ".tar", s.limits.Tree, func(w io.Writer) error { return s.git.Export(ctx, c.URL, c.SHA, w) })
	if err != nil {
		return artifact.Artifact{}, fmt.Errorf("export %s: %w", c.SHA, err)
	}
	return a, nil
}

// stream saves what write gives of a commit, at most limit bytes, as an artifact that is
// named after the package.
func (s *Sources) stream(ctx context.Context, c Commit, pkg, suffix string, limit int64, write func(io.Writer) error) (artifact.Artifact, error) {
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := write(w)
		w.CloseWithError(err)
		done <- err
	}()
	a, err := s.artifacts.Save(ctx, r, limit, pkg+"-"+c.SHA[:min(12, len(c.SHA))]+suffix, artifact.Tree)
	r.CloseWithError(errors.Join(err, io.ErrClosedPipe))
	if writeErr := <-done; err == nil {
		err = writeErr
	}
	return a, err
}

// file returns the artifact of one look-aside file: from the cache by its foreign
// digest, else from the first URL that has it.
func (s *Sources) file(ctx context.Context, f Lookaside, pkg string, patterns []string, log io.Writer) (artifact.Artifact, error) {
	if d, err := s.store.file(ctx, f.Algorithm, f.Hex); err != nil {
		return artifact.Artifact{}, err
	} else if d != "" {
		a, err := s.artifacts.Renew(ctx, d)
		if err == nil {
			fmt.Fprintf(log, "source %s: in the cache by %s\n", f.Name, f.Algorithm)
			return a, nil
		}
		if !errors.Is(err, albs.NotFound) {
			return a, err
		}
	}
	if len(patterns) == 0 {
		return artifact.Artifact{}, albs.Errorf(albs.Invalid, "the source lists %s, and the platform names no look-aside URL to fetch it from", f.Name)
	}
	urls := f.URLs(pkg, patterns)
	for _, u := range urls {
		a, err := s.download(ctx, f, u)
		if errors.Is(err, albs.NotFound) {
			fmt.Fprintf(log, "source %s: not at %s\n", f.Name, u)
			continue
		}
		if err != nil {
			return a, fmt.Errorf("source %s: %w", f.Name, err)
		}
		fmt.Fprintf(log, "source %s: %d bytes from %s, %s checked\n", f.Name, a.Size, u, f.Algorithm)
		return a, s.store.addFile(ctx, f.Algorithm, f.Hex, a.Digest)
	}
	return artifact.Artifact{}, albs.Errorf(albs.NotFound, "source %s (%s %s) is in none of the look-aside caches %q", f.Name, f.Algorithm, f.Hex, urls)
}

func (s *Sources) download(ctx context.Context, f Lookaside, u string) (artifact.Artifact, error) {
	body, _, err := s.egress.Get(ctx, u, s.limits.File)
	if err != nil {
		return artifact.Artifact{}, err
	}
	defer body.Close()
	h := newHash(f.Algorithm)
	return s.artifacts.Save(ctx, &checking{r: body, h: h, want: f}, s.limits.File, f.Name, artifact.Source)
}

// checking hashes what is read and turns the end of a wrong file into an error,
// so that the blob store never keeps it.
type checking struct {
	r    io.Reader
	h    hash.Hash
	want Lookaside
}

func (c *checking) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.h.Write(p[:n])
	if errors.Is(err, io.EOF) {
		if got := hex.EncodeToString(c.h.Sum(nil)); got != c.want.Hex {
			return n, albs.Errorf(albs.Invalid, "the look-aside cache serves a file with %s %s, the commit lists %s", c.want.Algorithm, got, c.want.Hex)
		}
	}
	return n, err
}

func newHash(a Algorithm) hash.Hash {
	switch a {
	case SHA1:
		return sha1.New() // what CentOS's metadata files use; the master pins sha256 beside it
	case SHA512:
		return sha512.New()
	}
	return sha256.New()
}

// Message returns the message of a commit, which may have to be fetched; errors are those
// of Import.
func (s *Sources) Message(ctx context.Context, rawURL, commit string) (string, error) {
	var message string
	err := s.git.Objects(ctx, rawURL, commit, []string{commit}, func(c git.Commit, _ []byte) error {
		message = c.Message
		return nil
	})
	return message, err
}
