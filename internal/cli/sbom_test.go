package cli

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
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
		"/api/v1/sbom/build/7?format=spdx-rdf", "/api/v1/sbom/release/3?format=cyclonedx-json", "/api/v1/sbom/build/7?format=spdx-json",
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("asked for (-want +got):\n%s", diff)
	}
	for _, args := range []string{"build x", "release 0", "build 7 --format spdx-xml", "package hello-1-1.x86_64 --distribution a:1", "package " + sum + " --supplier x"} {
		if got := command(t, t.Context(), env, append([]string{"sbom"}, strings.Fields(args)...)...); got.code != 2 {
			t.Errorf("albs sbom %s: %+v, want that it is wrong", args, got)
		}
	}
}
