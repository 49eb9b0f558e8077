package depot

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"albs/internal/albs"
	"albs/internal/blob"
	"albs/internal/repodata"
	"albs/internal/worker"
)

const maxProblems = 50

// DNFRepo is one repository as dnf is to be told of it.
type DNFRepo struct {
	ID       string // dnf's repository id
	BaseURL  string // holds the task's secret: not for logs
	Priority int    // dnf's; 0 is dnf's default
	Own      bool   // changes from task to task, such as the build's
	Modular  bool   // and has modules
	Keys     string // a key file, by one of which its packages have to be signed; "" if by nobody
}

// UsedFile is one file that dnf got.
type UsedFile struct {
	Repo   string      `json:"repo"` // the repository's id
	Path   string      `json:"path"` // within the repository
	Digest albs.Digest `json:"digest"`
	Size   int64       `json:"size"`
}

// Served is the server of one task.
type Served struct {
	repos  []albs.Repo
	open   []repository
	base   string
	secret string
	depot  *Depot
	server *http.Server
	ctx    context.Context // of the task: fills go on when dnf hangs up
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	used     map[UsedFile]bool
	problems []string
}

// Serve starts the server of a task: its repositories, by m and the lease's token
// where they are the master's, by the egress where they are mirrors' (file://
// mirrors too, where the egress allows them). It listens on 127.0.0.1, on a port
// and under a path that are the task's own. ctx is the task's and carries the
// worker's identity; its end stops every fetch. Close must be called.
//
// It fails as Master.Get does when a snapshot or a pinned repomd.xml cannot be
// read, Invalid if a repository names neither or both, and Forbidden for a mirror
// that the egress doesn't allow.
func (d *Depot) Serve(ctx context.Context, m worker.Master, lease worker.Lease, repos []albs.Repo) (*Served, error) {
	blobs := leased{depot: d, master: m, token: lease.Token}
	s := &Served{repos: slices.Clone(repos), depot: d, secret: rand.Text(), used: make(map[UsedFile]bool)}
	for _, repo := range repos {
		r, err := openRepository(ctx, blobs, repo)
		if err != nil {
			return nil, fmt.Errorf("open repository %s: %w", repo.ID, err)
		}
		s.open = append(s.open, r)
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, albs.Errorf(albs.Unavailable, "listen for dnf: %w", err)
	}
	s.base = "http://" + ln.Addr().String() + "/" + s.secret + "/"
	s.ctx, s.cancel = context.WithCancel(ctx)
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	s.wg.Go(func() {
		_ = s.server.Serve(ln) // always ends with ErrServerClosed, by Close
	})
	return s, nil
}

func openRepository(ctx context.Context, blobs leased, repo albs.Repo) (repository, error) {
	switch {
	case repo.Snapshot != "" && repo.Mirror == "" && repo.Repomd == "":
		snapshot, err := repodata.Open(ctx, blobs, repo.Snapshot)
		if err != nil {
			return nil, err
		}
		return &snapshotRepo{blobs: blobs, snapshot: snapshot}, nil
	case repo.Snapshot == "" && repo.Mirror != "" && repo.Repomd != "":
		return openMirror(ctx, blobs, repo)
	}
	return nil, albs.Errorf(albs.Invalid, "it names neither a snapshot nor a mirror with its repomd.xml")
}

// Repos returns what dnf is to be told, in the order of Serve's repos.
func (s *Served) Repos() []DNFRepo {
	list := make([]DNFRepo, len(s.repos))
	for i, r := range s.repos {
		list[i] = DNFRepo{ID: r.ID, BaseURL: s.base + strconv.Itoa(i) + "/", Priority: r.Priority, Own: r.Own, Modular: r.Modular, Keys: r.Keys}
	}
	return list
}

