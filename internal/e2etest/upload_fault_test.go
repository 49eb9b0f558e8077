package e2etest

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/client"
	"albs/internal/worker"
)

// TestUploads plays a node by hand: T11, an upload that is cut at 1, at 50 and at 99 % goes
// on where it was cut and is not to be seen before; T12, a file that isn't what it is
// called is refused and not kept; T49, a package of a foreign name is refused.
func TestUploads(t *testing.T) {
	t.Parallel()
	s := apart(t, longLease)
	token := s.enroll("by-hand", "node")
	s.rounds(3, func(name string) { s.uploads(name, token) })
}

func (s *site) uploads(round, token string) {
	t := s.t
	t.Helper()
	me := worker.NewClient(s.url, token, &http.Client{})
	// What was refused lies in the store, unseen, until it is collected: each round has its own.
	foreign := read(t, filepath.Join(module, "internal/rpm/testdata/albs-rich-1.0~rc1-3.el9.src.rpm")) + round
	file := albs.File{Name: "albs-rich-1.0~rc1-3.el9.src.rpm", Digest: albs.DigestOf([]byte(foreign)), Size: int64(len(foreign))}
	kept := albs.File{Name: "buildroot.json", Digest: albs.DigestOf([]byte(record)), Size: int64(len(record))}

	for _, tc := range []struct {
		name string
		do   func(ctx context.Context, lease *worker.Lease) error
		want string // in the task's reason
	}{
		{"cut-upload", func(ctx context.Context, lease *worker.Lease) error {
			var held int64
			for _, percent := range []int{1, 50, 99} {
				to := int64(len(foreign) * percent / 100)
				if _, err := me.Put(ctx, lease.Token, file.Digest, held, &breaks{strings.NewReader(foreign[held:to])}); err == nil {
					t.Errorf("an upload that broke off at %d %% succeeded", percent)
				}
				if s.stored(file.Digest) {
					t.Errorf("%d %% of an upload are a blob", percent)
				}
				if got := s.get("/blobs/" + string(file.Digest)); got != http.StatusNotFound {
					t.Errorf("%d %% of an upload are served with status %d", percent, got)
				}
				from := held
				s.until(10*time.Second, "the master notices the cut", func() bool {
					var err error
					held, err = me.Stat(ctx, lease.Token, file.Digest)
					if err != nil || held < from || held > to {
						t.Fatalf("after the cut the master holds %d bytes (%v), it had %d and %d were sent", held, err, from, to)
					}
					// It takes no other upload before.
					_, err = me.Put(ctx, lease.Token, file.Digest, held, strings.NewReader(""))
					if err != nil && !errors.Is(err, albs.Conflict) {
						t.Fatal(err)
					}
					return err == nil
				})
			}
			if _, err := me.Put(ctx, lease.Token, file.Digest, held, strings.NewReader(foreign[held:])); err != nil {
				t.Fatal(err)
			}
			// Whole, it is still refused: it is no package of this task.
			return me.Complete(ctx, lease.Token, albs.OutcomeOK, albs.Result{Source: &albs.SourceResult{SRPM: file, Record: kept}})
		}, "albs-rich"},
		{"wrong-digest", func(ctx context.Context, lease *worker.Lease) error {
			claimed := file
			claimed.Digest = albs.DigestOf([]byte("something else"))
			if _, err := me.Put(ctx, lease.Token, claimed.Digest, 0, strings.NewReader(foreign)); err != nil {
				return err
			}
			err := me.Complete(ctx, lease.Token, albs.OutcomeOK, albs.Result{Source: &albs.SourceResult{SRPM: claimed, Record: kept}})
			if got := s.get("/blobs/" + string(claimed.Digest)); got != http.StatusNotFound {
				t.Errorf("what isn't what it is called is served with status %d", got)
			}
			return err
		}, "hash"},
		{"never-uploaded", func(ctx context.Context, lease *worker.Lease) error {
			claimed := file
			claimed.Digest = albs.DigestOf([]byte("never uploaded"))
			return me.Complete(ctx, lease.Token, albs.OutcomeOK, albs.Result{Source: &albs.SourceResult{SRPM: claimed, Record: kept}})
		}, "nothing of upload"},
		{"no-package", func(ctx context.Context, lease *worker.Lease) error {
			junk := "\xed\xab\xee\xdb" + strings.Repeat("\xff", 4096)
			claimed := albs.File{Name: "no-package-1-1.src.rpm", Digest: albs.DigestOf([]byte(junk)), Size: int64(len(junk))}
			if _, err := me.Put(ctx, lease.Token, claimed.Digest, 0, strings.NewReader(junk)); err != nil {
				return err
			}
			return me.Complete(ctx, lease.Token, albs.OutcomeOK, albs.Result{Source: &albs.SourceResult{SRPM: claimed, Record: kept}})
		}, "inspect no-package"},
		{"path-for-a-name", func(ctx context.Context, lease *worker.Lease) error {
			claimed := file
			claimed.Name = "../../" + file.Name
			if _, err := me.Put(ctx, lease.Token, claimed.Digest, 0, strings.NewReader(foreign)); err != nil {
				return err
			}
			return me.Complete(ctx, lease.Token, albs.OutcomeOK, albs.Result{Source: &albs.SourceResult{SRPM: claimed, Record: kept}})
		}, "use a plain name"},
	} {
		pkg := round + "-" + tc.name
		b := s.build("tiny", s.forge.spec(t, pkg, specOf(pkg, "true")))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		got := s.claim(token, albs.KindSource)
		if _, err := me.Put(ctx, got.Token, kept.Digest, 0, strings.NewReader(record)); err != nil {
			t.Fatal(err)
		}
		if err := tc.do(ctx, got); !errors.Is(err, albs.Invalid) {
			t.Errorf("%s: the result was answered with %v, want invalid", tc.name, err)
		}
		task := s.task(b, albs.KindSource)
		if task.State != albs.TaskFailed || !strings.Contains(task.Reason, tc.want) {
			t.Errorf("%s: the task is %s: %s; want it failed and %q in the reason", tc.name, task.State, task.Reason, tc.want)
		}
		cancel()
	}
	s.until(15*time.Second, "no uploads are left", func() bool { return len(s.staged("master")) == 0 })
}

