package cli

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/sbom"
)

// TestSBOM: a bill of a real package in each format, the same each time; what the bill
// says is package sbom's to test.
func TestSBOM(t *testing.T) {
	t.Parallel()
	const rich = "../rpm/testdata/albs-rich-1.0~rc1-3.el9.noarch.rpm"
	for _, f := range sbom.Formats() {
		args := []string{"sbom", "package", rich, "--format", string(f), "--distribution", "almalinux:9.4", "--supplier", "Example"}
		got := command(t, t.Context(), nil, args...)
		if got.code != 0 || got.stderr != "" || !strings.Contains(got.stdout, "albs-rich") {
			t.Errorf("%s: %+v", f, got)
		}
		file := filepath.Join(t.TempDir(), "bill")
		if again := command(t, t.Context(), nil, append(args, "--output", file)...); again.code != 0 {
			t.Errorf("%s into a file: %+v", f, again)
		}
		if b, err := os.ReadFile(file); err != nil || string(b) != got.stdout {
			t.Errorf("%s: the file isn't what was printed (%v)", f, err)
		}
	}
}

func TestSBOMRefuses(t *testing.T) {
	t.Parallel()
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("no package\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args   string
		code   int
		stderr string
	}{
		{"package", 2, "albs: an argument is missing\nusage: albs sbom package FILE.rpm"},
		{"package " + text, 1, "albs: " + text + " is no package: "},
		{"package " + filepath.Dir(text), 1, "albs: " + filepath.Dir(text) + " is not a regular file\n"},
		{"package " + text + "x", 1, "albs: read the file: open " + text + "x: no such file"},
		{"package " + text + " --format spdx-xml", 2, "albs: --format: there is no SBOM format \"spdx-xml\"; there are cyclonedx-json, "},
		{"package ../rpm/testdata/albs-rich-1.0~rc1-3.el9.noarch.rpm --distribution almalinux", 2, "albs: --distribution \"almalinux\": give ID:VERSION, as almalinux:9.4\n"},
		{"program " + text, 1, "albs: " + text + " is no program that Go made: "},
		{"program " + text + " --date yesterday", 2, "albs: "},
	} {
		got := command(t, t.Context(), nil, append([]string{"sbom"}, strings.Fields(tc.args)...)...)
		if got.code != tc.code || !strings.HasPrefix(got.stderr, tc.stderr) || got.stdout != "" {
			t.Errorf("albs sbom %s: %+v, want code %d and %q", tc.args, got, tc.code, tc.stderr)
		}
	}
}

// TestSBOMOfServer: what is no file is asked of the server, under its name and format.
func TestSBOMOfServer(t *testing.T) {
	t.Parallel()
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.String())
		f := sbom.Format(r.URL.Query().Get("format"))
		w.Header().Set("Content-Type", f.MediaType())
		_, _ = io.WriteString(w, "the bill")
	}))
	defer server.Close()
	env := map[string]string{"ALBS_URL": server.URL}
	sum := strings.Repeat("ab", 32)
	file := filepath.Join(t.TempDir(), "bill")
	for _, args := range []string{
		"package " + sum, "package hello-1:1-1.x86_64.rpm --format cyclonedx-xml", "build 7 --format spdx-rdf", "release 3 --format cyclonedx-json",
		"root " + sum + " --format cyclonedx-json", "root hello-1-1.x86_64",
	} {
		if got := command(t, t.Context(), env, append([]string{"sbom"}, strings.Fields(args)...)...); got.code != 0 || got.stdout != "the bill" {
			t.Errorf("albs sbom %s: %+v", args, got)
		}
	}
	if got := command(t, t.Context(), env, "sbom", "build", "7", "--output", file); got.code != 0 {
		t.Errorf("into a file: %+v", got)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "the bill" {
		t.Errorf("the file has %q, %v", b, err)
	}
	want := []string{
		"/api/v1/sbom/package/" + sum + "?format=spdx-json", "/api/v1/sbom/package/hello-1:1-1.x86_64.rpm?format=cyclonedx-xml",
		"/api/v1/sbom/build/7?format=spdx-rdf", "/api/v1/sbom/release/3?format=cyclonedx-json",
		"/api/v1/sbom/root/" + sum + "?format=cyclonedx-json", "/api/v1/sbom/root/hello-1-1.x86_64?format=spdx-json", "/api/v1/sbom/build/7?format=spdx-json",
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("asked for (-want +got):\n%s", diff)
	}
	for _, args := range []string{"build x", "release 0", "root x", "root", "build 7 --format spdx-xml", "package hello-1-1.x86_64 --distribution a:1", "package " + sum + " --supplier x"} {
		if got := command(t, t.Context(), env, append([]string{"sbom"}, strings.Fields(args)...)...); got.code != 2 {
			t.Errorf("albs sbom %s: %+v, want that it is wrong", args, got)
		}
	}
}

