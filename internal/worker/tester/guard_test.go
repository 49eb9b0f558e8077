package tester

import (
	"context"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/sandbox"
	"albs/internal/sandbox/emulator"
	"albs/internal/worker"
	"albs/internal/worker/guard"
	"albs/internal/worker/workertest"
)

// TestLittleDisk: with too little disk a tester offers nothing and says why; when the disk
// gets full under a test, that ends as infra, and no package is blamed.
func TestLittleDisk(t *testing.T) {
	t.Parallel()
	const gib = 1 << 30
	var free atomic.Int64
	g := guard.New(0, zerolog.Nop(), "/roots")
	g.Every = 10 * time.Millisecond
	g.Stat = func(string) (int64, int64, error) { return free.Load(), 1000 * gib, nil }
	c := Config{Arch: albs.X8664, Sandbox: sandbox.Config{Emulators: []emulator.Emulator{{Arch: albs.AArch64}}}, Engines: []string{"native", "podman"}, Spool: filepath.Join(t.TempDir(), "spool")}
	free.Store(10*gib - 1)
	if o := c.offer("1", g); len(o.Labels) > 0 || !strings.Contains(o.Pause, "10239 MiB of disk are free in /roots") {
		t.Errorf("offer with little disk = %+v", o)
	}
	free.Store(10 * gib)
	if o := c.offer("1", g); strings.Join(o.Labels, " ") != "kind:test arch:x86_64 engine:podman arch:aarch64 emulated:aarch64" || o.Pause != "" || o.Disk != 10*gib || o.Cores < 1 || o.Memory <= 0 {
		t.Errorf("offer with enough disk = %+v", o)
	}

	fake := workertest.NewFake()
	id := fake.Add(workertest.Task{Needs: []string{"kind:test", "arch:x86_64"}, Spec: albs.Spec{Test: &albs.TestSpec{}}}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- work(ctx, c, "test", fake.As(fake.AddWorker("kind:test", "arch:x86_64", "engine:podman", "arch:aarch64", albs.EmulatedLabel(albs.AArch64))), g, zerolog.Nop(),
			func(ctx context.Context, s *worker.Session) (albs.Outcome, albs.Result, error) {
				free.Store(2 * gib)
				<-ctx.Done()
				return albs.OutcomeFailed, albs.Result{Reason: "dnf: no space left on device"}, nil
			})
	}()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the tester ended with %v", err)
		}
	}()
	for late := time.After(time.Minute); ; {
		changed := fake.Changed()
		if outcome, r := fake.Result(id, 1); outcome != "" {
			if outcome != albs.OutcomeInfra || !strings.Contains(r.Reason, "disk is full: 2048 MiB are free in /roots") {
				t.Errorf("the task ended %s, %q", outcome, r.Reason)
			}
			return
		}
		select {
		case <-changed:
		case <-late:
			t.Fatal("the task doesn't end")
		}
	}
}
