package tester

import (
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/sandbox/sandboxtest"
)

// TestLanguages: the real pytest and the real ansible-playbook run inside the root, are
// installed there for that alone, and what they find is told case by case.
func TestLanguages(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("Python and Ansible are made into packages, and Ansible takes its time: not in -short")
	}
	w := beginWith(t, Config{}, packages(t), sandboxtest.Testers(t))
	tree := w.tree(t, map[string]string{
		"py/conftest.py": "import pytest\n@pytest.fixture\ndef package():\n    import os\n    return os.environ['PACKAGE_NAME']\n",
		"py/test_all.py": `import pytest, subprocess

def test_installed(package):
    assert open('/usr/share/%s/file' % package).read() == '2\n'

class TestMany:
    @pytest.mark.parametrize('n', [1, 2])
    def test_number(self, n):
        assert n == 1

@pytest.mark.skip(reason='no hardware')
def test_later():
    pass

@pytest.mark.xfail(reason='a known fault')
def test_known():
    assert False

@pytest.fixture
def broken():
    raise OSError('nothing there')

def test_setup(broken):
    pass
`,
		"py/plain.py": "#!/usr/bin/python3\nimport sys\nprint('1..1')\nprint('ok 1 - plain')\n",

		// What one play makes, the next one finds.
		"play/0_init.yml":   "- hosts: all\n  gather_facts: false\n  tasks:\n  - name: makes ready\n    copy: {content: ready, dest: /var/tmp/ready}\n",
		"play/site.yml":     "- hosts: all\n  tasks:\n  - slurp: {src: /var/tmp/ready}\n    register: ready\n  - name: is ready\n    assert: {that: \"(ready.content | b64decode) == 'ready' and ansible_os_family is defined\"}\n  - name: has its file\n    command: cat /usr/share/x-once/file\n",
		"play/wrong.yml":    "- hosts: all\n  gather_facts: false\n  tasks:\n  - name: wants a file that isn't there\n    command: cat /nosuch/file\n",
		"broken/0_init.yml": "- hosts: all\n  gather_facts: false\n  tasks:\n  - name: refuses\n    fail: {msg: nothing is ready}\n",
		"broken/site.yml":   "- hosts: all\n",
	})
	spec := &albs.TestSpec{Root: w.root, Stages: packageStages}
	for _, dir := range []string{"py", "play", "broken"} {
		spec.Suites = append(spec.Suites, albs.TestSuite{Repository: "https://git.example/tests.git", Commit: strings.Repeat("c0ffee00", 5), Tree: tree, Dir: dir})
	}
	tests := []struct {
		name   string
		reason string
		cases  []string
		detail map[string]string // in that of a case
		log    string
	}{
		{"good", "3 of 9 cases failed: test_all.py: TestMany.test_number[2]: ", []string{
			"plain.py: plain passed", "plain.py passed",
			"test_all.py: test_installed passed", "test_all.py: TestMany.test_number[1] passed", "test_all.py: TestMany.test_number[2] failed",
			"test_all.py: test_later skipped", "test_all.py: test_known todo", "test_all.py: test_setup failed", "test_all.py failed",
		}, map[string]string{"test_all.py: TestMany.test_number[2]": "assert 2 == 1", "test_all.py: test_setup": "nothing there", "test_all.py: test_later": "no hardware", "test_all.py: test_known": "a known fault"}, "short test summary info"},
		{"once", "1 of 3 cases failed: wrong.yml: the task ", []string{"0_init.yml passed", "site.yml passed", "wrong.yml failed"}, map[string]string{"wrong.yml": "the task \"wants a file that isn't there\" failed"}, "TASK [wants a file that isn't there]"},
		{"changes", "2 of 2 cases failed: 0_init.yml: the task \"refuses\" failed", []string{"0_init.yml failed", "site.yml not_run"}, map[string]string{"site.yml": "0_init.yml failed"}, "nothing is ready"},
	}
	for i, tt := range tests {
		p := w.pkg(t, tt.name)
		p.Suites = []int{i}
		spec.Packages = append(spec.Packages, p)
	}
	id := w.add(spec)
	outcome, r := w.end(t, id)
	log := string(w.fake.LogOf(id, 1, "test"))
	if outcome != albs.OutcomeOK || r.Test == nil {
		t.Fatalf("the task ended %s, %q\n%s", outcome, r.Reason, log)
	}
	for _, tt := range tests {
		nevra := "x-" + tt.name + "-2-1.x86_64"
		i := slices.IndexFunc(r.Test.Stages, func(s albs.StageResult) bool { return s.Package == nevra && s.Stage == albs.StagePackage })
		if i < 0 || r.Test.Stages[i].Status != albs.TestFailed || !strings.Contains(r.Test.Stages[i].Reason, tt.reason) {
			t.Errorf("%s: %+v, want one that says %q", tt.name, r.Test.Stages, tt.reason)
		}
		if diff := gocmp.Diff(tt.cases, casesOf(r.Test, nevra)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		for _, c := range r.Test.Cases {
			if want := tt.detail[c.Name]; c.Package == nevra && !strings.Contains(c.Detail, want) {
				t.Errorf("%s: %s tells %q, want %q", tt.name, c.Name, c.Detail, want)
			}
		}
		if !strings.Contains(log, tt.log) {
			t.Errorf("%s: the log doesn't say %q", tt.name, tt.log)
		}
	}
	if t.Failed() {
		t.Log(log)
	}
}
