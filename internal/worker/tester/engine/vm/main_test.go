package vm

import (
	"testing"

	"albs/internal/sandbox/sandboxtest"
	"albs/internal/worker/tester/engine/vm/agent"
)

func TestMain(m *testing.M) {
	agent.MaybeInit()
	sandboxtest.Main(m)
}
