package releaser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/bucket"
	"albs/internal/worker/releaser/further"
	"albs/internal/worker/releaser/laid"
)

// told returns what lies beside a package, by the ending, and the part of a task that
// says so. word makes it another one.
func (w *world) told(name, word string) (map[string]string, albs.ProvePackage) {
	w.t.Helper()
	var texts [3]string
	for i, ending := range laid.Endings[:3] {
		texts[i] = fmt.Sprintf("%s of %s%s\n", ending, name, word)
	}
	return w.tell(name, texts)
}

// tell is told for texts.
func (w *world) tell(name string, texts [3]string) (map[string]string, albs.ProvePackage) {
	w.t.Helper()
	k := albs.ProvePackage{Paths: []string{repo + "/Packages/" + name[:1] + "/" + name}, Package: albs.DigestOf(w.rpms()[name])}
	files := map[string]string{}
	for i, d := range []*albs.Digest{&k.Statements, &k.LedgerProof, &k.LogProof} {
		var err error
		if *d, _, err = w.blobs.Write(w.t.Context(), strings.NewReader(texts[i]), 1<<20); err != nil {
			w.t.Fatal(err)
		}
		files[laid.Endings[i]] = texts[i]
	}
	return files, k
}

// prove does what a task does; wrap may stand between it and the folder.
func (w *world) prove(wrap func(folder) folder, packages ...albs.ProvePackage) (albs.ProveResult, error) {
	w.t.Helper()
	r, _, err := w.summarize(wrap, packages...)
	return r, err
}

// summarize is prove, with the summaries.
func (w *world) summarize(wrap func(folder) folder, packages ...albs.ProvePackage) (albs.ProveResult, []byte, error) {
	w.t.Helper()
	p, err := openPlace(w.public, product)
	if err != nil {
		return albs.ProveResult{}, nil, err
	}
	defer p.Close()
	if wrap != nil {
		p.root = wrap(p.root)
	}
	return p.prove(w.t.Context(), albs.ProveSpec{Product: product, Packages: packages}, w.v, w.blobs, io.Discard)
}

// tells checks that readers find all files beside a package.
func (v *venue) tells(name string, files map[string]string) {
	v.t.Helper()
	at, err := v.leads(repo)
	if err != nil {
		v.t.Fatal(err)
	}
	for ending, want := range files {
		if b, err := v.ask(at + "Packages/" + name[:1] + "/" + name + ending); err != nil || string(b) != want {
			v.t.Errorf("%s%s is %q, %v, want %q", name, ending, b, err, want)
		}
	}
}

// TestProve is what every kind of place promises of what lies beside packages.
func TestProve(t *testing.T) {
	t.Parallel()
	venues(t, func(t *testing.T, v *venue) {
		one := v.snapshot(nil, 1, alpha, beta)
		v.mustBring(v.tree(1, one))
		ofAlpha, a := v.told(alpha, "")
		ofBeta, b := v.told(beta, "")
		prove := func(want albs.ProveResult, packages ...albs.ProvePackage) {
			t.Helper()
			if got, err := v.prove(nil, packages...); err != nil || !cmp.Equal(got, want) {
				t.Fatalf("prove = %+v, %v, want %+v", got, err, want)
			}
			if v.f != nil {
				if _, err := v.along(); err != nil {
					t.Fatal(err)
				}
			}
		}
		prove(albs.ProveResult{Packages: 1}, a)
		v.tells(alpha, ofAlpha)
		prove(albs.ProveResult{Packages: 2}, a, b)
		v.tells(alpha, ofAlpha)
		v.tells(beta, ofBeta)
		v.mustHold(1, one) // the tree is as it was

		// A place that has the package in another tree shows it with all that is told of it.
		two := v.snapshot(one, 2, gamma)
		v.mustBring(v.tree(2, two))
		v.mustHold(2, two)
		v.tells(alpha, ofAlpha)
		v.tells(beta, ofBeta)

		_, gone := v.told(alpha, "")
		gone.Paths = []string{repo + "/Packages/n/none-1-1.noarch.rpm"}
		prove(albs.ProveResult{Gone: 1}, gone)
		for _, word := range []string{" again, for it was lost", " twice, for it was lost"} { // of one size
			again, k := v.told(alpha, word)
			prove(albs.ProveResult{Packages: 1}, k)
			v.tells(alpha, again)
		}

		latest := ofBeta
		for why, k := range map[string]albs.ProvePackage{
			"another package": {Paths: a.Paths, Package: b.Package},
			"out of the pool": {Paths: []string{"../../x.rpm"}, Package: a.Package},
			"no package":      {Paths: []string{repo + "/repodata/repomd.xml"}, Package: a.Package},
			"by content":      {Paths: []string{".digest/" + string(a.Package[:2]) + "/x.rpm"}, Package: a.Package},
		} {
			k.Statements, k.LedgerProof, k.LogProof = a.Statements, a.LedgerProof, a.LogProof
			// It holds up no other.
			word, next := v.told(beta, " beside "+why)
			want := albs.ProveResult{Packages: 1, Wrong: []albs.Digest{k.Package}}
			if got, err := v.prove(nil, k, next); !errors.Is(err, albs.Invalid) || !cmp.Equal(got, want) {
				t.Errorf("%s: %+v, %v, want Invalid and %+v", why, got, err, want)
			}
			latest = word
		}
		if v.f != nil {
			if _, err := v.along(); err != nil {
				t.Fatal(err)
			}
		}
		v.tells(beta, latest)
	})
}

