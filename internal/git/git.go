// Package git runs the git binary for the master: it resolves refs, keeps one
// bare mirror a repository, exports, lists and reads the files of a commit, packs
// its history, and reads the commits of it.
//
// URLs and refs are checked before a process is started, arguments are an argv
// and never a shell's, the environment is fixed, hooks, helpers and every
// protocol but https are off, and git's only way out is the loopback proxy of
// package egress. Nothing is ever checked out, so that no attribute, filter,
// submodule or link of a repository acts on the host. Failures are told apart by
// exit codes, by the proxy and by an HTTP status, never by git's prose.
//
// What a commit's files mean is not known here.
package git

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"albs/internal/albs"
	"albs/internal/disk"
	"albs/internal/egress"
)

// Bounds on what a repository may give.
const (
	MaxExport  = 4 << 30  // bytes of one exported tar
	maxRefs    = 1 << 20  // bytes of an answer of ls-remote for at most four names
	maxAdvert  = 64 << 20 // bytes on the wire for it: an old protocol, or a hostile server, sends all refs, and git holds them in memory
	maxListing = 64 << 20 // bytes of a listing
)

// Time limits of one git process.
const (
	remoteTimeout = 2 * time.Minute
	fetchTimeout  = 30 * time.Minute
	localTimeout  = 10 * time.Minute
)

// RefType says what a ref turned out to be.
type RefType string

// The types of ref.
const (
	RefBranch RefType = "branch"
	RefTag    RefType = "tag"
	RefCommit RefType = "commit"
)

// Mirrors are the bare mirrors in one directory. They may be used concurrently,
// also by several processes: a lock for each mirror orders what changes it.
type Mirrors struct {
	dir    string
	home   string // an empty directory, git's HOME
	caFile string // merged bundle for git; "" for git's own default
	egress *egress.Egress

	mu    sync.Mutex
	locks map[string]chan struct{} // by mirror, held by sending
}

// New returns the mirrors in dir, which it creates. It fails with Unavailable if
// the directory cannot be written.
func New(dir string, e *egress.Egress) (*Mirrors, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find git directory: %w", err)
	}
	m := &Mirrors{dir: dir, home: filepath.Join(dir, "home"), egress: e, locks: make(map[string]chan struct{})}
	if err := os.MkdirAll(m.home, 0o700); err != nil {
		return nil, albs.Errorf(albs.Unavailable, "make git directory: %w", err)
	}
	bundle, err := e.CABundle()
	if err != nil {
		return nil, err
	}
	if bundle != nil {
		m.caFile = filepath.Join(dir, "ca-bundle.pem")
		if err := disk.WriteFile(m.caFile, bundle, 0o600); err != nil {
			return nil, albs.Errorf(albs.Unavailable, "write git's CA bundle: %w", err)
		}
	}
	return m, nil
}

