// Package lent knows the user and group ids that a sandbox has to itself: a range that
// /etc/subuid and /etc/subgid lend to the user, given to a namespace by newuidmap and
// newgidmap, or else the user's own id alone.
package lent

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"sync"
)

// IDs is how the ids of a namespace stand in the host's: 0 is the user's own, and the
// rest a range that is lent to the user, if there is one.
type IDs struct {
	// Count is how many are lent; 0: only the user's own.
	Count int

	uid, gid       int
	subUID, subGID int
}

// Own returns the user's own ids, with none lent.
func Own() IDs { return IDs{uid: os.Getuid(), gid: os.Getgid()} }

// Find returns the user's ids with the range that is lent. Where there is none, or no
// tool to map it, the error says what to do.
func Find() (IDs, error) {
	for _, tool := range []string{"newuidmap", "newgidmap"} {
		if _, err := exec.LookPath(tool); err != nil {
			return IDs{}, fmt.Errorf("%s is not installed: install the package uidmap (Debian) or shadow-utils-subid (Fedora)", tool)
		}
	}
	m := Own()
	name := strconv.Itoa(m.uid)
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	for _, t := range []struct {
		file  string
		start *int
	}{{"/etc/subuid", &m.subUID}, {"/etc/subgid", &m.subGID}} {
		b, err := os.ReadFile(t.file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return IDs{}, err
		}
		start, count := subRange(string(b), name, strconv.Itoa(m.uid))
		if count < 65535 {
			return IDs{}, fmt.Errorf("%s lends %s no range of 65536 ids: add one with usermod --add-subuids and --add-subgids", t.file, name)
		}
		*t.start = start
	}
	m.Count = 65535 // with our own id as 0 the inside has 0 to 65535
	return m, nil
}

// subRange returns the largest range that a subuid file lends to the user.
func subRange(file, name, uid string) (start, count int) {
	sc := bufio.NewScanner(strings.NewReader(file))
	for sc.Scan() {
		f := strings.Split(strings.TrimSpace(sc.Text()), ":")
		if len(f) != 3 || f[0] != name && f[0] != uid {
			continue
		}
		s, err1 := strconv.Atoi(f[1])
		c, err2 := strconv.Atoi(f[2])
		if err1 == nil && err2 == nil && c > count {
			start, count = s, c
		}
	}
	return start, count
}

// Map gives its ids to the process pid, which has just entered a namespace of its own.
func (m IDs) Map(ctx context.Context, pid int) error {
	if m.Count == 0 {
		dir := "/proc/" + strconv.Itoa(pid)
		err := os.WriteFile(dir+"/setgroups", []byte("deny"), 0)
		err = errors.Join(err, os.WriteFile(dir+"/uid_map", fmt.Appendf(nil, "0 %d 1\n", m.uid), 0))
		err = errors.Join(err, os.WriteFile(dir+"/gid_map", fmt.Appendf(nil, "0 %d 1\n", m.gid), 0))
		if err != nil {
			return fmt.Errorf("map the ids of a user namespace: %w", err)
		}
		return nil
	}
	var wg sync.WaitGroup
	var errs [2]error
	for i, t := range []struct {
		tool     string
		own, sub int
	}{{"newuidmap", m.uid, m.subUID}, {"newgidmap", m.gid, m.subGID}} {
		wg.Go(func() {
			cmd := exec.CommandContext(ctx, t.tool, strconv.Itoa(pid),
				"0", strconv.Itoa(t.own), "1", "1", strconv.Itoa(t.sub), strconv.Itoa(m.Count))
			if b, err := cmd.CombinedOutput(); err != nil {
				errs[i] = fmt.Errorf("%s: %w: %s", t.tool, err, bytes.TrimSpace(b))
			}
		})
	}
	wg.Wait()
	return errors.Join(errs[0], errs[1])
}
