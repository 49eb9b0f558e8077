package native_test

import (
	"testing"

	"albs/internal/sandbox"
	"albs/internal/sandbox/sandboxtest"
	"albs/internal/worker/tester/engine"
	"albs/internal/worker/tester/engine/enginetest"
	"albs/internal/worker/tester/engine/native"
)

func TestMain(m *testing.M) { sandboxtest.Main(m) }

func TestEngine(t *testing.T) {
	t.Parallel()
	enginetest.TestEngine(t, enginetest.Traits{Network: true}, func(t *testing.T, limits sandbox.Limits) engine.Engine {
		return native.New(sandboxtest.Engine(t, sandbox.Config{Limits: limits}))
	})
}
