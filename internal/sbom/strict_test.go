package sbom

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// library are the packages of npm that validate: CycloneDX's reference implementation and
// what it asks for to do so.
var library = []string{"@cyclonedx/cyclonedx-library@10.3.0", "ajv@8.20.0", "ajv-formats@3.0.1", "ajv-formats-draft2019@1.6.1"}

// TestCycloneDXStrict: CycloneDX's own library finds nothing in a bill that its schema
// doesn't know, and finds what is wrong where something is.
func TestCycloneDXStrict(t *testing.T) {
	if testing.Short() {
		t.Skip("it asks npm's registry: not with -short")
	}
	t.Parallel()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	dir := t.TempDir()
	install := exec.CommandContext(t.Context(), "npm", append([]string{"install", "--prefix", dir, "--ignore-scripts", "--no-audit", "--no-fund"}, library...)...)
	install.Env = append(os.Environ(), "npm_config_cache="+filepath.Join(dir, "cache"), "npm_config_update_notifier=false")
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("npm can't install the library, as where its registry isn't in reach: %v\n%s", err, out)
	}
	script, err := os.ReadFile("testdata/validate.cjs")
	if err != nil {
		t.Fatal(err)
	}
	save := func(name string, text []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	args := []string{save("validate.cjs", script)}
	for name, b := range bills() {
		args = append(args, save(name+".cdx.json", write(t, b, CycloneDXJSON)))
	}
	out, err := exec.CommandContext(t.Context(), "node", args...).CombinedOutput()
	if err != nil || strings.Count(string(out), " valid\n") != len(bills()) {
		t.Errorf("the library says (%v):\n%s", err, out)
	}
	t.Logf("%s", out)
	wrong := strings.Replace(string(write(t, packageBill(), CycloneDXJSON)), `"type": "application"`, `"typo": "application"`, 1)
	if out, err := exec.CommandContext(t.Context(), "node", args[0], save("wrong.cdx.json", []byte(wrong))).CombinedOutput(); err == nil || !strings.Contains(string(out), "must have required property 'type'") {
		t.Errorf("of a tool without a type the library says (%v):\n%s", err, out)
	}
}