// TestSBOMOfImage: of a folder and of the image that is made of it the same packages are
// told; what the bill says is package image's to test.
func TestSBOMOfImage(t *testing.T) {
	t.Parallel()
	dir, out := t.TempDir(), filepath.Join(t.TempDir(), "made.iso")
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	rich, err := os.ReadFile("../rpm/testdata/albs-rich-1.0~rc1-3.el9.noarch.rpm")
	if err != nil {
		t.Fatal(err)
	}
	write("Minimal/Packages/a/albs-rich-1.0~rc1-3.el9.noarch.rpm", string(rich))
	write(".treeinfo", "[general]\nfamily = AlmaLinux\nversion = 9.4\nvariants = Minimal\n[variant-Minimal]\npackages = Minimal/Packages\n")
	args := func(of string) []string {
		return []string{"sbom", "iso", of, "--supplier", "Example", "--format", "cyclonedx-json"}
	}
	folder := command(t, t.Context(), nil, args(dir)...)
	if folder.code != 0 || !strings.Contains(folder.stdout, `"name": "AlmaLinux 9.4 Minimal ISO"`) || !strings.Contains(folder.stdout, "pkg:rpm/almalinux/albs-rich@") {
		t.Errorf("of a folder: %+v", folder)
	}
	for _, tc := range []struct{ path, want string }{
		{filepath.Join(dir, ".treeinfo"), "it is no ISO 9660 image"}, {filepath.Join(dir, "Minimal"), "it has no .treeinfo"}, {filepath.Join(dir, "none"), "no such file"}, {"/dev/null", "neither a folder nor a regular file"},
	} {
		if got := command(t, t.Context(), nil, args(tc.path)...); got.code != 1 || !strings.Contains(got.stderr, tc.want) || got.stdout != "" {
			t.Errorf("of %s: %+v, want %q", tc.path, got, tc.want)
		}
	}
	if got := command(t, t.Context(), nil, append(args(dir), "--distribution", "x")...); got.code != 2 {
		t.Errorf("of a distribution without a version: %+v", got)
	}
	xorriso, err := exec.LookPath("xorriso")
	if err != nil {
		t.Skip("xorriso is not installed: the image itself isn't tested")
	}
	if said, err := exec.CommandContext(t.Context(), xorriso, "-as", "mkisofs", "-quiet", "-R", "-o", out, dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	image := command(t, t.Context(), nil, args(out)...)
	var a, b struct {
		Components   any
		Dependencies any
		Metadata     struct{ Component struct{ Hashes []any } }
	}
	if err := errors.Join(json.Unmarshal([]byte(folder.stdout), &a), json.Unmarshal([]byte(image.stdout), &b)); err != nil || image.code != 0 {
		t.Fatalf("of the image: %v, %+v", err, image)
	}
	if diff := cmp.Diff(a.Components, b.Components) + cmp.Diff(a.Dependencies, b.Dependencies); diff != "" || len(b.Metadata.Component.Hashes) != 2 {
		t.Errorf("the image has %v, and what the folder hasn't (-folder +image):\n%s", b.Metadata.Component.Hashes, diff)
	}
}
