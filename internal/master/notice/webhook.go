package notice

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"albs/internal/albs"
)

// maxAnswer is how much of a receiver's answer is read; nothing of it is kept.
const maxAnswer = 64 << 10

// strict returns a client like c that follows no redirect: the address that a person gave
// is the one that is asked, and a receiver sends nobody elsewhere.
func strict(c *http.Client) *http.Client {
	out := *c
	out.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &out
}

// checkURL refuses what is no address of a webhook: Invalid, or Forbidden if egress doesn't
// allow it.
func (n *Notices) checkURL(target string) error {
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Fragment != "" {
		return albs.Errorf(albs.Invalid, "a webhook's address is a URL that begins with https:// or http:// and has no fragment")
	}
	return n.Outside.CheckURL(target)
}

// post sends a webhook. The receiver has taken it if it answers 2xx.
func (n *Notices) post(ctx context.Context, to subscriptionRow, d deliveryRow) outcome {
	// What may be reached may have changed since the subscription was made.
	if err := n.checkURL(to.Target); err != nil {
		return outcome{final: true, reason: n.refusal(to.Target, err)}
	}
	body, now := d.Document, n.now()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to.Target, strings.NewReader(body))
	if err != nil {
		return outcome{final: true, reason: "the address is malformed"}
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "albs")
	r.Header.Set(headerID, d.Message)
	r.Header.Set(headerTime, strconv.FormatInt(now.Unix(), 10))
	r.Header.Set(headerSignature, signature(n.Key.of(to.Salt), d.Message, now, []byte(body)))
	resp, err := n.client.Do(r)
	if err != nil {
		return outcome{final: albs.KindOf(err) == albs.Forbidden, reason: n.refusal(to.Target, err)}
	}
	// Read to its end, a short answer leaves the connection for the next; a long one isn't
	// waited for. What it says would tell people what they may not reach.
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	_ = resp.Body.Close()
	return answered(resp.StatusCode)
}

// answered is what a status of HTTP means to a delivery.
func answered(code int) outcome {
	said := fmt.Sprintf("the receiver answered %d %s", code, http.StatusText(code))
	switch {
	case code >= 200 && code < 300:
		return outcome{ok: true}
	case code == http.StatusGone:
		return outcome{final: true, gone: true, reason: strings.TrimSpace(said) + ", which says that nothing is wanted any more"}
	case code >= 300 && code < 400:
		return outcome{reason: strings.TrimSpace(said) + ": redirects aren't followed, so name the address itself"}
	}
	return outcome{reason: strings.TrimSpace(said)}
}

// refusal says why there was no answer, for people, without the URL: its path or query may
// be a secret.
func (n *Notices) refusal(target string, err error) string {
	where := host(target)
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		return where + " didn't answer in time"
	}
	if albs.KindOf(err) == albs.Forbidden {
		return line(fmt.Sprintf("%s may not be reached: only public addresses on ports 80 and 443 are, unless the configuration says so (master.egress.allow)", where), maxReason)
	}
	return line(strings.ReplaceAll(err.Error(), target, where), maxReason)
}
