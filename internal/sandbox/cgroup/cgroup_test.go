package cgroup

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPlacesOf(t *testing.T) {
	t.Parallel()
	mounts := "30 24 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" +
		"31 24 0:27 /docker/x /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n" +
		"32 24 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
	v2, v1 := placesOf("5:memory:/a/b\n4:pids:/docker/x/c\n3:cpu:/none\n0::/user.slice\n", mounts)
	if v2 != "/sys/fs/cgroup/unified/user.slice" {
		t.Errorf("v2 = %q", v2)
	}
	want := map[string]string{"memory": "/sys/fs/cgroup/memory/a/b", "pids": "/sys/fs/cgroup/pids/c"}
	if diff := cmp.Diff(want, v1); diff != "" {
		t.Errorf("v1 (-want +got):\n%s", diff)
	}
}

// TestGroupsApart: users of one process don't meet in each other's groups.
func TestGroupsApart(t *testing.T) {
	t.Parallel()
	for range 2 {
		c := find()
		if c.version == 0 {
			t.Skip("no cgroup is ours to write here")
		}
		g, err := c.Make(Limits{Memory: 1 << 30, Processes: 100, CPUs: 1})
		t.Cleanup(g.Close)
		if err != nil {
			t.Error(err)
		}
	}
}
