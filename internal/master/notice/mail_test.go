package notice

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
)

func TestMailCheck(t *testing.T) {
	t.Parallel()
	ok := Mail{Server: "mail.example.org:587", From: "albs@example.org"}
	for _, tc := range []struct {
		name   string
		change func(m *Mail)
		want   string // a part of the error
	}{
		{"good", func(*Mail) {}, ""},
		{"none", func(m *Mail) { *m = Mail{} }, ""},
		{"no server", func(m *Mail) { m.Server = "" }, "mail.server"},
		{"no port", func(m *Mail) { m.Server = "mail.example.org" }, "mail.server"},
		{"no host", func(m *Mail) { m.Server = ":25" }, "mail.server"},
		{"no sender", func(m *Mail) { m.From = "" }, "mail.from"},
		{"a sender with a name", func(m *Mail) { m.From = "albs <albs@example.org>" }, "mail.from"},
		{"a user without a password", func(m *Mail) { m.User = "albs" }, "mail.password_file"},
		{"a password without a user", func(m *Mail) { m.PasswordFile = "/p" }, "mail.user"},
		{"a user", func(m *Mail) { m.User, m.PasswordFile = "albs", "/p" }, ""},
		{"without TLS to another host", func(m *Mail) { m.Plain = true }, "mail.plain"},
		{"without TLS to an address", func(m *Mail) { m.Server, m.Plain = "10.0.0.1:25", true }, "mail.plain"},
		{"without TLS to this host", func(m *Mail) { m.Server, m.Plain = "localhost:25", true }, ""},
		{"without TLS to this address", func(m *Mail) { m.Server, m.Plain = "[::1]:25", true }, ""},
		{"an authority for no TLS", func(m *Mail) { m.Server, m.Plain, m.CAFile = "127.0.0.1:25", true, "/ca" }, "mail.ca_file"},
	} {
		m := ok
		tc.change(&m)
		err := m.Check()
		if (err == nil) != (tc.want == "") || err != nil && (albs.KindOf(err) != albs.Invalid || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
}

// server is a mail server of one test, which says what it is told to.
type server struct {
	addr string
	tls  *tls.Config
	says map[string]string // by the beginning of a command; "DATA." is the end of one

	mu   sync.Mutex
	told []string // every line, of every session
}

// newServer starts one. Its sessions end with the test.
func newServer(t *testing.T, says map[string]string, config *tls.Config) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{addr: l.Addr().String(), tls: config, says: says}
	ctx, cancel := context.WithCancel(context.Background())
	var sessions sync.WaitGroup
	sessions.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			sessions.Go(func() {
				stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
				defer stop()
				defer conn.Close()
				s.session(ctx, conn)
			})
		}
	})
	t.Cleanup(func() { cancel(); _ = l.Close(); sessions.Wait() })
	return s
}

func (s *server) session(ctx context.Context, conn net.Conn) {
	say := func(key, otherwise string) bool {
		text, ok := s.says[key]
		if !ok {
			text = otherwise
		}
		switch text {
		case "silence":
			<-ctx.Done()
			return false
		case "flood":
			for ctx.Err() == nil {
				if _, err := conn.Write(bytes.Repeat([]byte("x"), 64<<10)); err != nil {
					return false
				}
			}
			return false
		}
		_, err := io.WriteString(conn, text+"\r\n")
		return err == nil
	}
	if !say("", "220 test ESMTP") {
		return
	}
	in := bufio.NewReader(conn)
	for data := false; ; {
		l, err := in.ReadString('\n')
		if err != nil {
			return
		}
		l = strings.TrimSuffix(l, "\r\n")
		s.mu.Lock()
		s.told = append(s.told, l)
		s.mu.Unlock()
		verb, _, _ := strings.Cut(strings.ToUpper(l), " ")
		switch {
		case data && l != ".":
			continue
		case data:
			data = false
			if !say("DATA.", "250 taken") {
				return
			}
		case verb == "EHLO":
			ehlo := "250 test"
			if s.tls != nil {
				ehlo = "250-test\r\n250 STARTTLS"
			}
			if !say(verb, ehlo) {
				return
			}
		case verb == "DATA":
			data = true
			if !say(verb, "354 go on") {
				return
			}
		case verb == "STARTTLS":
			if !say(verb, "220 go on") {
				return
			}
			secure := tls.Server(conn, s.tls)
			if secure.Handshake() != nil {
				return
			}
			conn, in = secure, bufio.NewReader(secure)
		default:
			if !say(verb, "250 good") || verb == "QUIT" {
				return
			}
		}
	}
}

