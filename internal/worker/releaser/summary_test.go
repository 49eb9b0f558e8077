package releaser

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/attest/attesttest"
	"albs/internal/worker/releaser/laid"
)

// stated gives the world packages that a farm has built, signed and released, and a
// verifier that trusts it.
func (w *world) stated() *attesttest.Farm {
	w.t.Helper()
	f, err := attesttest.New(w.t.TempDir())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := f.Close(); err != nil {
			w.t.Error(err)
		}
	})
	f.Product, f.Trust.Products = product, []string{product}
	w.v = w.trusting(f, f.Trust)
	w.made = map[string][]byte{}
	return f
}

func (w *world) trusting(f *attesttest.Farm, trust attest.Trust) *verifier {
	w.t.Helper()
	c := Config{URL: "https://repo.example.org", Trust: func(context.Context, string) (attest.Trust, error) { return trust, nil }}
	v, err := c.verifier(w.t.Context(), f.Releaser(), product)
	if err != nil {
		w.t.Fatal(err)
	}
	return v
}

// released has the farm release a package, and returns it with what is told of it.
func (w *world) released(f *attesttest.Farm, name string) (attesttest.Released, map[string]string, albs.ProvePackage) {
	w.t.Helper()
	unsigned, err := rpms()
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := f.Release(unsigned[name])
	if err != nil {
		w.t.Fatal(err)
	}
	w.made[name] = r.Signed
	files, k := w.tellOf(r)
	return r, files, k
}

// tellOf is tell for a package that was released.
func (w *world) tellOf(r attesttest.Released) (map[string]string, albs.ProvePackage) {
	w.t.Helper()
	return w.tell(r.Package.Filename(), [3]string{string(r.Bundle.Envelopes()), string(r.Bundle.Proof()), string(r.Bundle.Log)})
}

// has returns what readers find with an ending beside a package, "" if nothing.
func (v *venue) has(name, ending string) string {
	v.t.Helper()
	at, err := v.leads(repo)
	if err != nil {
		v.t.Fatal(err)
	}
	b, err := v.ask(at + "Packages/" + name[:1] + "/" + name + ending)
	if err != nil {
		return ""
	}
	return string(b)
}

// TestSummaries is what every kind of place promises of verification summaries.
func TestSummaries(t *testing.T) {
	t.Parallel()
	venues(t, func(t *testing.T, v *venue) {
		f := v.stated()
		r, files, a := v.released(f, alpha)
		v.mustBring(v.tree(1, v.snapshot(nil, 1, alpha)))
		prove := func(k albs.ProvePackage) (albs.ProveResult, []byte, error) {
			t.Helper()
			return v.summarize(nil, k)
		}
		follow := func() {
			t.Helper()
			if v.f != nil {
				if _, err := v.along(); err != nil {
					t.Fatal(err)
				}
			}
		}
		result, made, err := prove(a)
		if err != nil || result.Packages != 1 || len(result.Wrong) != 0 {
			t.Fatalf("prove = %+v, %v", result, err)
		}
		follow()
		files[attest.SummarySuffix] = string(made)
		v.tells(alpha, files)
		r.Bundle.VSA = made
		report, err := attest.Verify(t.Context(), bytes.NewReader(r.Signed), int64(len(r.Signed)), r.Bundle, f.Trust)
		if err != nil || report.Summary == nil || report.Summary.Level != "SLSA_BUILD_LEVEL_3" {
			t.Fatalf("a stranger finds %+v, %v", report.Summary, err)
		}
		if !strings.Contains(string(decoded(t, made)), `"uri":"https://repo.example.org/seed/pool/`+repo+"/Packages/a/"+alpha+`.intoto.jsonl"`) {
			t.Errorf("the summary is %s", decoded(t, made))
		}

		// An attempt whose result was lost is made again, and states the same.
		if _, again, err := prove(a); err != nil || string(again) != string(made) {
			t.Errorf("the second time the summaries are %q, %v, want %q", again, err, made)
		}
		// Who verifies no more has said what was said.
		v.v = nil
		if result, again, err := prove(a); err != nil || len(again) > 0 || result.Packages != 1 {
			t.Errorf("without a trust file: %+v, %q, %v", result, again, err)
		}
		v.tells(alpha, files)

		// What is told anew has no summary of what was told before.
		if err := f.Later(&r); err != nil {
			t.Fatal(err)
		}
		files, a = v.tellOf(r)
		if _, _, err := prove(a); err != nil {
			t.Fatal(err)
		}
		follow()
		if v.has(alpha, attest.SummarySuffix) != "" {
			t.Error("a summary of other files is left")
		}
		v.tells(alpha, files)
		v.v = v.trusting(f, f.Trust)
		if _, made, err = prove(a); err != nil || len(made) == 0 || v.f == nil && v.has(alpha, attest.SummarySuffix) != string(made) {
			t.Errorf("told anew: %v", err)
		}

		// What doesn't verify is told, and its summary goes; what others state of it stays.
		other := f.Trust
		other.Builders = []string{"urn:another:builder"}
		v.v = v.trusting(f, other)
		result, made, err = prove(a)
		if want := (albs.ProveResult{Packages: 1, Wrong: []albs.Digest{a.Package}}); !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), "doesn't accept the builder") || !cmp.Equal(result, want) || made != nil {
			t.Errorf("with a builder that isn't trusted: %+v, %q, %v", result, made, err)
		}
		follow()
		if v.has(alpha, attest.SummarySuffix) != "" {
			t.Error("what doesn't verify has a summary")
		}
		v.tells(alpha, files)
	})
}

