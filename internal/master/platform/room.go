package platform

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"

	"albs/internal/albs"
)

// Rooms say what a task needs of its worker's machine: what a platform says of a kind
// of task is for all its packages, but for those of Large.
type Rooms struct {
	Source Room `yaml:"source" json:"source,omitzero"`
	Build  Room `yaml:"build" json:"build,omitzero"`
	Test   Room `yaml:"test" json:"test,omitzero"`
	// Large are packages whose builds need more. The first that a name matches counts.
	Large []Large `yaml:"large" json:"large,omitempty"`
}

// Room is a part of a machine. What isn't said, or is 0, is as for other packages, and
// of those the default.
type Room struct {
	Cores  int  `yaml:"cores" json:"cores,omitempty"`
	Memory Size `yaml:"memory" json:"memory,omitempty"`
	Disk   Size `yaml:"disk" json:"disk,omitempty"`
}

// Large is what builds of some packages need.
type Large struct {
	// Packages are names, or patterns of names with *.
	Packages []string `yaml:"packages" json:"packages"`
	Room     `yaml:",inline"`
}

const (
	gib = 1 << 30

	// Each size is a lane of its own to the queue, whose work grows with lanes.
	maxLarge = 8
	maxCores = 4096
	maxSize  = Size(1 << 50)
)

// defaultRooms keep a machine from more tasks than it has cores, and from starting what
// it can't hold for sure; a laptop has them.
var defaultRooms = map[albs.TaskKind]Room{
	albs.KindSource: {Cores: 1, Memory: gib / 2, Disk: 1 * gib},
	albs.KindBuild:  {Cores: 1, Memory: 1 * gib, Disk: 2 * gib},
	albs.KindTest:   {Cores: 1, Memory: gib / 2, Disk: 1 * gib},
}

// RoomOf returns what a task of that kind needs of its worker's machine for a package of
// that name: nothing where the kind is not done in a root.
func (s Spec) RoomOf(kind albs.TaskKind, name string) Room {
	room := defaultRooms[kind]
	switch kind {
	case albs.KindSource:
		room = s.Room.Source.or(room)
	case albs.KindTest:
		room = s.Room.Test.or(room)
	case albs.KindBuild:
		room = s.Room.Build.or(room)
		for _, l := range s.Room.Large {
			if matches(l.Packages, name) {
				return l.Room.or(room)
			}
		}
	}
	return room
}

// or returns r with what it doesn't say taken from d.
func (r Room) or(d Room) Room {
	return Room{cmp.Or(r.Cores, d.Cores), cmp.Or(r.Memory, d.Memory), cmp.Or(r.Disk, d.Disk)}
}

func (s Spec) checkRoom(bad refuse) error {
	if len(s.Room.Large) > maxLarge {
		return bad("room.large: more than %d sizes", maxLarge)
	}
	rooms := map[string]Room{"source": s.Room.Source, "build": s.Room.Build, "test": s.Room.Test}
	for i, l := range s.Room.Large {
		what := fmt.Sprintf("large[%d]", i)
		if len(l.Packages) == 0 {
			return bad("room.%s: packages names none", what)
		}
		if err := checkPatterns("room."+what, l.Packages, bad); err != nil {
			return err
		}
		if l.Room == (Room{}) {
			return bad("room.%s: say what its packages need: cores, memory or disk", what)
		}
		rooms[what] = l.Room
	}
	for what, r := range rooms {
		switch {
		case r.Cores < 0 || r.Cores > maxCores:
			return bad("room.%s: cores lie between 0 and %d", what, maxCores)
		case r.Memory > maxSize || r.Disk > maxSize:
			return bad("room.%s: memory and disk are at most %s", what, maxSize)
		}
	}
	return nil
}

// Size is a number of bytes that YAML and JSON spell as "4GiB" or "512MiB".
type Size int64

var sizeForm = regexp.MustCompile(`^([0-9]{1,7})(MiB|GiB|TiB)$`)

var sizeUnits = []struct {
	name  string
	bytes Size
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}}

// String spells s as UnmarshalText reads it, in the largest unit that leaves no rest.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if s != 0 && s%u.bytes == 0 {
			return fmt.Sprint(int64(s/u.bytes), u.name)
		}
	}
	return fmt.Sprint(int64(s/(1<<20)), "MiB")
}

// MarshalText spells s.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a whole number of MiB, GiB or TiB.
func (s *Size) UnmarshalText(b []byte) error {
	m := sizeForm.FindSubmatch(b)
	if m == nil {
		return albs.Errorf(albs.Invalid, "%.40q is not a size such as 512MiB or 4GiB", b)
	}
	n, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		return albs.Errorf(albs.Invalid, "%.40q is not a size such as 512MiB or 4GiB", b)
	}
	for _, u := range sizeUnits {
		if u.name == string(m[2]) {
			*s = Size(n) * u.bytes
		}
	}
	return nil
}