// Resolve returns the commit that ref names in the repository at url now, and
// what ref is. ref is a branch, a tag (peeled to its commit), either with its full
// name, "HEAD", or a full commit id, which is fetched to see that it exists.
//
// It fails with Invalid for a bad url or ref, Forbidden where egress refuses,
// NotFound if there is no such repository or ref, Conflict if ref is a branch and
// a tag that differ, Unavailable if the server cannot be reached.
func (m *Mirrors) Resolve(ctx context.Context, url, ref string) (commit string, typ RefType, err error) {
	if err := m.check(url); err != nil {
		return "", "", err
	}
	if err := ValidRef(ref); err != nil {
		return "", "", err
	}
	if validCommit(ref) {
		return ref, RefCommit, m.Fetch(ctx, url, ref)
	}
	branch, tag := "refs/heads/"+ref, "refs/tags/"+ref
	switch {
	case ref == "HEAD":
		branch, tag = ref, ""
	case strings.HasPrefix(ref, "refs/heads/"):
		branch, tag = ref, ""
	case strings.HasPrefix(ref, "refs/tags/"):
		branch, tag = "", ref
	case strings.HasPrefix(ref, "refs/"):
		return "", "", albs.Errorf(albs.Invalid, "ref %s is neither under refs/heads/ nor under refs/tags/", ref)
	}
	args := []string{"ls-remote", "--exit-code", "--quiet", "--end-of-options", url}
	if branch != "" {
		args = append(args, branch)
	}
	if tag != "" {
		args = append(args, tag, tag+"^{}")
	}
	var out bytes.Buffer
	err = m.remote(ctx, url, remoteTimeout, maxAdvert, command{args: args, stdout: &out, limit: maxRefs})
	if exit, ok := errors.AsType[*exitError](err); ok && exit.code == 2 { // --exit-code: reached, no such ref
		return "", "", noRef(url, ref)
	}
	if err != nil {
		return "", "", err
	}
	// Names are matched by their tails, so that other refs may be in the answer.
	found := make(map[string]string)
	for line := range strings.Lines(out.String()) {
		if id, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t"); ok && validCommit(id) {
			found[name] = id
		}
	}
	b, t := found[branch], found[tag]
	if peeled := found[tag+"^{}"]; peeled != "" && t != "" {
		t = peeled
	}
	switch {
	case b != "" && t != "" && b != t:
		return "", "", albs.Errorf(albs.Conflict, "%s is a branch and a tag of %s that differ: say refs/heads/%s or refs/tags/%s", ref, url, ref, ref)
	case b != "":
		return b, RefBranch, nil
	case t != "":
		return t, RefTag, nil
	}
	return "", "", noRef(url, ref)
}

func noRef(url, ref string) error {
	return albs.Errorf(albs.NotFound, "%s has no branch or tag %s; give a branch, a tag or a full commit id", url, ref)
}

// Fetch makes commit, with all of its files, present in the mirror of url; one
// that is there needs no network. On return it stays there. Errors are as for
// Resolve; NotFound if the repository doesn't have the commit, Invalid if the id
// names something else.
func (m *Mirrors) Fetch(ctx context.Context, url, commit string) error {
	_, err := m.ensure(ctx, url, commit)
	return err
}

// ensure is Fetch that returns the mirror's directory.
func (m *Mirrors) ensure(ctx context.Context, url, commit string) (string, error) {
	if err := m.check(url); err != nil {
		return "", err
	}
	if !validCommit(commit) {
		return "", albs.Errorf(albs.Invalid, "%.80q is not a full commit id (40 lower-case hex digits)", commit)
	}
	name := mirrorName(url)
	dir := filepath.Join(m.dir, name)
	used(dir) // before it is looked at, so that Clean doesn't take it away from here
	if m.has(ctx, dir, commit) {
		return dir, nil
	}
	unlock, err := m.lock(ctx, name)
	if err != nil {
		return "", err
	}
	defer unlock()
	if err := m.create(ctx, dir); err != nil {
		return "", err
	}
	used(dir)
	if m.has(ctx, dir, commit) {
		return dir, nil
	}
	if err := clearDebris(dir); err != nil {
		return "", err
	}
	return dir, m.fetch(ctx, dir, url, commit)
}

// mark is the ref that keeps a commit. git writes it last, after it has checked
// that everything the commit needs is there.
func mark(commit string) string { return "refs/albs/" + commit }

func (m *Mirrors) has(ctx context.Context, dir, commit string) bool {
	if _, err := os.Stat(filepath.Join(dir, "HEAD")); err != nil {
		return false
	}
	var out bytes.Buffer
	err := m.local(ctx, dir, command{args: []string{"rev-parse", "--verify", "--quiet", mark(commit) + "^{commit}"}, stdout: &out, limit: 128})
	return err == nil && strings.TrimSpace(out.String()) == commit
}