// heard returns what was said to it.
func (s *server) heard() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.told, "\n")
}

// TestSend: what a server says means what it should, and nothing is told to the wrong one.
func TestSend(t *testing.T) {
	t.Parallel()
	web := httptest.NewUnstartedServer(nil)
	web.StartTLS()
	t.Cleanup(web.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	plain, secure := Mail{Plain: true}, Mail{CAFile: ca}
	for _, tc := range []struct {
		name  string
		mail  Mail
		says  map[string]string
		tls   bool
		ok    bool
		final bool
		want  string // of the reason
	}{
		{"plain, to this host", plain, nil, false, true, false, ""},
		{"by TLS", secure, nil, true, true, false, ""},
		{"no TLS to be had", secure, nil, false, false, false, "offers no TLS"},
		{"TLS that fails", secure, map[string]string{"STARTTLS": "454 not now"}, true, false, false, "454"},
		{"by an authority that isn't trusted", Mail{}, nil, true, false, false, "certificate"},
		{"by an authority that isn't there", Mail{CAFile: ca + "x"}, nil, true, false, false, "mail.ca_file"},
		{"an address that isn't", plain, map[string]string{"RCPT": "550 no such user"}, false, false, true, "550"},
		{"an address later", plain, map[string]string{"RCPT": "451 greylisted"}, false, false, false, "451"},
		{"a sender that may not", plain, map[string]string{"MAIL": "530 who are you"}, false, false, false, "530"},
		{"no service", plain, map[string]string{"": "554 no service"}, false, false, false, "554"},
		{"refused in the end", plain, map[string]string{"DATA.": "554 spam"}, false, false, true, "554"},
		{"full in the end", plain, map[string]string{"DATA.": "452 full"}, false, false, false, "452"},
		{"busy", plain, map[string]string{"": "421 busy"}, false, false, false, "421"},
		{"silent", plain, map[string]string{"": "silence"}, false, false, false, "in time"},
		{"silent in the end", plain, map[string]string{"DATA.": "silence"}, false, false, false, "in time"},
		{"a flood", plain, map[string]string{"MAIL": "flood"}, false, false, false, ""},
		{"no bye", plain, map[string]string{"QUIT": "silence"}, false, true, false, ""},
		{"what hides something", plain, map[string]string{"RCPT": "550 no\x1b[31m"}, false, false, true, "550"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var config *tls.Config
			if tc.tls {
				config = web.TLS
			}
			s := newServer(t, tc.says, config)
			m := tc.mail
			m.Server, m.From = s.addr, "albs@example.org"
			within := time.Minute // for attemptTime
			for _, said := range tc.says {
				switch {
				case said == "silence" && tc.ok: // all before it has to fit in
					within = 5 * time.Second
				case said == "silence":
					within = 500 * time.Millisecond
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			o := refused(m.send(ctx, "olga@example.org", []byte("Subject: x\r\n\r\n.\r\nMAIL FROM:<evil@example.org>\r\n")))
			if o.ok != tc.ok || o.final != tc.final || !strings.Contains(o.reason, tc.want) || misleads(o.reason) {
				t.Errorf("it ends with %+v, want ok %t, final %t and %q", o, tc.ok, tc.final, tc.want)
			}
			heard := s.heard()
			if tc.ok && !strings.Contains(heard, "\n..\nMAIL FROM:<evil@example.org>\n.\n") {
				t.Errorf("a line with a dot isn't kept apart from the end:\n%s", heard)
			}
			if !tc.ok && !m.Plain && strings.Contains(heard, "MAIL") {
				t.Errorf("without TLS it was told:\n%s", heard)
			}
		})
	}
}

// TestMails: an address gets one mail of a release, whatever that has.
func TestMails(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := newServer(t, nil, nil)
		f := open(t, d, Config{Mail: Mail{Server: s.addr, From: "albs@example.org", Plain: true}}, local)
		made, _, err := f.Subscribe(f.admin, NewSubscription{Team: "core", Channel: ByMail, Target: "olga@example.org",
			Filter: Filter{Kinds: []Kind{Published, Released}, Severity: "low"}})
		f.must(err)
		as := []Advisory{note("ALSA-2026:1", "el9", "none")}
		for i := range maxDigest + 5 {
			as = append(as, note(fmt.Sprintf("ALSA-2026:%d", i+2), "el9", "moderate"))
		}
		hooked := f.subscribe(newHook(t), Filter{Kinds: []Kind{Published, Released}})
		f.release(2, as...)
		f.followed(false)
		f.followed(true)
		hooked, err = f.Get(f.admin, hooked.ID)
		f.must(err)
		f.want("what waits for a webhook", len(as)+1, hooked.Waiting)
		f.must(f.Remove(f.admin, hooked.ID))
		f.sent()
		f.want("deliveries", []string{"release.published sent 1"}, states(f.deliveries(made.ID)))
		_, content, _ := strings.Cut(s.heard(), "DATA\n")
		content, _, _ = strings.Cut(content, "\n.\n")
		h, subject, body := parsed(t, []byte(strings.ReplaceAll(content, "\n", "\r\n")))
		f.want("subject", "[albs] demo: release 2 with 205 advisories, moderate among them", subject)
		f.want("id", "<"+f.deliveries(made.ID)[0].Message+"@example.org>", h.Get("Message-ID"))
		f.want("advisories and others", []int{maxDigest - 1, 1, 0}, []int{strings.Count(body, "moderate: bash update"), strings.Count(body, "and 6 advisories more"), strings.Count(body, "ALSA-2026:1 ")})

		// Without a server nobody is subscribed, and what waits waits.
		g := open2(f, Config{})
		if _, _, err := g.Subscribe(f.admin, NewSubscription{Channel: ByMail, Target: "olga@example.org", Filter: made.Filter}); albs.KindOf(err) != albs.Conflict {
			t.Errorf("a subscription where no mail goes out: %v", err)
		}
		_, err = g.Test(f.admin, made.ID)
		f.must(err)
		f.Notices = g
		f.sent()
		f.want("deliveries without a server", []string{"release.published sent 1", "notice.test waiting 1"}, states(f.deliveries(made.ID)))
	})
}

