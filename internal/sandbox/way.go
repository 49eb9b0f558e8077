package sandbox

import (
	"context"
	"fmt"
	"path/filepath"

	"albs/internal/albs"
)

// Way is how a program of the host that makes containers, as podman does, enters roots in
// place of bubblewrap. It is trusted, as bubblewrap is: root of the user namespace that
// the root's files belong to, with all rights there and none outside, it sees the host's
// files as this process does. It, its containers and all that it mounted end with the
// call, and what it wrote to Hide goes with them: nothing of it can be left behind.
type Way struct {
	// Argv returns the program and its arguments for one call.
	Argv func(Entry) []string
	// Env is all of the program's environment.
	Env []string
	// Hide are folders of the host that are empty for the program, and its own to write.
	Hide []string
}

// Entry is one call: which program is to be run where.
type Entry struct {
	Root     string   // the folder that has the root
	Began    string   // a file that has to be there once the program has begun
	Argv     []string // to run inside
	UID      int      // as whom; the group is of the same number
	Dir      string   // there
	Env      []string // all of it
	Hostname string
	Network  bool     // the network around the container is the program's; else it has none
	Stdin    bool     // standard input is the program's
	Rlimits  []string // of each process, NAME=SOFT:HARD
}

// RunBy is Run by another way than bubblewrap, without a compiler cache. What ends before
// the program has begun is Unavailable; what the way said of that went to the Cmd's Stderr.
func (r *Root) RunBy(ctx context.Context, c Cmd, way Way) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.enter(ctx, c, way, true)
}

// enter is RunBy, of a program that the root has to have or, if there is false, that the
// way brings.
func (r *Root) enter(ctx context.Context, c Cmd, way Way, there bool) (int, error) {
	in, err := r.inside(c)
	if err != nil {
		return 0, err
	}
	if r.e.ids.Count == 0 {
		return 0, albs.Errorf(albs.Unavailable, "containers need a subuid range and this worker has none")
	}
	j := r.job(c, in.lim)
	if !there {
		j.Program = ""
	}
	j.Env, j.Hide, j.Began = way.Env, way.Hide, filepath.Join(stage, "began")
	e := Entry{
		Root: filepath.Join(stage, rootName), Began: j.Began, Argv: c.Argv, UID: in.uid, Dir: in.dir, Env: in.env,
		Hostname: hostname, Network: c.Network, Stdin: c.Stdin != nil,
	}
	// They are the container's alone: the program around it could start no thread any
	// more when what is in there has taken all that is allowed.
	if e.Rlimits, err = in.lim.rlimits().words(); err != nil {
		return 0, err
	}
	j.Argv = r.personality(way.Argv(e))
	return r.e.step(ctx, j, stdio{in: c.Stdin, out: c.Stdout, err: c.Stderr}, in.lim, c.Network)
}

// Try runs a program by way in a root without any file, which the way has to bring, and
// returns its exit code; its errors are those of RunBy.
func (e *Engine) Try(ctx context.Context, c Cmd, way Way) (int, error) {
	dir, unlock, err := e.newRoot(ctx, "try-")
	if err != nil {
		return 0, fmt.Errorf("make a root: %w", err)
	}
	r := &Root{e: e, dir: dir, free: []func(){unlock}}
	defer r.Close() // what stays is swept
	if r.place, err = newPlace(albs.Root{}, dir); err != nil {
		return 0, fmt.Errorf("make a root: %w", err)
	}
	return r.enter(ctx, c, way, false)
}
