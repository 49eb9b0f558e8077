package releaser

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/attest/effect"
	"albs/internal/rpm"
)

// effects saves what a release of product does, and returns it as a task names it.
func (w *world) effects(product string, repos ...effect.Repository) albs.File {
	w.t.Helper()
	b := effect.Effects{Product: product, Key: "ABCD", Expires: time.Unix(1e9, 0), Repositories: repos}.Encode()
	d, n, err := w.blobs.Write(w.t.Context(), bytes.NewReader(b), effect.Max)
	if err != nil {
		w.t.Fatal(err)
	}
	return albs.File{Name: "effects.json", Digest: d, Size: n}
}

// adds is that a package is added.
func (w *world) adds(name string) effect.Package {
	w.t.Helper()
	made, err := rpms()
	if err != nil {
		w.t.Fatal(err)
	}
	return effect.Package{File: name, Digest: albs.DigestOf(made[name])}
}

// witnessed publishes what spec says and returns what the releaser would state by s.
func (w *world) witnessed(spec albs.PublishSpec, s *attest.Signer, src source) ([]byte, error) {
	w.t.Helper()
	added, err := additions(w.t.Context(), spec, src)
	if err != nil {
		return nil, err
	}
	t, err := fetchTree(w.t.Context(), spec, w.blobs)
	if err != nil {
		return nil, err
	}
	check := func(context.Context) error { return nil }
	if _, err := show(w.t.Context(), Config{Public: w.public}, t, added, w.blobs, check, new(strings.Builder)); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = writeStatements(&b, s, spec, added)
	return b.Bytes(), err
}

// TestStatements holds what the releaser states to what it laid, the second time, when it
// is shown already, too.
func TestStatements(t *testing.T) {
	t.Parallel()
	w := setup(t)
	states, err := openStates(filepath.Join(t.TempDir(), "own"))
	if err != nil {
		t.Fatal(err)
	}
	spec := w.tree(1, w.snapshot(nil, 1, alpha, beta))
	spec.Release, spec.Approvals = 7, []albs.ApprovedBy{{Person: "ada", At: time.Unix(1e9, 0).UTC()}}
	gone := w.adds(beta)
	gone.Removed = true
	waived := w.adds(alpha)
	waived.Waivers = []albs.Waived{{Waiver: 3, Person: "ada", Reason: "it is known", Expires: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}}
	spec.Effects = w.effects(product, effect.Repository{Path: repo, Changes: []effect.Package{waived, gone, waived}}, effect.Repository{Path: empty})
	first, err := w.witnessed(spec, states, w.blobs)
	if err != nil {
		t.Fatal(err)
	}
	again, err := w.witnessed(spec, states, w.blobs)
	if err != nil || !bytes.Equal(first, again) {
		t.Errorf("the second attempt states %s, %v", again, err)
	}
	made, err := rpms()
	if err != nil {
		t.Fatal(err)
	}
	p, err := rpm.Read(bytes.NewReader(made[alpha]))
	if err != nil {
		t.Fatal(err)
	}
	want, err := attest.New(attest.Subject{Name: alpha, Digest: map[string]string{
		attest.SHA256: string(albs.DigestOf(made[alpha])), attest.HeaderSHA256: string(p.HeaderSHA256), attest.PayloadSHA256: string(p.PayloadSHA256),
	}}, attest.Release, attest.ReleaseBody{
		Product: product, Repositories: []string{repo}, Release: 7, Serial: 1, Tree: spec.Tree, Plan: spec.Effects.Digest, Approvals: spec.Approvals,
		Waivers: waived.Waivers,
	})
	if err != nil {
		t.Fatal(err)
	}
	e, err := attest.ParseEnvelope(bytes.TrimSuffix(first, []byte("\n")))
	if err == nil {
		err = e.Says(want, states.Public())
	}
	if err != nil || e.About() != want.Subject[0].File() {
		t.Errorf("it states %s: %v", first, err)
	}

	none := spec
	none.Effects = albs.File{}
	if b, err := w.witnessed(none, states, w.blobs); err != nil || len(b) > 0 {
		t.Errorf("of a release that adds nothing it states %s, %v", b, err)
	}
}

