package platform

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"albs/internal/albs"
)

const roomy = `
room:
  build: {cores: 2, memory: 3GiB}
  test: {disk: 512MiB}
  large:
    - {packages: [kernel, "llvm*"], memory: 16GiB, disk: 60GiB}
    - {packages: ["*"], cores: 4}
`

func TestRoomOf(t *testing.T) {
	t.Parallel()
	s, err := Parse(strings.NewReader(good + roomy))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := Parse(strings.NewReader(good))
	if err != nil {
		t.Fatal(err)
	}
	one := s
	one.Room.Large = one.Room.Large[:1]
	for _, tt := range []struct {
		name string
		s    Spec
		kind albs.TaskKind
		pkg  string
		want Room
	}{
		{"the default of a build", plain, albs.KindBuild, "bash", Room{1, 1 << 30, 2 << 30}},
		{"the default of an SRPM", plain, albs.KindSource, "bash", Room{1, 1 << 29, 1 << 30}},
		{"what the platform doesn't say is the default", one, albs.KindBuild, "bash", Room{2, 3 << 30, 2 << 30}},
		{"of another kind", s, albs.KindTest, "bash", Room{1, 1 << 29, 1 << 29}},
		{"a large package", s, albs.KindBuild, "llvm15", Room{2, 16 << 30, 60 << 30}},
		{"the first that matches", s, albs.KindBuild, "kernel", Room{2, 16 << 30, 60 << 30}},
		{"the next", s, albs.KindBuild, "kernel-rt", Room{4, 3 << 30, 2 << 30}},
		{"its tests are as all", s, albs.KindTest, "kernel", Room{1, 1 << 29, 1 << 29}},
		{"its SRPM too", s, albs.KindSource, "kernel", Room{1, 1 << 29, 1 << 30}},
		{"what is done in no root", s, albs.KindImport, "kernel", Room{}},
	} {
		if got := tt.s.RoomOf(tt.kind, tt.pkg); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	thereAndBack(t, s)
	if b, err := json.Marshal(plain); err != nil || strings.Contains(string(b), `"room"`) {
		t.Errorf("a platform that says nothing is stored as %s, %v", b, err)
	}
}

func TestBadRoom(t *testing.T) {
	t.Parallel()
	for room, want := range map[string]string{
		"{build: {cores: -1}}":                    "room.build: cores lie between 0 and 4096",
		"{test: {cores: 5000}}":                   "room.test: cores",
		"{source: {memory: 9000TiB}}":             "at most 1024TiB",
		"{build: {memory: -1GiB}}":                "is not a size such as 512MiB or 4GiB",
		"{build: {memory: 4}}":                    "is not a size such as 512MiB or 4GiB",
		"{build: {disk: 4GB}}":                    "is not a size such as 512MiB or 4GiB",
		"{build: {ram: 4GiB}}":                    "there is no key ram here",
		"{large: [{cores: 2}]}":                   "room.large[0]: packages names none",
		"{large: [{packages: [a]}]}":              "say what its packages need",
		"{large: [{packages: [a b], cores: 2}]}":  "is not the name of a package",
		"{large: [{packages: [a], cores: 9999}]}": "room.large[0]: cores",
		"{large: [" + strings.Repeat("{packages: [a], cores: 2},", 9) + "]}": "more than 8 sizes",
	} {
		_, err := Parse(strings.NewReader(good + "room: " + room + "\n"))
		if !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", room, err, want)
		}
	}
	for size, want := range map[Size]string{0: "0MiB", 1 << 30: "1GiB", 3 << 29: "1536MiB", 2 << 40: "2TiB"} {
		if got := size.String(); got != want {
			t.Errorf("%d is spelled %s, want %s", int64(size), got, want)
		}
	}
}
