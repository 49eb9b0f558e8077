package schedule

import (
	"fmt"
	"slices"
	"strings"

	"albs/internal/albs"
)

// ValidLabel reports whether s can be a label or an owner: printable, and free of the
// separators of Class.
func ValidLabel(s string) bool {
	return s != "" && len(s) <= 120 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// MaxKey is how long a task's key may be, in bytes.
const MaxKey = 400

// ValidKey reports whether s can be what past runs of a task are known by: printable,
// or absent.
func ValidKey(s string) bool {
	return len(s) <= MaxKey && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

// Class joins what the dispatcher counts as alike, the tasks of a kind in l, into one
// string, by which a table can be asked for them; most tasks ask for no room.
func Class(kind albs.TaskKind, l Lane) string {
	c := string(kind) + "\n" + l.Owner + "\n" + strings.Join(l.Needs, " ")
	if (l.Room != Room{}) {
		c += fmt.Sprintf("\n%d %d %d", l.Room.Cores, l.Room.Memory, l.Room.Disk)
	}
	return c
}

// SplitClass returns what Class joined; nothing is ready in the lane.
func SplitClass(c string) (albs.TaskKind, Lane) {
	kind, c, _ := strings.Cut(c, "\n")
	owner, c, _ := strings.Cut(c, "\n")
	needs, sizes, asks := strings.Cut(c, "\n")
	l := Lane{Owner: owner, Needs: strings.Fields(needs)}
	if asks {
		// As Class wrote it.
		_, _ = fmt.Sscanf(sizes, "%d %d %d", &l.Room.Cores, &l.Room.Memory, &l.Room.Disk)
	}
	return albs.TaskKind(kind), l
}

// LaneOf returns the lane of a class, in which nothing is ready.
func LaneOf(class string) Lane {
	_, l := SplitClass(class)
	return l
}

// Enough reports whether able of the lane's tasks may go to somebody of the waiting.
func Enough(l *Lane, waiting []Worker, able int) bool {
	plain := true // nobody is kept from anything
	for i := range waiting {
		plain = plain && len(waiting[i].Exclude) == 0
	}
	n := 0
	for i := range l.Ready {
		r := &l.Ready[i]
		if plain && len(r.Refused) == 0 || slices.ContainsFunc(waiting, func(w Worker) bool {
			return w.Bar(l, r) == None && !slices.Contains(r.Refused, w.ID)
		}) {
			n++
		}
	}
	return n >= able
}