func (m *Mirrors) fetch(ctx context.Context, dir, url, commit string) error {
	base := []string{"fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--no-auto-maintenance", "--force"}
	one := append(base[:len(base):len(base)], "--depth=1", "--end-of-options", url, commit+":"+mark(commit))
	err := m.remote(ctx, url, fetchTimeout, 0, command{dir: dir, args: one})
	if err == nil {
		return m.checkMark(ctx, dir, url, commit)
	}
	if _, ok := errors.AsType[*exitError](err); !ok {
		return err
	}
	// The server answers but didn't give the commit by its id: it doesn't have it,
	// or speaks an old protocol without leave to ask for ids. A fetch of all
	// branches and tags, with full depth against commits that only earlier shallow
	// fetches know, settles it.
	all := append(base[:len(base):len(base)], "--prune", "--depth=2147483647", "--end-of-options", url, "refs/heads/*:refs/heads/*", "refs/tags/*:refs/tags/*")
	err = m.remote(ctx, url, fetchTimeout, 0, command{dir: dir, args: all})
	if exit, ok := errors.AsType[*exitError](err); ok {
		return albs.Errorf(albs.Unavailable, "fetch the refs of %s: %w", url, exit)
	}
	if err != nil {
		return err
	}
	if err := m.local(ctx, dir, command{args: []string{"cat-file", "-e", commit + "^{commit}"}}); err != nil {
		if _, ok := errors.AsType[*exitError](err); ok {
			return albs.Errorf(albs.NotFound, "%s has no commit %s", url, commit)
		}
		return err
	}
	if err := m.local(ctx, dir, command{args: []string{"update-ref", mark(commit), commit}}); err != nil {
		return albs.Errorf(albs.Internal, "keep commit %s: %w", commit, err)
	}
	return nil
}

// checkMark refuses an id that turned out to name a tag, a tree or a blob.
func (m *Mirrors) checkMark(ctx context.Context, dir, url, commit string) error {
	if m.has(ctx, dir, commit) {
		return nil
	}
	if err := m.local(ctx, dir, command{args: []string{"update-ref", "-d", mark(commit)}}); err != nil {
		return albs.Errorf(albs.Internal, "drop %s: %w", commit, err)
	}
	if err := ctx.Err(); err != nil {
		return albs.Errorf(albs.Unavailable, "fetch %s: %w", url, err)
	}
	return albs.Errorf(albs.Invalid, "%s of %s is not a commit", commit, url)
}

// exactly are the attributes of every file, in a place that outranks a commit's own
// .gitattributes: a work tree or an export is the commit's bytes, nothing left out,
// rewritten or substituted.
const exactly = "* -text -ident -filter -working-tree-encoding -export-ignore -export-subst\n"

// create makes the mirror in one step, so that one that exists is whole.
func (m *Mirrors) create(ctx context.Context, dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	tmp := dir + ".new"
	if err := os.RemoveAll(tmp); err != nil {
		return albs.Errorf(albs.Unavailable, "clear half a mirror: %w", err)
	}
	if err := m.run(ctx, command{args: []string{"init", "--quiet", "--bare", "--template=", "--object-format=sha1", "--initial-branch=none", "--end-of-options", tmp}}); err != nil {
		return albs.Errorf(albs.Unavailable, "make a mirror: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(tmp, "info"), 0o700); err != nil {
		return albs.Errorf(albs.Unavailable, "make a mirror: %w", err)
	}
	if err := os.WriteFile(filepath.Join(tmp, "info", "attributes"), []byte(exactly), 0o600); err != nil {
		return albs.Errorf(albs.Unavailable, "make a mirror: %w", err)
	}
	// Half a mirror after a power cut would be one that no fetch can use again.
	if err := syncTree(tmp); err != nil {
		return albs.Errorf(albs.Unavailable, "make a mirror: %w", err)
	}
	if err := os.Rename(tmp, dir); err != nil {
		return albs.Errorf(albs.Unavailable, "make a mirror: %w", err)
	}
	return nil
}

// syncTree brings a small directory to disk with all that lies in it.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}

// clearDebris removes what a killed git left: its lock files would stop every
// later fetch. The caller holds the mirror's lock, so that no git is at work.
func clearDebris(dir string) error {
	for _, pattern := range []string{"*.lock", "refs/albs/*.lock", "objects/pack/tmp_*", "objects/*/tmp_obj_*"} {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return fmt.Errorf("look for debris: %w", err)
		}
		for _, name := range names {
			if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
				return albs.Errorf(albs.Unavailable, "clear debris of an earlier fetch: %w", err)
			}
		}
	}
	return nil
}

