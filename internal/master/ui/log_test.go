package ui

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/master/ui/logs"
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

	var got struct {
		logs.Extent
		Text []logs.Line
	}
	must(t, json.Unmarshal([]byte(anon.page(base+"/lines?attempt=1&from=1999")), &got))
	if got.Lines != 2009 || len(got.Text) != 11 || got.Text[0] != (logs.Line{Number: 1999, Text: "line 1999"}) || got.Text[10].Text != "half" {
		t.Errorf("lines = %+v", got)
	}
	for q, want := range map[string]int{
		"q=LINE+1500": 1500, "q=line&after=500": 501, "q=half": 2009, "q=nowhere": 0, "q=plain&after=1": 0, "q=ALERT": 2, "q=line+9&after=8": 9, "q=line+9&after=9": 90,
	} {
		var got struct{ Line int }
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
	var m struct {
		logs.Extent
		Ended bool
	}
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