// Used returns every file served so far, metadata too, once each, by repository
// and path.
func (s *Served) Used() []UsedFile {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]UsedFile, 0, len(s.used))
	for f := range s.used {
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b UsedFile) int {
		return cmp.Or(strings.Compare(a.Repo, b.Repo), strings.Compare(a.Path, b.Path))
	})
	return list
}

// Open returns the file at the path name of the repository with the id repo, verified, as
// dnf would get it; it may be a package or metadata. NotFound says that the repository has
// no such file, or the task no such repository; Invalid that the repository contradicts
// itself; Unavailable that it can't be reached now. The reader must be closed.
func (s *Served) Open(ctx context.Context, repo, name string) (blob.Reader, error) {
	i := slices.IndexFunc(s.repos, func(r albs.Repo) bool { return r.ID == repo })
	if i < 0 {
		return nil, albs.Errorf(albs.NotFound, "the task has no repository %.40q", repo)
	}
	body, _, ok, err := s.file(ctx, i, name)
	if err == nil && !ok {
		err = albs.Errorf(albs.NotFound, "repository %s has no %.200q", repo, name)
	}
	return body, err
}

// file opens the file name of repository i; ok is false where it has none.
func (s *Served) file(ctx context.Context, i int, name string) (body blob.Reader, digest albs.Digest, ok bool, err error) {
	f, ok, err := s.open[i].find(ctx, name)
	if err != nil || !ok {
		return nil, "", false, err
	}
	if body, err = s.depot.open(ctx, f.digest, f.src); err != nil {
		return nil, "", false, err
	}
	if f.size != 0 && f.size != body.Size() {
		err := albs.Errorf(albs.Invalid, "%s has %d bytes and not the %d that its repository says", f.digest.Short(), body.Size(), f.size)
		return nil, "", false, errors.Join(err, body.Close())
	}
	return body, f.digest, true, nil
}

// Problems returns what could not be served and why, for the task's log: dnf itself
// tells no more than a status.
func (s *Served) Problems() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.problems)
}

// Close ends the server and every fetch for it, and waits until they have ended.
func (s *Served) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	_ = s.server.Close() // dnf is done or dead
	s.wg.Wait()
}

// enter counts a request that Close waits for.
func (s *Served) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.wg.Add(1)
	return true
}

// ServeHTTP implements http.Handler.
func (s *Served) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.enter() {
		return
	}
	defer s.wg.Done()
	secret, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if subtle.ConstantTimeCompare([]byte(secret), []byte(s.secret)) != 1 {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		return
	}
	number, name, _ := strings.Cut(rest, "/")
	i, err := strconv.Atoi(number)
	if err != nil || i < 0 || i >= len(s.open) || name == "" || path.Clean("/"+name) != "/"+name {
		http.NotFound(w, r)
		return
	}
	if err := s.send(w, r, i, name); err != nil {
		s.problem(s.repos[i].ID, name, err)
		status := http.StatusBadGateway
		if errors.Is(err, albs.Unavailable) {
			status = http.StatusServiceUnavailable
		}
		http.Error(w, albs.UserMessage(err), status)
	}
}

// send answers with the file name of repository i; an error means that nothing was
// sent yet.
func (s *Served) send(w http.ResponseWriter, r *http.Request, i int, name string) error {
	// The task's context and not the request's: dnf hangs up on a slow mirror and
	// asks again, and finds the file then.
	body, digest, ok, err := s.file(s.ctx, i, name)
	if err != nil {
		return err
	}
	if !ok {
		http.NotFound(w, r)
		return nil
	}
	defer body.Close()
	s.mu.Lock()
	s.used[UsedFile{Repo: s.repos[i].ID, Path: name, Digest: digest, Size: body.Size()}] = true
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("ETag", `"`+string(digest)+`"`)
	http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(body, 0, body.Size()))
	return nil
}

func (s *Served) problem(repo, name string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.problems) < maxProblems {
		s.problems = append(s.problems, fmt.Sprintf("%s: %s: %s", repo, name, albs.UserMessage(err)))
	}
}
