package osv

import (
	"archive/zip"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"testing"

	"albs/internal/advisory"
	"albs/internal/advisory/advisorytest"

	"github.com/google/go-cmp/cmp"
)

// TestScanner: osv-scanner, with no database but our files, finds the source packages that
// are older by rpm's order, and no others.
func TestScanner(t *testing.T) {
	if testing.Short() {
		t.Skip("osv-scanner takes minutes to compile: not with -short")
	}
	t.Parallel()
	dir := t.TempDir()
	program := filepath.Join(dir, "osv-scanner-program")
	build := exec.CommandContext(t.Context(), "go", "build", "-C", "testdata/osv-scanner", "-o", program, "github.com/google/osv-scanner/v2/cmd/osv-scanner")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Skipf("osv-scanner can't be had here: %v\n%s", err, out)
	}
	withdrawn := sample()
	withdrawn.ID, withdrawn.Withdrawn = "ALSA-2026:9999", &advisory.Withdrawal{At: sample().Updated, Reason: "It was wrong."}
	database := filepath.Join(dir, "osv-scanner/AlmaLinux/all.zip")
	if err := os.MkdirAll(filepath.Dir(database), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(database)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	for _, a := range []advisory.Advisory{sample(), withdrawn} {
		for _, file := range Files(a, advisorytest.Distribution()) {
			w, err := z.Create(path.Base(file.Path))
			if err == nil {
				_, err = w.Write(file.Bytes)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}

	type installed struct {
		Name      string `json:"name"`
		Version   string `json:"version"`
		Ecosystem string `json:"ecosystem"`
	}
	type found struct {
		Results []struct {
			Packages []struct {
				Package         installed `json:"package"`
				Vulnerabilities []struct {
					ID       string   `json:"id"`
					Upstream []string `json:"upstream"`
				} `json:"vulnerabilities"`
				Groups []struct {
					MaxSeverity string `json:"max_severity"`
				} `json:"groups"`
			} `json:"packages"`
		} `json:"results"`
	}
	var list []map[string]installed
	for _, p := range []installed{
		{"perl", "4:5.32.1-8.el9", "AlmaLinux:9"},
		{"perl", "4:5.32.1-10.el9", "AlmaLinux:9"}, // older by strings
		{"perl", "4:5.32.1-1.el8", "AlmaLinux:8"},
		{"qemu-kvm", "17:9.0.0-2.module+el9", "AlmaLinux:9"},
		{"qemu-kvm", "17:9.0.0-3.module+el9", "AlmaLinux:9"},
		{"zlib", "1-1", "AlmaLinux:9"},
	} {
		list = append(list, map[string]installed{"package": p})
	}
	in, err := json.Marshal(map[string]any{"results": []any{map[string]any{"packages": list}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "osv-scanner-custom.json")
	if err := os.WriteFile(file, in, 0o644); err != nil {
		t.Fatal(err)
	}
	scan := exec.CommandContext(t.Context(), program, "scan", "source", "--offline", "--local-db-path", dir, "--format", "json", "--lockfile", "osv-scanner:"+file)
	scan.Env = append(os.Environ(), "HOME="+dir)
	out, err := scan.Output()
	var ended *exec.ExitError
	if errors.As(err, &ended) && ended.ExitCode() != 1 || err != nil && ended == nil { // 1: something was found
		t.Fatalf("%v: %s", err, out)
	}
	var said found
	if err := json.Unmarshal(out, &said); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var got []string
	for _, r := range said.Results {
		for _, p := range r.Packages {
			for _, v := range p.Vulnerabilities {
				if !slices.Equal(v.Upstream, sample().AllCVEs()) || len(p.Groups) != 1 || p.Groups[0].MaxSeverity != "9.8" {
					t.Errorf("of %s it tells %v %+v", p.Package.Name, v.Upstream, p.Groups)
				}
				got = append(got, p.Package.Name+" "+p.Package.Version+" "+v.ID)
			}
		}
	}
	slices.Sort(got)
	if d := cmp.Diff([]string{"perl 4:5.32.1-8.el9 ALSA-2026:1234", "qemu-kvm 17:9.0.0-2.module+el9 ALSA-2026:1234"}, got); d != "" {
		t.Errorf("%s\n%s", d, out)
	}
}
