package ui

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
)

const hostile = "plain\n</script><script>alert(1)</script>\n\x1b[31mred\x1b[0m \x1b]0;title\x07after\n" +
	"nul\x00 bell\x07 back\x08 cr\rover\n\xff\xfe bad\n\u202eevil\u2066 \u200bzero\ncrlf\r\n"

func TestLogPage(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.create()
	l := f.claim(albs.KindBuild, "arch:x86_64")
	base := fmt.Sprintf("/build/1/task/%d/log/build", l.Token.Task)
	anon := f.browse("")
	contains(t, "log that has not begun", anon.page(base), "no line yet")

	l.log("build", hostile)
	l.log("build", strings.Repeat("long ", 200<<10)+"\n")
	page := anon.page(base)
	contains(t, "log page", page, "!<script>alert", "&lt;/script&gt;&lt;script&gt;alert(1)", "<code>red after</code>", "nul␀ bell␇ back␈ cr␍over",
		"\uFFFD bad", `\u202eevil\u2066 \u200bzero`, "<code>crlf</code>", `id="L1"`, `href="#L8"`, "998 KiB more in the raw log", "lines 1 to 8 of 8",
		"still growing", "/api/v1/builds/1/tasks/", "!\x1b", "!\x00")
	if len(page) > 20<<10 {
		t.Errorf("the page has %d bytes", len(page))
	}

	var b strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&b, "line %d\n", i+9)
	}
	l.log("build", b.String()+"half")
	contains(t, "end", anon.page(base), "lines 1,810 to 2,009 of 2,009", "<code>half</code>", "!<code>line 1809<", "<code>line 1810<", "from=1610", "from=1\"")
	contains(t, "beginning", anon.page(base+"?attempt=1&from=1"), "<code>plain<", "from=201", "!from=-", "!<code>line 201<")
	contains(t, "middle", anon.page(base+"?from=1000"), "<code>line 1000<", "<code>line 1199<", "!<code>line 999<", "!<code>line 1200<")
	contains(t, "behind", anon.page(base+"?from=5000"), "no line")

	var got linesAnswer
	must(t, json.Unmarshal([]byte(anon.page(base+"/lines?attempt=1&from=1999")), &got))
	if got.Lines != 2009 || len(got.Text) != 11 || got.Text[0] != (Line{Number: 1999, Text: "line 1999"}) || got.Text[10].Text != "half" {
		t.Errorf("lines = %+v", got)
	}
	for q, want := range map[string]int{
		"q=LINE+1500": 1500, "q=line&after=500": 501, "q=half": 2009, "q=nowhere": 0, "q=plain&after=1": 0, "q=ALERT": 2, "q=line+9&after=8": 9, "q=line+9&after=9": 90,
	} {
		var got findAnswer
		must(t, json.Unmarshal([]byte(anon.page(base+"/find?"+q)), &got))
		if got.Line != want {
			t.Errorf("find %s = %d, want %d", q, got.Line, want)
		}
	}
	for _, bad := range []string{"/lines", "/lines?from=0", "/lines?from=x", "/find", "/find?q=a%0ab", "/find?q=" + strings.Repeat("a", 300), "/find?q=a&after=-1"} {
		if a := anon.get(base + bad); a.StatusCode != 400 {
			t.Errorf("GET %.40s = %s", bad, a.Status)
		}
	}

	// The tail tells what there is, tells of more, and ends with the attempt.
	s := anon.stream(base + "/tail")
	var m grownMessage
	read := func(kind string) {
		t.Helper()
		_, data, ok := strings.Cut(next(t, s), "event: "+kind+"\ndata: ")
		if !ok {
			t.Fatalf("no message %q", kind)
		}
		must(t, json.Unmarshal([]byte(data), &m))
	}
	if read("grown"); m.Lines != 2009 || m.Ended {
		t.Errorf("first message %+v", m)
	}
	l.log("build", " and half\nmore\n")
	if read("grown"); m.Lines != 2010 {
		t.Errorf("message after more %+v", m)
	}
	l.succeed()
	if read("end"); m.Lines != 2010 || !m.Ended {
		t.Errorf("last message %+v", m)
	}
	contains(t, "ended log", anon.page(base), "data-ended", "!still growing", "<code>half and half<")
	s = anon.stream(base + "/tail")
	read("end")
	s.Scan() // the line that ends the message
	if s.Scan() {
		t.Error("the stream goes on")
	}
}

func TestBigLog(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.create()
	l := f.claim(albs.KindBuild, "arch:x86_64")
	line := strings.Repeat("x", 79) + "\n"
	l.log("build", strings.Repeat(line, 200_000)) // 16 MB
	anon := f.browse("")
	base := fmt.Sprintf("/build/1/task/%d/log/build", l.Token.Task)
	start := time.Now()
	contains(t, "end of a big log", anon.page(base), "of 200,000")
	first := time.Since(start)
	start = time.Now()
	contains(t, "middle of a big log", anon.page(base+"/lines?from=123456"), `"n":123456`)
	t.Logf("16 MB: first page %v, a block then %v", first, time.Since(start))
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

// TestMisleads: the first and the last of each kind are spelled out, and their
// neighbours are text.
func TestMisleads(t *testing.T) {
	t.Parallel()
	for _, r := range "\x00\x08\n\x1f\x7f\u0080\u009f\u00ad\u061c\u200b\u200e\u200f\u2028\u2029\u202a\u202e\u2060\u2066\u2069\ufeff\ufff9\ufffb\U000e0000\U000e007f" {
		if !misleads(r) || strings.ContainsRune(inert(string(r)), r) {
			t.Errorf("%U is shown as it is", r)
		}
	}
	for _, r := range "\t ~\u00a0\u00ae\u200c\u200d\u2027\u202f\u2065\u206a\ufffc\ufffd\U000e0080" {
		if s := inert(string(r)); s != string(r) {
			t.Errorf("%U is shown as %q", r, s)
		}
	}
}

func FuzzCleanLine(f *testing.F) {
	for _, s := range strings.Split(hostile, "\n") {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := cleanLine(bytes.Clone(b))
		if !utf8.ValidString(s) || strings.ContainsFunc(s, misleads) {
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