// Export writes the files of commit to w as a tar, fetching the commit if the
// mirror doesn't have it. The tar holds exactly the commit's bytes, under names that
// lead nowhere out: attributes of the repository have no say. It fails with TooLarge
// beyond MaxExport or if the commit's listing is, Invalid if the commit has names that
// git doesn't unpack, else as Fetch does. What was written before an error is
// worthless.
func (m *Mirrors) Export(ctx context.Context, url, commit string, w io.Writer) error {
	dir, err := m.ensure(ctx, url, commit)
	if err != nil {
		return err
	}
	// git archive holds the whole tree in memory before its first byte. A few trees
	// that name each other many times unfold to any number of files; a listing is
	// streamed, and ends where its bound is.
	if err := m.local(ctx, dir, command{args: []string{"ls-tree", "-r", "-z", "-l", "--full-tree", commit}, limit: maxListing}); err != nil {
		return fmt.Errorf("list %s of %s: %w", commit, url, err)
	}
	err = m.local(ctx, dir, command{args: []string{"archive", "--format=tar", "--end-of-options", commit}, stdout: w, limit: MaxExport})
	if exit, ok := errors.AsType[*exitError](err); ok {
		return albs.Errorf(albs.Invalid, "commit %s of %s can't be exported: %w", commit, url, exit)
	}
	if err != nil {
		return fmt.Errorf("export %s of %s: %w", commit, url, err)
	}
	return nil
}

func mirrorName(url string) string {
	sum := sha256.Sum256([]byte(url))
	return hex.EncodeToString(sum[:])
}

// check refuses a URL by form and by policy, before anything is started.
func (m *Mirrors) check(url string) error {
	if err := ValidURL(url); err != nil {
		return err
	}
	return m.egress.CheckURL(url)
}

// remote runs a git that talks to url, for at most limit, and takes at most maxBytes
// from outside (0 is the egress policy's bound). An *exitError of the result says that
// the repository answers but git was not satisfied.
func (m *Mirrors) remote(ctx context.Context, url string, limit time.Duration, maxBytes int64, c command) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	proxy, err := m.egress.Proxy(ctx, url, maxBytes)
	if err != nil {
		return err
	}
	defer proxy.Close()
	c.proxy = proxy.URL()
	err = m.run(ctx, c)
	exit, ok := errors.AsType[*exitError](err)
	if !ok {
		return err
	}
	if cause := proxy.Err(); cause != nil {
		return albs.Errorf(albs.KindOf(cause), "reach %s: %w", url, cause)
	}
	if exit.code != 128 { // 128 is git's "fatal", the network's failures among it
		return exit
	}
	if err := m.probe(ctx, url); err != nil {
		return err
	}
	return exit
}

// probe asks the server as git's first request does and tells from its status
// whether there is a repository.
func (m *Mirrors) probe(ctx context.Context, url string) error {
	body, _, err := m.egress.Get(ctx, strings.TrimSuffix(url, "/")+"/info/refs?service=git-upload-pack", 0)
	if status, ok := errors.AsType[*egress.StatusError](err); ok {
		switch status.Code {
		case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone:
			return albs.Errorf(albs.NotFound, "there is no public git repository at %s (the server answers %d)", url, status.Code)
		}
	}
	if err != nil {
		return err
	}
	defer body.Close()
	// The first packet line of git's smart HTTP protocol (gitprotocol-http); some
	// servers leave it out and begin with that of protocol version 2.
	head := make([]byte, len("001e# service=git-upload-pack\n"))
	n, err := io.ReadFull(body, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return err
	}
	if string(head[:n]) != "001e# service=git-upload-pack\n" && !strings.HasPrefix(string(head[:n]), "000eversion 2\n") {
		return albs.Errorf(albs.NotFound, "there is no git repository at %s (the server answers, but not as git's)", url)
	}
	return nil
}
