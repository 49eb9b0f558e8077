package schedule

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
)

// What a table is asked for by is what was put there: different lanes have different
// classes, and a class its lane.
func TestClass(t *testing.T) {
	t.Parallel()
	tests := []struct {
		kind  albs.TaskKind
		lane  Lane
		class string
	}{
		{albs.KindBuild, Lane{Owner: "team:core", Needs: []string{"arch:x86_64", "kind:build"}}, "build\nteam:core\narch:x86_64 kind:build"},
		{albs.KindBuild, Lane{Owner: "team:core", Needs: []string{"kind:build"}, Room: Room{Memory: 1 << 33}}, "build\nteam:core\nkind:build\n0 8589934592 0"},
		{albs.KindSign, Lane{Owner: "o", Needs: []string{"kind:sign"}, Room: Room{Cores: 2, Memory: 3, Disk: 4}}, "sign\no\nkind:sign\n2 3 4"},
	}
	for _, tt := range tests {
		if got := Class(tt.kind, tt.lane); got != tt.class {
			t.Errorf("Class(%s, %+v) = %q, want %q", tt.kind, tt.lane, got, tt.class)
		}
		kind, lane := SplitClass(tt.class)
		if diff := cmp.Diff(tt.lane, lane); kind != tt.kind || diff != "" {
			t.Errorf("SplitClass(%q): kind %s, lane (-want +got):\n%s", tt.class, kind, diff)
		}
		if diff := cmp.Diff(tt.lane, LaneOf(tt.class)); diff != "" {
			t.Errorf("LaneOf(%q) (-want +got):\n%s", tt.class, diff)
		}
	}
}

func TestValidLabel(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{"arch:x86_64": true, "team:core": true, "~": true, "": false, "a b": false, "a\nb": false, "ü": false, "a\x7f": false} {
		if got := ValidLabel(s); got != want {
			t.Errorf("ValidLabel(%q) = %v, want %v", s, got, want)
		}
	}
}
