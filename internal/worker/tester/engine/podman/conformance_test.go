package podman_test

import (
	"errors"
	"testing"

	"albs/internal/albs"
	"albs/internal/sandbox"
	"albs/internal/sandbox/sandboxtest"
	"albs/internal/worker/tester/engine"
	"albs/internal/worker/tester/engine/enginetest"
	"albs/internal/worker/tester/engine/podman"
)

func TestMain(m *testing.M) { sandboxtest.Main(m) }

func TestEngine(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("each program is a container, which takes podman a quarter of a second: not in -short")
	}
	enginetest.TestEngine(t, enginetest.Traits{Network: true}, func(t *testing.T, limits sandbox.Limits) engine.Engine {
		e, err := podman.New(t.Context(), sandboxtest.Engine(t, sandbox.Config{Limits: limits}))
		if errors.Is(err, albs.Unavailable) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		return e
	})
}
