package tester

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"albs/internal/albs"
	"albs/internal/sandbox/sandboxtest"
	"albs/internal/worker/tester/engine/vm"
)

// TestMachine: the whole of a test in machines, where the package's own tests find a kernel
// of their own and have it start again.
func TestMachine(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starting machines takes long")
	}
	c := Config{Engines: []string{albs.EngineVM}, VM: vm.Config{Memory: 1 << 30}}
	for _, c.VM.Emulate = range []bool{false, true} {
		dir := t.TempDir()
		c.VM.Dir = dir
		_, err := vm.New(t.Context(), sandboxtest.Engine(t, c.Sandbox), c.VM)
		if err == nil {
			break
		}
		if !errors.Is(err, albs.Unavailable) {
			t.Fatal(err)
		}
		t.Log(err)
		if c.VM.Emulate {
			t.Skip("there are no machines to test in")
		}
	}
	c.VM.Dir = ""
	w := begin(t, c)
	suite := albs.TestSuite{Repository: "tests", Commit: "c0ffee", Dir: "tests", Tree: w.tree(t, map[string]string{
		"tests/0_init.sh": "#!/bin/sh\necho kept > /var/kept\n",
		"tests/starts.sh": `#!/bin/sh
id=$(cat /proc/sys/kernel/random/boot_id)
case $ALBS_REBOOT_COUNT in
'')
	echo "$id" > /var/boot
	echo 7 > /proc/sys/kernel/sysrq
	echo '>>>VMRESTART<<<' ;;
1) [ "$id" != "$(cat /var/boot)" ] && [ "$(cat /proc/sys/kernel/sysrq)" != 7 ] && [ -f /var/kept ] && [ $(cat /usr/share/x-good/file) = 2 ] ;;
*) exit 1 ;;
esac
`,
		"tests/ends.sh": "#!/bin/sh\necho c > /proc/sysrq-trigger\n",
	})}
	good := w.pkg(t, "good")
	good.Suites = []int{0}
	spec := &albs.TestSpec{Root: w.root, Engine: albs.EngineVM, Stages: all, Packages: []albs.TestPackage{good}, Suites: []albs.TestSuite{suite}}
	id := w.add(spec)
	outcome, r := w.end(t, id)
	log := string(w.fake.LogOf(id, 1, "test"))
	if outcome != albs.OutcomeOK || r.Test == nil {
		t.Fatalf("the task ended %s, %q\n%s", outcome, r.Reason, log)
	}
	const want = "environment passed, system passed, install passed, integrity passed, upgrade passed, downgrade passed, package failed, remove passed, reinstall passed"
	if got, reasons := told(r.Test, good.NEVRA); got != want {
		t.Errorf("%s; %q\nwant %s", got, reasons, want)
	}
	if why := r.Test.Stages[0].Reason; !strings.HasPrefix(why, "programs were run by the engine vm") || strings.Contains(why, "emulated") != c.VM.Emulate {
		t.Errorf("the first stage says %q", why)
	}
	var cases []string
	for _, c := range r.Test.Cases {
		if c.Stage == albs.StagePackage {
			cases = append(cases, c.Name+" "+string(c.Status))
		}
	}
	if want := []string{"0_init.sh passed", "ends.sh failed", "starts.sh passed"}; !slices.Equal(cases, want) {
		t.Errorf("tests of its own: %q, want %q\n%s", cases, want, log)
	}
}