// TestProvePruned: what lies beside a package goes with it.
func TestProvePruned(t *testing.T) {
	t.Parallel()
	w := setup(t)
	now := time.Now()
	w.past(now)
	want := pooledAs(t, beta, gamma)
	for _, name := range []string{alpha, beta} {
		files, k := w.told(name, "")
		if _, err := w.prove(nil, k); err != nil {
			t.Fatal(err)
		}
		for ending := range files {
			if name == beta {
				want = append(want, "pool/"+repo+"/Packages/b/"+beta+ending)
			}
		}
	}
	r, err := w.prune(3, true, now.Add(leaveFor), nil)
	if err != nil || r.Packages != 1 {
		t.Fatalf("prune = %+v, %v, want one package", r, err)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, w.pool()); diff != "" {
		t.Errorf("in the pool (-want +got):\n%s", diff)
	}
}

// TestKillWhileProving: killed before whatever step, a file is there whole or not, the
// last of a package only with those before it, and the next attempt completes them.
func TestKillWhileProving(t *testing.T) {
	t.Parallel()
	w := setup(t)
	ofAlpha, a := w.told(alpha, "")
	ofBeta, b := w.told(beta, "")
	killWhileProving(t, w, map[string]map[string]string{alpha: ofAlpha, beta: ofBeta}, a, b)
}

// killWhileProving proves packages of which that is told, a summary of what was told already
// among it. Each round is killed one step later.
func killWhileProving(t *testing.T, w *world, told map[string]map[string]string, packages ...albs.ProvePackage) {
	t.Helper()
	one := w.snapshot(nil, 1, slices.Collect(maps.Keys(told))...)
	first := w.tree(1, one)
	check := func(whole bool) error {
		for name, files := range told {
			missing := false
			for _, ending := range laid.Endings[:len(files)] {
				got, err := os.ReadFile(filepath.Join(w.public, product, "pool", repo, "Packages", name[:1], name+ending))
				switch {
				case err != nil && whole:
					return err
				case err != nil:
					missing = true
				case string(got) != files[ending]:
					return fmt.Errorf("%s%s is %q", name, ending, got)
				case missing:
					return fmt.Errorf("%s%s is there, and one before it isn't", name, ending)
				}
			}
		}
		return nil
	}
	killed := 0
	for n := 0; ; n++ {
		w.public = inMemory(t)
		w.mustPublish(first)
		unsynced := map[string]bool{}
		var left atomic.Int64
		left.Store(int64(n))
		_, err := w.prove(func(f folder) folder { return mortal{volatile{f, unsynced, new(sync.Mutex)}, &left} }, packages...)
		if err == nil {
			break
		}
		if !errors.Is(err, errKilled) {
			t.Fatalf("killed after %d steps: %v", n, err)
		}
		killed++
		w.shows(1, one)
		if err := check(false); err != nil {
			t.Errorf("killed after %d steps: %v", n, err)
		}
		if _, err := w.prove(func(f folder) folder { return volatile{f, unsynced, new(sync.Mutex)} }, packages...); err != nil {
			t.Fatalf("after it was killed after %d steps: %v", n, err)
		}
		if err := check(true); err != nil {
			t.Errorf("killed after %d steps, then completed: %v", n, err)
		}
		if len(unsynced) > 0 {
			t.Errorf("killed after %d steps, then completed: a power cut would take %v", n, slices.Sorted(maps.Keys(unsynced)))
		}
	}
	if killed < 10 {
		t.Errorf("there were %d rounds", killed)
	}
}

// watched looks at a bucket whenever an object is about to be put.
type watched struct {
	further.Objects
	put func(key string)
}

func (w watched) Put(ctx context.Context, p bucket.Put) (bucket.Object, error) {
	w.put(p.Key)
	return w.Objects.Put(ctx, p)
}

// TestProofsBeforeTheSwitch: what is told already of packages of a repository that changes
// is in a bucket before readers are led there.
func TestProofsBeforeTheSwitch(t *testing.T) {
	t.Parallel()
	v := inS3(t, setup(t))
	one := v.snapshot(nil, 1, alpha)
	v.mustBring(v.tree(1, one))
	files, a := v.told(alpha, "")
	if _, err := v.prove(nil, a); err != nil {
		t.Fatal(err)
	}
	if _, err := v.along(); err != nil {
		t.Fatal(err)
	}
	open := v.f.open
	looked := false
	v.f.open = func(from *laid.Product, log io.Writer) further.Remote {
		r := open(from, log).(*further.InBucket)
		r.Objects = watched{r.Objects, func(key string) {
			if !strings.HasSuffix(key, "/current.json") {
				return
			}
			looked = true
			for ending, want := range files {
				if b, err := v.get(product + "/trees/2/" + repo + "/Packages/a/" + alpha + ending); err != nil || string(b) != want {
					t.Errorf("before the switch %s is %q, %v", ending, b, err)
				}
			}
		}}
		return r
	}
	v.mustBring(v.tree(2, v.snapshot(one, 2, beta)))
	if !looked {
		t.Error("nothing was switched")
	}
	v.tells(alpha, files)
}