// record is a buildroot record as short as can be.
const record = "{}"

// stored reports whether the master called "master" keeps what has that digest.
func (s *site) stored(d albs.Digest) bool {
	s.t.Helper()
	blobs, err := s.blobs(filepath.Join(s.dir, "master/master"))
	if err == nil {
		_, err = blobs.Stat(s.t.Context(), d)
	}
	if err != nil && !errors.Is(err, albs.NotFound) {
		s.t.Fatal(err)
	}
	return err == nil
}

// breaks is a reader that fails at its end.
type breaks struct{ r *strings.Reader }

func (b *breaks) Read(p []byte) (int, error) {
	if b.r.Len() == 0 {
		return 0, errors.New("cut")
	}
	return b.r.Read(p)
}

// get returns the status with which the master answers a request for path.
func (s *site) get(path string) int {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// made are packages that no node has built: of played an SRPM and packages for two
// arches, and of a stranger another.
type made struct{ srpm, x86, aarch64, twin, stranger string }

// handmade makes them with this machine's rpmbuild.
func handmade(t *testing.T) made {
	t.Helper()
	if _, err := exec.LookPath("rpmbuild"); err != nil {
		t.Skip("packages are made by hand with rpmbuild, which is not installed")
	}
	make := func(name, content, what, target string) string {
		dir := folder(t, self, t.Name(), strings.Join([]string{name, content, what, target}, "-"))
		spec := filepath.Join(dir, name+".spec")
		text := "%global debug_package %{nil}\n" + strings.Replace(specOf(name, "true"), "BuildArch: noarch\n", "", 1)
		text = strings.Replace(text, "echo "+name, "echo "+content, 1)
		if err := os.WriteFile(spec, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		output(t, command(t, time.Minute, "rpmbuild", what, "--target", target, "--define", "_topdir "+dir, "--define", "_sourcedir "+dir, spec), self)
		if what == "-bs" {
			return glob(t, filepath.Join(dir, "SRPMS/*.rpm"))
		}
		return glob(t, filepath.Join(dir, "RPMS/*/*.rpm"))
	}
	return made{
		srpm: make("played", "one", "-bs", "x86_64"), x86: make("played", "one", "-bb", "x86_64"), aarch64: make("played", "one", "-bb", "aarch64"),
		twin: make("played", "two", "-bb", "x86_64"), stranger: make("stranger", "one", "-bb", "x86_64"),
	}
}

// put uploads a file, as the holder of a lease, in two pieces.
func put(t *testing.T, me *worker.Client, lease *worker.Lease, path string) albs.File {
	t.Helper()
	text := read(t, path)
	f := albs.File{Name: filepath.Base(path), Digest: albs.DigestOf([]byte(text)), Size: int64(len(text))}
	half := f.Size / 2
	for _, piece := range []struct {
		at   int64
		text string
	}{{0, text[:half]}, {half, text[half:]}} {
		if _, err := me.Put(t.Context(), lease.Token, f.Digest, piece.at, strings.NewReader(piece.text)); err != nil {
			t.Errorf("upload %s: %v", f.Name, err)
		}
	}
	return f
}

// TestSlippedIn is T49, and T11 where two nodes upload the same: packages that a task was
// not to make are refused when they are given in, whatever their names say. What two nodes
// upload at once is one file, and each result has it.
func TestSlippedIn(t *testing.T) {
	t.Parallel()
	s := apart(t, longLease)
	m := handmade(t)
	repository := s.forge.spec(t, "played", specOf("played", "true"))
	one, two := s.enroll("one", "node"), s.enroll("two", "node")
	s.rounds(3, func(string) {
		file := s.file("buildroot.json", record)
		// sourced has two nodes make the SRPM of two builds at once.
		sourced := func(repository string) (builds []string) {
			var leases []*worker.Lease
			for _, token := range []string{one, two} {
				builds = append(builds, s.build("tiny", repository))
				leases = append(leases, s.claim(token, albs.KindSource))
			}
			var g sync.WaitGroup
			for i, token := range []string{one, two} {
				g.Go(func() {
					me := worker.NewClient(s.url, token, &http.Client{})
					r := albs.Result{Source: &albs.SourceResult{SRPM: put(t, me, leases[i], m.srpm), Record: put(t, me, leases[i], file)}}
					if err := me.Complete(t.Context(), leases[i].Token, albs.OutcomeOK, r); err != nil {
						t.Errorf("the SRPM by the node %d: %v", i+1, err)
					}
				})
			}
			g.Wait()
			for _, b := range builds {
				if got := s.task(b, albs.KindSource); got.State != albs.TaskSucceeded {
					t.Fatalf("the SRPM's task is %s: %s", got.State, got.Reason)
				}
			}
			return builds
		}
		for _, tc := range []struct {
			give []string
			want string // in the refusal; "" if there is none
		}{
			{[]string{m.x86}, ""},
			{[]string{m.aarch64}, "arch aarch64"},
			{[]string{m.stranger}, "stranger-1.0-1.src.rpm"},
			{[]string{m.x86, m.stranger}, "stranger-1.0-1.src.rpm"},
			{[]string{m.x86, m.twin}, "is there twice"},
			{[]string{m.srpm}, "played-1.0-1.src.rpm"},
			{nil, "no package"},
		} {
			builds := sourced(repository)
			for _, token := range []string{one, two} {
				me := worker.NewClient(s.url, token, &http.Client{})
				lease := s.claim(token, albs.KindBuild)
				var files []albs.File
				for _, path := range tc.give {
					files = append(files, put(t, me, lease, path))
				}
				err := me.Complete(t.Context(), lease.Token, albs.OutcomeOK, albs.Result{Build: &albs.BuildResult{Packages: files, Record: put(t, me, lease, file)}})
				switch {
				case tc.want == "" && err != nil:
					t.Errorf("what was asked for is refused: %v", err)
				case tc.want != "" && (!errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), tc.want)):
					t.Errorf("%q was answered with %v, want invalid and %q", tc.give, err, tc.want)
				}
			}
			for _, b := range builds {
				task := s.task(b, albs.KindBuild)
				if got := task.State == albs.TaskSucceeded; got != (tc.want == "") {
					t.Errorf("after %q the task is %s: %s", tc.give, task.State, task.Reason)
				}
				if want := len(tc.give); tc.want == "" && len(task.Files) < want || tc.want != "" && slices.ContainsFunc(task.Files, func(f client.BuildFile) bool { return f.Kind == "rpm" }) {
					t.Errorf("after %q the task shows %+v", tc.give, task.Files)
				}
			}
		}
		s.until(15*time.Second, "no uploads are left", func() bool { return len(s.staged("master")) == 0 })
		for _, path := range []string{m.aarch64, m.stranger, m.twin} {
			if got := s.get("/blobs/" + string(albs.DigestOf([]byte(read(t, path))))); got != http.StatusNotFound {
				t.Errorf("%s, which was refused, is served with status %d", filepath.Base(path), got)
			}
		}
	})
}
