package podman_test

import (
	"testing"

	"albs/internal/sandbox"
	"albs/internal/sandbox/sandboxtest"
	"albs/internal/worker/tester/engine"
	"albs/internal/worker/tester/engine/enginetest"
)

func TestMain(m *testing.M) { sandboxtest.Main(m) }

func TestEngine(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("each program is a container, which takes podman a quarter of a second: not in -short")
	}
	enginetest.TestEngine(t, enginetest.Traits{Network: true}, func(t *testing.T, limits sandbox.Limits) engine.Engine {
		return openIn(t, "", limits)
	})
}