// decoded is the payload of a summary.
func decoded(t *testing.T, file []byte) []byte {
	t.Helper()
	e, err := attest.ParseSummary(file)
	if err != nil {
		t.Fatal(err)
	}
	return e.Payload
}

// TestKillWhileSummarizing is TestKillWhileProving of packages that are verified; when that
// was is the first attempt's to say.
func TestKillWhileSummarizing(t *testing.T) {
	t.Parallel()
	w := setup(t)
	f := w.stated()
	_, files, a := w.released(f, alpha)
	w.public = inMemory(t)
	w.mustPublish(w.tree(1, w.snapshot(nil, 1, alpha)))
	killed := 0
	for n := 0; ; n++ {
		w.public = inMemory(t)
		w.mustPublish(w.tree(1, w.snapshot(nil, 1, alpha)))
		left := n
		_, _, err := w.summarize(func(f folder) folder { return counted{f, &left} }, a)
		name := filepath.Join(w.public, product, "pool", repo, "Packages/a", alpha)
		before, berr := os.ReadFile(name + attest.SummarySuffix)
		if berr == nil {
			for _, ending := range laid.Endings[:3] {
				if b, err := os.ReadFile(name + ending); err != nil || string(b) != files[ending] {
					t.Errorf("killed after %d steps there is a summary and no %s: %v", n, ending, err)
				}
			}
		}
		_, summary, again := w.summarize(nil, a)
		if after, rerr := os.ReadFile(name + attest.SummarySuffix); again != nil || rerr != nil || string(after) != string(summary) || berr == nil && string(before) != string(after) {
			t.Errorf("after it was killed after %d steps: %v, %v; the summary was %q and is %q", n, again, rerr, before, after)
		}
		if err == nil {
			break
		}
		if !errors.Is(err, errKilled) {
			t.Fatalf("killed after %d steps: %v", n, err)
		}
		killed++
	}
	if killed < 5 {
		t.Errorf("there were %d rounds", killed)
	}
}

// counted lets only some names be made.
type counted struct {
	folder
	left *int
}

func (c counted) alive() error {
	if *c.left--; *c.left < 0 {
		return errKilled
	}
	return nil
}

func (c counted) Create(name string) (file, error) {
	if err := c.alive(); err != nil {
		return nil, err
	}
	return c.folder.Create(name)
}

func (c counted) Rename(a, b string) error {
	if err := c.alive(); err != nil {
		return err
	}
	return c.folder.Rename(a, b)
}

// TestTrustFile: a bad one is told at the start, and who has none verifies nothing.
func TestTrustFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "trust.json")
	c := Config{TrustFile: file}
	if err := c.Check(); albs.KindOf(err) != albs.Invalid || !strings.Contains(err.Error(), "trust_file") {
		t.Errorf("without the file: %v", err)
	}
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Check(); albs.KindOf(err) != albs.Invalid || !strings.Contains(err.Error(), "trust_file") {
		t.Errorf("with a bad one: %v", err)
	}
	f, err := attesttest.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text := append(f.Trust.Encode(), '\n')
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if v, err := c.verifier(t.Context(), f.Releaser(), product); err != nil || v.policy != albs.DigestOf(text) || c.Check() != nil || len(c.Warnings()) > 0 {
		t.Errorf("with a good one: %+v, %v", v, err)
	}
	c.TrustFile = ""
	if v, err := c.verifier(t.Context(), f.Releaser(), product); v != nil || err != nil || len(c.Warnings()) != 1 {
		t.Errorf("with none: %+v, %v", v, err)
	}
}
