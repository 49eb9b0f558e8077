package queue

import (
	"io"
	"slices"
	"strings"
	"testing"

	"albs/internal/albs"
	"albs/internal/worker"
)

func TestLog(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		id := f.enqueue()
		l := f.claim("a")
		wake, stop := f.events.Wake(LogTopic(id))
		defer stop()
		for _, step := range []struct {
			name   string
			stream string
			offset int64
			bytes  string
			length int64
			want   albs.Kind
		}{
			{"first", "build", 0, "hello ", 6, ""},
			{"repeated", "build", 0, "hello ", 6, ""},
			{"next", "build", 6, "world", 11, ""},
			{"overlapping", "build", 6, "world!\n", 13, ""},
			{"older", "build", 2, "llo", 13, ""},
			{"nothing", "build", 13, "", 13, ""},
			{"beyond", "build", 14, "x", 13, albs.Conflict},
			{"another stream", "root", 0, "x", 1, ""},
			{"another stream beyond", "state", 1, "x", 0, albs.Conflict},
			{"path", "../../x", 0, "x", 0, albs.Invalid},
			{"no name", "", 0, "x", 0, albs.Invalid},
			{"negative", "build", -1, "x", 0, albs.Invalid},
			{"huge", "build", 13, strings.Repeat("x", worker.MaxLogChunk+1), 0, albs.TooLarge},
		} {
			n, err := f.Log(f.as("a"), l.Token, step.stream, step.offset, []byte(step.bytes))
			if n != step.length || albs.KindOf(err) != step.want {
				t.Errorf("%s: Log(%s, %d) = %d, %v; want %d, %q", step.name, step.stream, step.offset, n, err, step.length, step.want)
			}
		}
		<-wake
		read := func(offset, length int64) (string, int64) {
			r, size, err := f.ReadLog(t.Context(), id, 1, "build", offset, length)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			b, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			return string(b), size
		}
		for _, test := range []struct {
			offset, length int64
			want           string
		}{{0, -1, "hello world!\n"}, {6, 5, "world"}, {6, 500, "world!\n"}, {13, -1, ""}, {500, 5, ""}} {
			if got, size := read(test.offset, test.length); got != test.want || size != 13 {
				t.Errorf("ReadLog(%d, %d) = %q of %d, want %q of 13", test.offset, test.length, got, size, test.want)
			}
		}
		_, _, err := f.ReadLog(t.Context(), id, 2, "build", 0, -1)
		wantKind(t, "ReadLog of no attempt", err, albs.NotFound)
		_, _, err = f.ReadLog(t.Context(), id, 1, "../1/build", 0, -1)
		wantKind(t, "ReadLog of a path", err, albs.Invalid)

		// A second attempt has its own.
		f.complete("a", l, albs.OutcomeInfra, "")
		f.clock_.add(1 << 40)
		l = f.claim("b")
		if n, err := f.Log(f.as("b"), l.Token, "build", 0, []byte("again")); n != 5 || err != nil {
			t.Errorf("Log of the second attempt = %d, %v", n, err)
		}
		infos, err := f.Logs(t.Context(), id)
		want := []LogInfo{
			{Attempt: 1, Stream: "build", Size: 13}, {Attempt: 1, Stream: "root", Size: 1}, {Attempt: 1, Stream: "state"}, {Attempt: 2, Stream: "build", Size: 5},
		}
		if err != nil || !slices.Equal(infos, want) {
			t.Errorf("Logs = %v, %v; want %v", infos, err, want)
		}
		_, err = f.Logs(t.Context(), 1<<40)
		wantKind(t, "Logs of nothing", err, albs.NotFound)
	})
}