// TestStatementsOfWhatLayThere: what an attempt showed whose statements never came is stated
// with a later tree, in which it is no news.
func TestStatementsOfWhatLayThere(t *testing.T) {
	t.Parallel()
	w := setup(t)
	states, err := openStates(filepath.Join(t.TempDir(), "own"))
	if err != nil {
		t.Fatal(err)
	}
	one := w.snapshot(nil, 1, alpha)
	w.mustPublish(w.tree(1, one))
	spec := w.tree(2, w.snapshot(one, 2, gamma))
	spec.Release = 7
	spec.Effects = w.effects(product, effect.Repository{Path: repo, Changes: []effect.Package{w.adds(alpha), w.adds(gamma)}})
	got, err := w.witnessed(spec, states, w.blobs)
	if err != nil || bytes.Count(got, []byte("\n")) != 2 {
		t.Errorf("it states %s, %v, want a line for each of two packages", got, err)
	}
}

// TestWhatIsNotThere are releases whose additions don't lie as they should: nothing is
// stated of them.
func TestWhatIsNotThere(t *testing.T) {
	t.Parallel()
	w := setup(t)
	states, err := openStates(filepath.Join(t.TempDir(), "own"))
	if err != nil {
		t.Fatal(err)
	}
	spec := w.tree(1, w.snapshot(nil, 1, alpha, beta))
	for _, tt := range []struct {
		name    string
		effects albs.File
		src     source
		spoil   func(t *testing.T)
		say     string
	}{
		{name: "a package that isn't in the repository", effects: w.effects(product, effect.Repository{Path: empty, Changes: []effect.Package{w.adds(alpha)}}), say: "doesn't list"},
		{name: "a repository that isn't in the tree", effects: w.effects(product, effect.Repository{Path: "other", Changes: []effect.Package{w.adds(alpha)}}), say: "doesn't have"},
		{name: "another product", effects: w.effects("other", effect.Repository{Path: repo, Changes: []effect.Package{w.adds(alpha)}}), say: "the effects are of"},
		{name: "other bytes", effects: w.effects(product), src: liar{w.blobs, w.effects("liar").Digest}, say: "hash to"},
		{name: "no effects", effects: albs.File{Digest: spec.Tree}, say: "the effects can't be read"},
		{
			name: "a file of another package in the pool", effects: w.effects(product, effect.Repository{Path: repo, Changes: []effect.Package{w.adds(alpha)}}),
			spoil: func(t *testing.T) {
				name := filepath.Join(w.public, product, "pool", repo, "Packages", alpha[:1], alpha)
				if err := os.Rename(name, name+".old"); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(name, []byte("another"), 0o644); err != nil {
					t.Fatal(err)
				}
			}, say: "is not the package",
		},
	} {
		s := spec
		s.Effects = tt.effects
		if tt.spoil != nil {
			tt.spoil(t)
		}
		src := tt.src
		if src == nil {
			src = w.blobs
		}
		if b, err := w.witnessed(s, states, src); albs.KindOf(err) != albs.Invalid || !strings.Contains(err.Error(), tt.say) || len(b) > 0 {
			t.Errorf("%s: it states %s, %v, want Invalid that says %q", tt.name, b, err, tt.say)
		}
	}
}

// TestOwnKey has a key be made once, for nobody else's eyes.
func TestOwnKey(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "own")
	one, err := openStates(dir)
	if err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(dir, "statements-1234") // by one that was killed
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	two, err := openStates(dir)
	if err != nil || one.KeyID() != two.KeyID() {
		t.Errorf("the second start has another key, %v", err)
	}
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was left is still there: %v", err)
	}
	var modes []os.FileMode
	for _, name := range []string{dir, filepath.Join(dir, "statement.key")} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		modes = append(modes, info.Mode().Perm())
	}
	if diff := cmp.Diff([]os.FileMode{0o700, 0o600}, modes); diff != "" {
		t.Error(diff)
	}
}