// open2 returns notices with another configuration over the same database.
func open2(f *fixture, c Config) *Notices {
	g := *f.Notices
	g.mail = c.Mail
	return &g
}

// TestRealServer sends mail to a server that others wrote, by TLS and with a password.
func TestRealServer(t *testing.T) {
	t.Parallel()
	const python = "/usr/bin/python3" // Debian's, which has Debian's modules
	if out, err := exec.Command(python, "-c", "import aiosmtpd").CombinedOutput(); err != nil {
		t.Skipf("there is no aiosmtpd (python3-aiosmtpd): %v %s", err, bytes.TrimSpace(out))
	}
	web := httptest.NewUnstartedServer(nil)
	web.StartTLS()
	t.Cleanup(web.Close)
	dir := t.TempDir()
	der, err := x509.MarshalPKCS8PrivateKey(web.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: web.Certificate().Raw}, key: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), python, "testdata/smtpd.py", cert, key, "albs", "pass word")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewReader(out)
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	port, err := said.ReadString('\n')
	if err != nil {
		t.Fatalf("aiosmtpd didn't start: %v\n%s", err, stderr.Bytes())
	}
	m := Mail{Server: "127.0.0.1:" + strings.TrimSpace(port), From: "albs@example.org", User: "albs", PasswordFile: "/p", Password: "pass word", CAFile: cert}
	text, err := message(m.From, "olga@example.org", "https://albs.example/notice/1", row(t, digest{Notices: advisories("critical")}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	wrong := m
	wrong.Password = "other"
	if o := refused(wrong.send(ctx, "olga@example.org", text)); o.ok || strings.Contains(o.reason, "other") || !strings.Contains(o.reason, "password") {
		t.Errorf("with the wrong password: %+v", o)
	}
	untrusted := m
	untrusted.CAFile = ""
	if o := refused(untrusted.send(ctx, "olga@example.org", text)); o.ok || !strings.Contains(o.reason, "certificate") {
		t.Errorf("with a certificate that nobody trusts: %+v", o)
	}
	if o := refused(m.send(ctx, "olga@example.org", text)); !o.ok {
		t.Fatalf("it wasn't taken: %+v\n%s", o, stderr.Bytes())
	}
	l, err := said.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		From, Content, User string
		To                  []string
		TLS                 bool
	}
	if err := json.Unmarshal([]byte(l), &got); err != nil {
		t.Fatal(err)
	}
	_, subject, body := parsed(t, []byte(got.Content))
	if got.From != m.From || len(got.To) != 1 || got.To[0] != "olga@example.org" || !got.TLS || got.User != "albs" ||
		subject != "[albs] ALSA-2026:1 of el9: critical: bash security update" || !strings.Contains(body, "https://repo.example/errata/el9/html/ALSA-2026-1.html") {
		t.Errorf("the server has %+v", got)
	}
}
