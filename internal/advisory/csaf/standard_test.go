package csaf

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"albs/internal/advisory"
	"albs/internal/advisory/advisorytest"
)

// laidOut writes all files of many advisories into a folder and returns the paths of
// those that are JSON.
func laidOut(t *testing.T, n int) []string {
	t.Helper()
	r := rand.New(rand.NewPCG(13, 17))
	d := home9()
	all := []advisory.Advisory{sample()}
	withdrawn := sample()
	withdrawn.ID = "ALSA-2026:1235"
	withdrawn.Withdrawn = &advisory.Withdrawal{At: withdrawn.Updated, Reason: "It broke things."}
	bare := sample()
	bare.ID, bare.Packages, bare.VEX = "ALSA-2026:1236", nil, nil
	nameless := sample()
	nameless.ID, nameless.CVEs, nameless.References, nameless.VEX = "ALSA-2026:A001", nil, nil, nil
	all = append(all, withdrawn, bare, nameless)
	for i := range n {
		all = append(all, advisorytest.Random(r, i))
	}
	var files []advisory.File
	var pieces []advisory.Piece
	for _, a := range all {
		fs, piece := write(t, a, d)
		files, pieces = append(files, fs...), append(pieces, piece)
	}
	at := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	lists, err := Lists(d, pieces, at, true)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Provider("https://repo.example.org/"+WellKnown, []advisory.Distribution{d}, []Key{{strings.Repeat("AB", 20), "https://repo.example.org/KEY"}}, at)
	if err != nil {
		t.Fatal(err)
	}
	none, err := Lists(d, nil, at, false)
	if err != nil {
		t.Fatal(err)
	}
	files = append(append(files, lists...), advisory.File{Path: providerName, Bytes: b}, advisory.File{Path: "none/" + feedName, Bytes: none[2].Bytes})
	dir := t.TempDir()
	var paths []string
	for _, f := range files {
		path := filepath.Join(dir, f.Path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Bytes, 0o644); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(path, ".json") {
			paths = append(paths, path)
		}
	}
	return paths
}

// TestGocsaf: gocsaf takes every document, the feed and the metadata for what they are, and
// sha256sum and sha512sum the hashes.
func TestGocsaf(t *testing.T) {
	t.Parallel()
	check := advisorytest.Gocsaf(t)
	paths := laidOut(t, 20)
	if out, err := check(paths...); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	// It does find faults.
	bad := filepath.Join(t.TempDir(), "alsa-2026_1234.json")
	b, err := os.ReadFile(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(bad, []byte(strings.Replace(string(b), `"final"`, `"done"`, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := check(bad); err == nil {
		t.Errorf("a document that breaks the schema passes: %s", out)
	}
	for _, path := range paths {
		if !strings.Contains(path, "/20") {
			continue
		}
		for _, sum := range []string{"sha256", "sha512"} {
			cmd := exec.CommandContext(t.Context(), sum+"sum", "--check", "--strict", "--quiet", filepath.Base(path)+"."+sum)
			cmd.Dir = filepath.Dir(path)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		}
	}
}

// TestStandard: every document passes the standard's own tests, the mandatory ones (§6.1)
// and the optional ones (§6.2), but for one.
func TestStandard(t *testing.T) {
	t.Parallel()
	check := advisorytest.Standard(t)
	var documents []string
	for _, path := range laidOut(t, 20) {
		if strings.Contains(path, "/20") {
			documents = append(documents, path)
		}
	}
	scored := 0
	for _, line := range check(documents...) {
		// §6.2.19 wants scores of fixed products to be 0 by their environment; everybody
		// scores what was fixed.
		if strings.Contains(line, ": optionalTest_6_2_19: ") {
			scored++
			continue
		}
		t.Error(line)
	}
	if scored == 0 {
		t.Errorf("of %d documents not one fault was found, and one is known", len(documents))
	}
}
