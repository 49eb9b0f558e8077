package albs

import (
	"errors"
	"testing"
)

func TestEngineNames(t *testing.T) {
	t.Parallel()
	for _, e := range TestEngines {
		if err := CheckTestEngine(e); err != nil || EngineOf([]string{"arch:x86_64", EngineLabel(e), "kind:test"}) != e {
			t.Errorf("%s: %v, %q", e, err, EngineOf([]string{EngineLabel(e)}))
		}
	}
	for _, bad := range []string{"", "docker", "Podman", "podman "} {
		if err := CheckTestEngine(bad); !errors.Is(err, Invalid) {
			t.Errorf("CheckTestEngine(%q) = %v, want Invalid", bad, err)
		}
	}
	if e := EngineOf([]string{"arch:x86_64", "kind:test"}); e != EngineNative {
		t.Errorf("without a label: %q", e)
	}
}
