package notice

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/master/db"
)

var when = time.Date(2026, 11, 27, 9, 30, 0, 0, time.UTC)

func advisories(severities ...string) (out []Notice) {
	release := Notice{Kind: Published, At: when, Data: Data{Title: "Release 12 of demo is published", Product: "demo", Release: 12, Serial: 5, URL: "https://albs.example/release/12"}}
	for i, s := range severities {
		out = append(out, advisoryNotice(Advisory{ID: fmt.Sprintf("ALSA-2026:%d", i+1), Platform: "el9", Version: 1, Severity: s, Title: "bash security update", CVEs: []string{"CVE-2026-1111"},
			URL: fmt.Sprintf("https://repo.example/errata/el9/html/ALSA-2026-%d.html", i+1)}, release))
	}
	return out
}

func TestSubject(t *testing.T) {
	t.Parallel()
	release := Notice{Kind: Published, Data: Data{Title: "Release 12 of demo is published", Product: "demo", Release: 12}}
	for want, d := range map[string]digest{
		"":                                {},
		"Release 12 of demo is published": {Notices: []Notice{release}},
		"ALSA-2026:1 of el9: important: bash security update":     {Notices: advisories("important")},
		"ALSA-2026:1 of el9: bash security update":                {Notices: advisories("none")},
		"demo: release 12 with 1 advisory, low among them":        {Notices: append([]Notice{release}, advisories("low")...)},
		"demo: release 12 with 3 advisories, critical among them": {Notices: advisories("low", "critical", "none")},
		"demo: release 12 with 2 advisories":                      {Notices: advisories("none", "none")},
		"demo: release 12 with 201 advisories, low among them":    {Notices: advisories("low"), More: 200},
	} {
		if got := subject(d); got != want {
			t.Errorf("subject = %q, want %q", got, want)
		}
	}
	gone := advisoryNotice(Advisory{ID: "ALSA-2026:1", Platform: "el9", Severity: "low", Title: "bash", Withdrawn: true}, release)
	if gone.Kind != Withdrawn || gone.Data.Title != "ALSA-2026:1 of el9 was withdrawn: bash" {
		t.Errorf("of one withdrawn: %+v", gone)
	}
}

// parsed reads a mail as a reader does.
func parsed(t testing.TB, b []byte) (h mail.Header, subject, body string) {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("it is no mail: %v\n%s", err, b)
	}
	raw, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil {
		t.Fatal(err)
	}
	subject, err = new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil {
		t.Fatal(err)
	}
	return m.Header, subject, string(raw)
}

func row(t testing.TB, d digest) deliveryRow {
	t.Helper()
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return deliveryRow{ID: 3, Message: "msg_ABC", Document: string(b), CreatedAt: db.At(when)}
}

func TestMessage(t *testing.T) {
	t.Parallel()
	b, err := message("albs@example.org", "olga@example.org", "https://albs.example/notice/1", row(t, digest{Notices: advisories("important", "low"), More: 3}))
	if err != nil {
		t.Fatal(err)
	}
	h, subject, body := parsed(t, b)
	want := map[string]string{
		"From": "albs@example.org", "To": "olga@example.org", "Date": "Fri, 27 Nov 2026 09:30:00 +0000", "Message-Id": "<msg_ABC@example.org>", "Auto-Submitted": "auto-generated",
		"Mime-Version": "1.0", "Content-Type": "text/plain; charset=utf-8", "Content-Transfer-Encoding": "quoted-printable",
	}
	for k, v := range want {
		if h.Get(k) != v {
			t.Errorf("%s: %q, want %q", k, h.Get(k), v)
		}
	}
	if subject != "[albs] demo: release 12 with 5 advisories, important among them" {
		t.Errorf("subject %q", subject)
	}
	if d := cmp.Diff(`ALSA-2026:1 of el9: important: bash security update
  when: 2026-11-27 09:30 UTC
  product: demo
  platforms: el9
  CVEs: CVE-2026-1111
  https://repo.example/errata/el9/html/ALSA-2026-1.html

ALSA-2026:2 of el9: low: bash security update
  when: 2026-11-27 09:30 UTC
  product: demo
  platforms: el9
  CVEs: CVE-2026-1111
  https://repo.example/errata/el9/html/ALSA-2026-2.html

and 3 advisories more

-- `+`
You get this because somebody subscribed your address at albs:
https://albs.example/notice/1
`, strings.ReplaceAll(body, "\r\n", "\n")); d != "" {
		t.Errorf("body (-want +got):\n%s", d)
	}
}

// FuzzMessage: whatever an advisory says, it makes no header, no line of a header and no
// end of the message.
func FuzzMessage(f *testing.F) {
	f.Add("bash\r\nBcc: x@example.org", "a reason\r\n.\r\nMAIL FROM:<x>", "CVE-1")
	f.Add("\u2028\u202e=?utf-8?q?=0D=0ABcc:_x?=", strings.Repeat("ü", 400), "\x00")
	f.Fuzz(func(t *testing.T, title, reason, cve string) {
		n := advisories("low")[0]
		n.Data.Title, n.Data.Reason, n.Data.Troubles = title, reason, []string{reason}
		n.Data.Advisory.CVEs, n.Data.URL = []string{cve}, "https://x.example/"+cve
		b, err := message("albs@example.org", "olga@example.org", "https://albs.example/notice/1", row(t, digest{Notices: []Notice{n}}))
		if err != nil {
			t.Fatal(err)
		}
		h, subject, body := parsed(t, b)
		var names []string
		for k, v := range h {
			if len(v) != 1 {
				t.Errorf("header %s is there %d times", k, len(v))
			}
			names = append(names, k)
		}
		slices.Sort(names)
		if d := cmp.Diff([]string{"Auto-Submitted", "Content-Transfer-Encoding", "Content-Type", "Date", "From", "Message-Id", "Mime-Version", "Subject", "To"}, names); d != "" {
			t.Errorf("headers (-want +got):\n%s", d)
		}
		if !strings.HasPrefix(subject, "[albs] ") || misleads(subject) {
			t.Errorf("subject %q", subject)
		}
		for l := range strings.SplitSeq(string(b), "\r\n") {
			if len(l) > 998 || strings.ContainsAny(l, "\r\n\x00") { // RFC 5322, section 2.1.1
				t.Errorf("line %q", l)
			}
		}
		if !strings.HasSuffix(strings.TrimSpace(body), "https://albs.example/notice/1") {
			t.Errorf("the body ends in %q", body[max(0, len(body)-80):])
		}
	})
}
