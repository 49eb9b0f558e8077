// Package cgroup gives each step of a sandbox a control group of its own, below those
// that albs itself runs in, as far as they are ours to write: version 2 where it is
// delegated with the controllers, else version 1, else none.
//
// A Group bounds all processes that are in it together. Groups are named after this
// process, so that the next one finds and removes what a killed one left; several
// users of the package in one process don't meet in each other's groups.
package cgroup

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Groups makes groups where this process may. Its methods may be called concurrently.
type Groups struct {
	version int               // 0, 1, 2
	dirs    map[string]string // controller → folder below which groups are made; "" for version 2
}

// controllers that limit something here.
var controllers = []string{"memory", "pids", "cpu"}

// Limits bound a group's processes together.
type Limits struct {
	Memory    int64   // bytes
	Processes int     // processes and threads, beside the few of the helper
	CPUs      float64 // cores
}

// Group is one step's place. The zero Group limits nothing.
type Group struct {
	version int
	dirs    map[string]string
}

// Find looks where this process stands, and removes the groups that a killed process
// left there. Where no group may be made, Make returns groups that limit nothing.
func Find() *Groups {
	c := find()
	c.sweep()
	return c
}

// Version is that of the groups in force: 1 or 2, or 0 if none can be made.
func (c *Groups) Version() int { return c.version }

// sweep removes the groups that a killed process left.
func (c *Groups) sweep() {
	for _, parent := range c.dirs {
		left, err := filepath.Glob(filepath.Join(parent, "albs-*-*"))
		if err != nil {
			continue
		}
		for _, dir := range left {
			f := strings.Split(filepath.Base(dir), "-")
			if pid, err := strconv.Atoi(f[1]); err == nil && syscall.Kill(pid, 0) == syscall.ESRCH {
				os.Remove(dir)
			}
		}
	}
}

func find() *Groups {
	self, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return &Groups{}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return &Groups{}
	}
	v2, v1 := placesOf(string(self), string(mounts))
	if c := delegated(v2); c != nil {
		return c
	}
	c := &Groups{version: 1, dirs: map[string]string{}}
	for _, name := range controllers {
		if dir := v1[name]; dir != "" && writable(dir) {
			c.dirs[name] = dir
		}
	}
	if len(c.dirs) == 0 {
		return &Groups{}
	}
	return c
}

// placesOf reads /proc/self/cgroup and /proc/self/mountinfo: the folder of this
// process's version 2 group and those of its version 1 groups by controller.
func placesOf(self, mounts string) (v2 string, v1 map[string]string) {
	v1 = map[string]string{}
	for line := range strings.Lines(self) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		for m := range strings.Lines(mounts) {
			// 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
			before, after, ok := strings.Cut(strings.TrimSpace(m), " - ")
			b, a := strings.Fields(before), strings.Fields(after)
			if !ok || len(b) < 5 || len(a) < 3 {
				continue
			}
			rel, ok := below(f[2], b[3])
			if !ok {
				continue
			}
			dir := filepath.Join(b[4], rel)
			switch {
			case a[0] == "cgroup2" && f[0] == "0" && f[1] == "":
				v2 = dir
			case a[0] == "cgroup" && f[1] != "":
				options := strings.Split(a[2], ",")
				for c := range strings.SplitSeq(f[1], ",") {
					if slices.Contains(options, c) {
						v1[c] = dir
					}
				}
			}
		}
	}
	return v2, v1
}

// below returns path relative to root, which a mount may show in place of the whole.
func below(path, root string) (string, bool) {
	if root == "/" {
		return path, true
	}
	rel, ok := strings.CutPrefix(path, root)
	return rel, ok && (rel == "" || rel[0] == '/')
}

func writable(dir string) bool {
	probe := filepath.Join(dir, "albs-"+strconv.Itoa(os.Getpid())+"-probe")
	if err := os.Mkdir(probe, 0o755); err != nil {
		return false
	}
	return os.Remove(probe) == nil
}

