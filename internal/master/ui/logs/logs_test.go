package logs

import (
	"albs/internal/failure"
	"albs/internal/master/ui/words"
	"bytes"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

const hostile = "plain\n</script><script>alert(1)</script>\n\x1b[31mred\x1b[0m \x1b]0;title\x07after\n" +
	"nul\x00 bell\x07 back\x08 cr\rover\n\xff\xfe bad\n\u202eevil\u2066 \u200bzero\ncrlf\r\n"

// TestCausesLineIsTheViewers: a cause's line is the one that the viewer shows by that
// number, whatever else in the log may look like the end of a line.
func TestCausesLineIsTheViewers(t *testing.T) {
	t.Parallel()
	const tells = "a.c:1:1: error: x"
	for _, before := range []string{
		"", "\n", "\r\n\r\n", "one\rtwo\r\n", "\u2028\v\f\x00\u0085\n", "\xff\xfe\n\n", strings.Repeat("x", 200<<10) + "\n", strings.Repeat("line\n", 1300),
		"\x1b[31m\n\x1b]0;title\n",
	} {
		for _, after := range []string{"", "\n", "\nrest", "\n\n\n"} {
			text := before + tells + after
			d := failure.New("")
			if err := d.Read(failure.Build, strings.NewReader(text)); err != nil {
				t.Fatal(err)
			}
			c := d.Cause()
			x := newLineIndex()
			x.add([]byte(text))
			lines, err := readLines(bytes.NewReader([]byte(text)), 1, 1, x.total())
			if err != nil {
				t.Fatal(err)
			}
			if c.Number < 1 || c.Number > len(lines) || lines[c.Number-1].Number != c.Number || lines[c.Number-1].Text != tells || c.Line != tells {
				t.Errorf("%.40q, %q: the cause is %+v, the viewer has %d lines", before, after, c, len(lines))
			}
			if more := len(lines) - c.Number; len(c.After) != min(more, failure.Around) {
				t.Errorf("%.40q, %q: %d lines below, the viewer has %d", before, after, len(c.After), more)
			}
		}
	}
}

func TestReadLines(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name            string
		in              string
		at, from, count int
		want            []Line
	}{
		{"nothing", "", 1, 1, 10, nil},
		{"ended", "a\nb\n", 1, 1, 10, []Line{{1, "a", 0}, {2, "b", 0}}},
		{"half", "a\nb", 1, 1, 10, []Line{{1, "a", 0}, {2, "b", 0}}},
		{"empty lines", "\n\nx\n", 1, 1, 10, []Line{{1, "", 0}, {2, "", 0}, {3, "x", 0}}},
		{"from later", "a\nb\nc\nd\n", 11, 12, 2, []Line{{12, "b", 0}, {13, "c", 0}}},
		{"behind", "a\n", 1, 5, 2, nil},
		{"long", strings.Repeat("y", maxLine+5) + "\nz", 1, 1, 2, []Line{{1, strings.Repeat("y", maxLine), 5}, {2, "z", 0}}},
		{"long before", strings.Repeat("y", maxLine+5) + "\nz\n", 1, 2, 2, []Line{{2, "z", 0}}},
		{"cut in a character", strings.Repeat("y", maxLine-1) + "é\n", 1, 1, 1, []Line{{1, strings.Repeat("y", maxLine-1), 1}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, one := range []bool{false, true} {
				got, err := readLines(strings.NewReader(tt.in), tt.at, tt.from, tt.count)
				if one {
					got, err = readLines(iotest.OneByteReader(strings.NewReader(tt.in)), tt.at, tt.from, tt.count)
				}
				if err != nil || !cmp.Equal(got, tt.want) {
					t.Errorf("readLines (bytewise %t) = %v, %v\n%s", one, got, err, cmp.Diff(tt.want, got))
				}
			}
		})
	}
}

func TestCleanLine(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain":                      "plain",
		"\x1b[1;31mred\x1b[m":        "red",
		"\x1b]8;;http://x\x1b\\link": "link",
		"\x1b(B text":                " text",
		"\x1b[31":                    "31", // unended: nothing is hidden
		"\x1b]0;never ends":          "0;never ends",
		"\x1b":                       "",
		"a\x1b\x01b":                 "a␁b",
		"\x1b[1\x07hidden m":         "1␇hidden m",
		"tab\there":                  "tab\there",
		"\u009b31m":                  `\u009b31m`,
		"\xc3":                       "\uFFFD",
		"a\u2028b":                   `a\u2028b`,
		"\x7f":                       "␡",
		"\x1b[2J\x1b[Hcleared":       "cleared",
		"Zażółć gęślą jaźń 日本 👩‍🚀": "Zażółć gęślą jaźń 日本 👩‍🚀",
	} {
		if got := cleanLine([]byte(in)); got != want {
			t.Errorf("cleanLine(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzCleanLine(f *testing.F) {
	for _, s := range strings.Split(hostile, "\n") {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := cleanLine(bytes.Clone(b))
		if !utf8.ValidString(s) || strings.ContainsFunc(s, words.Misleads) {
			t.Errorf("cleanLine(%q) = %q", b, s)
		}
		if len(s) > 7*len(b) {
			t.Errorf("cleanLine of %d bytes has %d", len(b), len(s))
		}
	})
}

// FuzzLineIndex compares the index with the lines themselves, however they come.
func FuzzLineIndex(f *testing.F) {
	f.Add([]byte(hostile), 3, 2)
	f.Add(bytes.Repeat([]byte("a\n"), 2000), 700, 1030)
	f.Fuzz(func(t *testing.T, b []byte, size, line int) {
		if size < 1 || line < 1 {
			return
		}
		x := newLineIndex()
		for p := b; len(p) > 0; {
			n := min(size, len(p))
			x.add(p[:n])
			p = p[n:]
		}
		lines := bytes.Split(b, []byte("\n"))
		if len(lines[len(lines)-1]) == 0 {
			lines = lines[:len(lines)-1]
		}
		if x.total() != len(lines) || x.size != int64(len(b)) {
			t.Fatalf("index has %d lines of %d bytes, want %d of %d", x.total(), x.size, len(lines), len(b))
		}
		at, offset := x.before(line)
		got, err := readLines(bytes.NewReader(b[offset:]), at, line, 1)
		if err != nil {
			t.Fatal(err)
		}
		if line > len(lines) {
			if len(got) > 0 {
				t.Fatalf("line %d of %d = %+v", line, len(lines), got)
			}
			return
		}
		if len(got) != 1 || got[0].Number != line || len(lines[line-1]) <= maxLine && got[0].Text != cleanLine(lines[line-1]) {
			t.Fatalf("line %d = %+v, want %q", line, got, lines[line-1])
		}
		if needle := lines[line-1]; len(needle) > 0 {
			n, err := findLine(t.Context(), bytes.NewReader(b[offset:]), at, line, needle)
			if err != nil || n != line {
				t.Fatalf("findLine(%q) = %d, %v, want %d", needle, n, err, line)
			}
		}
	})
}
