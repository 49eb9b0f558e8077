package vm

import (
	"testing"

	"albs/internal/sandbox"
	"albs/internal/worker/tester/engine"
	"albs/internal/worker/tester/engine/enginetest"
)

func TestEngine(t *testing.T) {
	enginetest.TestEngine(t, enginetest.Traits{Kernel: true}, func(t *testing.T, limits sandbox.Limits) engine.Engine {
		return machines(t, limits)
	})
}
