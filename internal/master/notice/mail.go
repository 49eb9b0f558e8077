package notice

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/smtp"
	"net/textproto"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/disk"
)

// Mail says through which server mail goes out.
type Mail struct {
	// Server is its host and port, as "mail.example.org:587".
	Server string `yaml:"server"`
	// From is the address in whose name it goes out.
	From string `yaml:"from"`
	// User is whom the server knows, if it wants to know anybody.
	User string `yaml:"user"`
	// PasswordFile holds the user's password.
	PasswordFile string `yaml:"password_file"`
	// CAFile is an authority trusted beside the system's.
	CAFile string `yaml:"ca_file"`
	// Plain leaves TLS out, for a server on this host.
	Plain bool `yaml:"plain"`

	Password string `yaml:"-"` // once read
}

const maxCAFile = 4 << 20

// Check returns what is wrong with the configuration as it is written, as Invalid.
func (m Mail) Check() error {
	if m == (Mail{}) {
		return nil
	}
	host, port, err := net.SplitHostPort(m.Server)
	switch {
	case m.Server == "":
		return albs.Errorf(albs.Invalid, "mail.server: name the server, as mail.example.org:587")
	case err != nil || host == "" || port == "":
		return albs.Errorf(albs.Invalid, "mail.server: %.100q is no host and port, as mail.example.org:587", m.Server)
	case m.User != "" && m.PasswordFile == "":
		return albs.Errorf(albs.Invalid, "mail.password_file: the user has a password")
	case m.User == "" && m.PasswordFile != "":
		return albs.Errorf(albs.Invalid, "mail.user: whose password is it?")
	case m.Plain && !loopback(host):
		return albs.Errorf(albs.Invalid, "mail.plain: %s isn't this host, and mail goes to others by TLS only", host)
	case m.Plain && m.CAFile != "":
		return albs.Errorf(albs.Invalid, "mail.ca_file: there is no TLS with mail.plain")
	}
	if _, err := checkAddress(m.From); err != nil {
		return albs.Errorf(albs.Invalid, "mail.from: %w", err)
	}
	return nil
}

// loopback reports whether a name or address is this host's own, whatever resolves it.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// tls returns by what the server is believed.
func (m Mail) tls(host string) (*tls.Config, error) {
	c := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if m.CAFile == "" {
		return c, nil
	}
	pem, err := disk.ReadFile(m.CAFile, maxCAFile)
	if err != nil {
		return nil, albs.Errorf(albs.Unavailable, "read mail.ca_file: %w", err)
	}
	if c.RootCAs, err = x509.SystemCertPool(); err != nil {
		c.RootCAs = x509.NewCertPool()
	}
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, albs.Errorf(albs.Unavailable, "mail.ca_file %s holds no PEM certificate", m.CAFile)
	}
	return c, nil
}

// mailTo sends a mail. The receiver has taken it if the server has.
func (n *Notices) mailTo(ctx context.Context, to subscriptionRow, d deliveryRow) outcome {
	if n.mail.Server == "" {
		return outcome{reason: "this master sends no mail any more: its configuration names no server (master.notices.mail)"}
	}
	text, err := message(n.mail.From, to.Target, n.page("notice/%d", to.ID), d)
	if err != nil {
		return outcome{final: true, reason: line(err.Error(), maxReason)}
	}
	return refused(n.mail.send(ctx, to.Target, text))
}

// maxDialogue bounds what a server says in one session.
const maxDialogue = 1 << 20

// send speaks SMTP (RFC 5321) with the server until it has taken the message: by TLS
// (RFC 3207) unless it is this host and the configuration says so. Nothing is told to a
// server that offers no TLS, or isn't the one that it should be.
func (m Mail) send(ctx context.Context, to string, text []byte) (err error) {
	host, _, err := net.SplitHostPort(m.Server)
	if err != nil {
		return err
	}
	conn, err := (&net.Dialer{Timeout: attemptTime / 2}).DialContext(ctx, "tcp", m.Server)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) }) // whatever it waits for ends
	defer stop()
	if end, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(end)
	}
	c, err := smtp.NewClient(bounded{conn, &io.LimitedReader{R: conn, N: maxDialogue}}, host)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	defer c.Close() // a no-op after Quit
	if _, domain, ok := strings.Cut(m.From, "@"); ok {
		if err := c.Hello(domain); err != nil {
			return err
		}
	}
	if !m.Plain {
		if ok, _ := c.Extension("STARTTLS"); !ok {
			return albs.Errorf(albs.Unavailable, "it offers no TLS (STARTTLS)")
		}
		config, err := m.tls(host)
		if err != nil {
			return err
		}
		if err := c.StartTLS(config); err != nil {
			return err
		}
	}
	if m.User != "" {
		if err := c.Auth(smtp.PlainAuth("", m.User, m.Password, host)); err != nil {
			// What the server says of it may repeat what it was told.
			return albs.Errorf(albs.Unavailable, "it doesn't take the user and the password")
		}
	}
	if err := c.Mail(m.From); err != nil {
		return err
	}
	if err := c.Rcpt(to); err != nil {
		return forGood(err)
	}
	w, err := c.Data()
	if err != nil {
		return forGood(err)
	}
	if _, err := w.Write(text); err != nil {
		return errors.Join(err, w.Close())
	}
	if err := w.Close(); err != nil {
		return forGood(err)
	}
	_ = c.Quit() // it has the message
	return nil
}

// bounded is a connection of which only so much is read.
type bounded struct {
	net.Conn
	from io.Reader
}

func (b bounded) Read(p []byte) (int, error) { return b.from.Read(p) }

// forGood makes what a server says of an address or a message Invalid, if it says so for
// good: 5yz (RFC 5321, section 4.2.1). What it says so of the master, an operator mends.
func forGood(err error) error {
	if said, ok := errors.AsType[*textproto.Error](err); ok && said.Code >= 500 && said.Code < 600 {
		return albs.Errorf(albs.Invalid, "%w", err)
	}
	return err
}

// refused is what an error of a session means to a delivery.
func refused(err error) outcome {
	if err == nil {
		return outcome{ok: true}
	}
	if said, ok := errors.AsType[*textproto.Error](err); ok {
		return outcome{final: albs.KindOf(err) == albs.Invalid, reason: line("the mail server said: "+said.Error(), maxReason)}
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return outcome{reason: "the mail server didn't answer in time"}
	}
	return outcome{reason: line("the mail server: "+err.Error(), maxReason)}
}
