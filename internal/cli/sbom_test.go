package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

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
