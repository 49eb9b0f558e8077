package notice

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"strings"
	"time"
)

// subject is one line that says what a message tells.
func subject(d digest) string {
	if len(d.Notices) == 0 {
		return ""
	}
	advisories, worst, product := d.More, 0, d.Notices[0].Data.Product
	for _, n := range d.Notices {
		if a := n.Data.Advisory; a != nil {
			advisories++
			worst = max(worst, rank(a.Severity))
		}
	}
	if advisories == 0 || len(d.Notices) == 1 && d.More == 0 {
		return d.Notices[0].Data.Title
	}
	s := fmt.Sprintf("%s: release %d with %d advisories", product, d.Notices[0].Data.Release, advisories)
	if advisories == 1 {
		s = strings.TrimSuffix(s, "ies") + "y"
	}
	if worst > 0 {
		s += ", " + severities[worst] + " among them"
	}
	return s
}

func rank(severity string) int {
	for i, s := range severities {
		if s == severity {
			return i
		}
	}
	return 0
}

// text is what a mail says, as plain lines.
func text(d digest, why string) string {
	var b strings.Builder
	for i, n := range d.Notices {
		if i > 0 {
			b.WriteString("\n")
		}
		v := n.Data
		fmt.Fprintf(&b, "%s\n", line(v.Title, maxTitle))
		for _, f := range []struct{ name, value string }{
			{"when", n.At.UTC().Format("2006-01-02 15:04 UTC")}, {"product", v.Product}, {"platforms", strings.Join(v.Platforms, ", ")}, {"reason", v.Reason},
		} {
			if f.value != "" {
				fmt.Fprintf(&b, "  %s: %s\n", f.name, line(f.value, maxReason))
			}
		}
		if a := v.Advisory; a != nil && len(a.CVEs) > 0 {
			fmt.Fprintf(&b, "  CVEs: %s\n", line(strings.Join(a.CVEs, ", "), maxReason))
		}
		for _, t := range v.Troubles {
			fmt.Fprintf(&b, "  - %s\n", line(t, maxReason))
		}
		if v.URL != "" {
			fmt.Fprintf(&b, "  %s\n", line(v.URL, maxTarget))
		}
	}
	if d.More > 0 {
		fmt.Fprintf(&b, "\nand %d advisories more\n", d.More)
	}
	fmt.Fprintf(&b, "\n-- \nYou get this because somebody subscribed your address at albs:\n%s\n", why)
	return b.String()
}

// message is a mail (RFC 5322) of a delivery: plain text, of which no part can become a
// header. Its Message-ID is the delivery's, so that who gets it twice can tell.
func message(from, to, why string, d deliveryRow) ([]byte, error) {
	var what digest
	if err := json.Unmarshal([]byte(d.Document), &what); err != nil {
		return nil, fmt.Errorf("read delivery %d: %w", d.ID, err)
	}
	_, domain, _ := strings.Cut(from, "@")
	// A title in ASCII stays as it is, and must not be one that readers decode (RFC 2047).
	title := strings.ReplaceAll(line(subject(what), maxTitle), "=?", "= ?")
	var b bytes.Buffer
	for _, h := range []struct{ name, value string }{
		{"From", from}, {"To", to}, {"Subject", mime.QEncoding.Encode("utf-8", "[albs] "+title)},
		{"Date", d.CreatedAt.UTC().Format(time.RFC1123Z)}, {"Message-ID", "<" + d.Message + "@" + domain + ">"},
		{"Auto-Submitted", "auto-generated"}, // RFC 3834: nobody's absence answers it
		{"MIME-Version", "1.0"}, {"Content-Type", "text/plain; charset=utf-8"}, {"Content-Transfer-Encoding", "quoted-printable"},
	} {
		// Addresses were checked and the rest is made here; a line feed would be a fault.
		if strings.ContainsAny(strings.ReplaceAll(h.value, "\r\n ", ""), "\r\n") {
			return nil, fmt.Errorf("header %s of delivery %d has a line feed", h.name, d.ID)
		}
		fmt.Fprintf(&b, "%s: %s\r\n", h.name, h.value)
	}
	b.WriteString("\r\n")
	q := quotedprintable.NewWriter(&b)
	if _, err := q.Write([]byte(strings.ReplaceAll(text(what, why), "\n", "\r\n"))); err != nil {
		return nil, fmt.Errorf("encode mail: %w", err)
	}
	if err := q.Close(); err != nil {
		return nil, fmt.Errorf("encode mail: %w", err)
	}
	return b.Bytes(), nil
}
