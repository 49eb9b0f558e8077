package remote

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const buildFile = `
platforms: [{name: seed, arch_list: [x86_64]}]
order: listed
tasks:
- url: https://git/one.git
  git_ref: "5.10"
  mock_options: {without: [x], definitions: {dist: .x}}
- srpm: sub/a-1-1.src.rpm
- url: https://x/b-1-1.src.rpm
- srpm: ` + "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd" + `
`

// TestBuildFile: what a file says is sent as it stands, but for SRPMs, which are
// uploaded from the file's folder on.
func TestBuildFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"build.yaml": buildFile, "sub/a-1-1.src.rpm": "an SRPM"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	digest := strings.Repeat("e", 64)
	f, url := newFake(t, map[string][]answer{
		"POST /uploads/srpm?name=a-1-1.src.rpm": {{status: 201, body: `{"digest":"` + digest + `","name":"a-1-1.src.rpm","size":7,"nevra":"a-1-1.src"}`}},
		"POST /builds/":                         ok(buildDoc("queued", "")),
	})
	got := command(t, url, "build", "create", "--file", filepath.Join(dir, "build.yaml"))
	if d := cmp.Diff(result{0, "build 5 is queued; follow it with: albs build watch 5\n", ""}, got, cmp.AllowUnexported(result{})); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	want := []string{
		"POST /uploads/srpm?name=a-1-1.src.rpm an SRPM",
		`POST /builds/ {"order":"listed","platforms":[{"arch_list":["x86_64"],"name":"seed"}],"tasks":[{"git_ref":"5.10","mock_options":{"definitions":{"dist":".x"},"without":["x"]},"url":"https://git/one.git"},` +
			`{"srpm":"` + digest + `"},{"url":"https://x/b-1-1.src.rpm"},{"srpm":"` + strings.Repeat("d", 64) + `"}]}`,
	}
	if d := cmp.Diff(want, f.seen()); d != "" {
		t.Errorf("requests (-want +got):\n%s", d)
	}
}

func TestBuildFileRefused(t *testing.T) {
	t.Parallel()
	const usage = "\nusage: albs build create "
	refused := map[string][]answer{"POST /builds/": problem(400, "invalid", "body.tasks[0].git_reff is unknown")}
	for _, tt := range []struct {
		name, file string
		args       []string
		code       int
		stderr     string // its beginning; FILE stands for the file
		saw        int
	}{
		{"no YAML", "platforms: [", nil, 1, "albs: FILE: it isn't YAML of a build: line 1: ", 0},
		{"a list", "- a", nil, 1, "albs: FILE: it isn't YAML of a build: unmarshal errors:", 0},
		{"a member twice", "order: auto\norder: listed", nil, 1, "albs: FILE: it isn't YAML of a build: unmarshal errors:", 0},
		{"empty", "# nothing\n", nil, 1, "albs: FILE: it is empty: it says platforms and tasks", 0},
		{"two builds", "order: auto\n---\norder: auto", nil, 1, "albs: FILE: it has more than one document", 0},
		{"a date for a ref", "tasks: [{git_ref: x}, {git_ref: 2026-01-02}]", nil, 1, "albs: FILE: tasks[1].git_ref is a date to YAML: put it in quotes\n", 0},
		{"a name that is no text", "mock_options: {definitions: {1: x}}", nil, 1, "albs: FILE: mock_options.definitions has a name that is no text: put it in quotes\n", 0},
		{"no number", "order: .nan", nil, 1, "albs: FILE: it can't be sent: ", 0},
		{"an SRPM that isn't there", "tasks: [{srpm: none-1-1.src.rpm}]", nil, 1, "albs: open ", 0},
		{"what the server refuses", "tasks: [{git_reff: x}]", nil, 1, "albs: FILE: body.tasks[0].git_reff is unknown\n", 1},
		{"with a flag of the build", "order: auto", []string{"--platform", "seed"}, 2, "albs: the file says all of the build: --platform doesn't go with --file" + usage, 0},
		{"with packages", "order: auto", []string{"--git", "https://x#y"}, 2, "albs: the file says all of the build: --git doesn't go with --file" + usage, 0},
		{"with a macro", "order: auto", []string{"--define", "a=b"}, 2, "albs: the file says all of the build: --define doesn't go with --file" + usage, 0},
		{"an argument", "order: auto", []string{"--wait", "7"}, 2, `albs: "7" is one argument too many` + usage, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "build.yaml")
			if err := os.WriteFile(file, []byte(tt.file), 0o644); err != nil {
				t.Fatal(err)
			}
			f, url := newFake(t, refused)
			got := command(t, url, append([]string{"build", "create", "--file", file}, tt.args...)...)
			if got.code != tt.code || got.stdout != "" || !strings.HasPrefix(strings.ReplaceAll(got.stderr, file, "FILE"), tt.stderr) || len(f.seen()) != tt.saw {
				t.Errorf("%+v after %q, want %d: %s", got, f.seen(), tt.code, tt.stderr)
			}
		})
	}
}