// delegated returns version 2 below dir, or nil if dir isn't delegated to us. A group
// with processes can't give controllers to its children, so albs itself moves into a
// child first.
func delegated(dir string) *Groups {
	if dir == "" || !writable(dir) {
		return nil
	}
	have, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil || !slices.Contains(strings.Fields(string(have)), "memory") {
		return nil
	}
	own := filepath.Join(dir, "albs")
	if err := os.Mkdir(own, 0o755); err != nil && !os.IsExist(err) {
		return nil
	}
	if err := write(own, "cgroup.procs", strconv.Itoa(os.Getpid())); err != nil {
		return nil
	}
	for _, c := range controllers {
		if slices.Contains(strings.Fields(string(have)), c) {
			if err := write(dir, "cgroup.subtree_control", "+"+c); err != nil {
				return nil
			}
		}
	}
	return &Groups{version: 2, dirs: map[string]string{"": dir}}
}

// Make makes a group with the limits, to be closed in the end.
func (c *Groups) Make(l Limits) (_ *Group, err error) {
	g := &Group{version: c.version, dirs: map[string]string{}}
	// A process may have several engines, which know nothing of each other's groups.
	name := fmt.Sprintf("albs-%d-%s", os.Getpid(), rand.Text())
	for ctl, parent := range c.dirs {
		dir := filepath.Join(parent, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			g.Close()
			return nil, fmt.Errorf("make a cgroup: %w", err)
		}
		g.dirs[ctl] = dir
	}
	const period = 100_000 // microseconds
	set := func(ctl, file, value string) {
		if dir, ok := g.dirs[ctl]; ok {
			err = errors.Join(err, write(dir, file, value))
		}
	}
	// The helper itself needs a few threads beside the work.
	const helpers = 64
	processes := strconv.Itoa(l.Processes + helpers)
	quota := strconv.FormatInt(int64(l.CPUs*period), 10)
	switch c.version {
	case 2:
		set("", "memory.max", strconv.FormatInt(l.Memory, 10))
		set("", "memory.oom.group", "1")
		if dir := g.dirs[""]; exists(filepath.Join(dir, "memory.swap.max")) {
			set("", "memory.swap.max", "0")
		}
		if dir := g.dirs[""]; exists(filepath.Join(dir, "pids.max")) {
			set("", "pids.max", processes)
		}
		if dir := g.dirs[""]; exists(filepath.Join(dir, "cpu.max")) {
			set("", "cpu.max", quota+" "+strconv.Itoa(period))
		}
	case 1:
		set("memory", "memory.limit_in_bytes", strconv.FormatInt(l.Memory, 10))
		set("pids", "pids.max", processes)
		set("cpu", "cpu.cfs_period_us", strconv.Itoa(period))
		set("cpu", "cpu.cfs_quota_us", quota)
	}
	if err != nil {
		g.Close()
		return nil, err
	}
	return g, nil
}

// Add puts a process into the group, and with it all that it will start.
func (g *Group) Add(pid int) error {
	for _, dir := range g.dirs {
		if err := write(dir, "cgroup.procs", strconv.Itoa(pid)); err != nil {
			return err
		}
	}
	return nil
}

// OutOfMemory reports whether the kernel killed for the group's memory limit.
func (g *Group) OutOfMemory() bool {
	file := map[int]string{1: "memory/memory.oom_control", 2: "/memory.events"}[g.version]
	ctl, name, ok := strings.Cut(file, "/")
	if !ok || g.dirs[ctl] == "" {
		return false
	}
	b, err := os.ReadFile(filepath.Join(g.dirs[ctl], name))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "oom_kill" && f[1] != "0" {
			return true
		}
	}
	return false
}

// Close removes the group. Its processes are dead by then, but the kernel may take a
// moment to count them out.
func (g *Group) Close() {
	for _, dir := range g.dirs {
		for range 50 {
			if err := os.Remove(dir); err == nil || os.IsNotExist(err) {
				break
			}
			time.Sleep(2 * time.Millisecond)
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func write(dir, file, value string) error {
	if err := os.WriteFile(filepath.Join(dir, file), []byte(value), 0); err != nil {
		return fmt.Errorf("set %s: %w", file, err)
	}
	return nil
}
