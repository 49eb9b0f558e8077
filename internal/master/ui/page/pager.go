package page

import (
	"net/http"
	"net/url"
	"strconv"

	"albs/internal/albs"
	"albs/internal/master/ui/words"
)

// Pager leads to the pages of a numbered list around the one that is shown. An address
// is empty where there is no such page.
type Pager struct {
	Number, Of int // this page and how many there are
	From, To   int // the entries shown, from 1; 0 if there are none
	All        int // entries
	Prev, Next string
}

// Paged returns the part of a list that ?page= of a request asks for, per entries to a
// page, and where the rest is. A page that can't be is Invalid; one behind the last is
// empty.
func Paged[T any](r *http.Request, all []T, per int) ([]T, Pager, error) {
	p := Pager{Number: 1, Of: max((len(all)+per-1)/per, 1), All: len(all)}
	if s := r.URL.Query().Get("page"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 1_000_000 {
			return nil, p, albs.Errorf(albs.Invalid, "%s is no page's number", words.Inert(words.Cut(s, 20)))
		}
		p.Number = n
	}
	from, to := min((p.Number-1)*per, len(all)), min(p.Number*per, len(all))
	if to > from {
		p.From, p.To = from+1, to
	}
	if p.Number > 1 {
		p.Prev = With(r.URL, "page", strconv.Itoa(min(p.Number-1, p.Of)))
	}
	if p.Number < p.Of {
		p.Next = With(r.URL, "page", strconv.Itoa(p.Number+1))
	}
	return all[from:to], p, nil
}

// With returns the address u with one value of its query set, or taken out if it is "".
func With(u *url.URL, key, value string) string {
	q := u.Query()
	if value == "" {
		q.Del(key)
	} else {
		q.Set(key, value)
	}
	if len(q) == 0 {
		return u.EscapedPath()
	}
	return u.EscapedPath() + "?" + q.Encode()
}

// maxFilter is how many bytes a value to filter a list by may have.
const maxFilter = 200

// Filters returns the values of a request's query by which a list is filtered, as they
// were typed, in the order of the names.
func Filters(r *http.Request, names ...string) ([]string, error) {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = r.URL.Query().Get(n)
		if len(out[i]) > maxFilter {
			return nil, albs.Errorf(albs.Invalid, "a filter has more than %d bytes", maxFilter)
		}
	}
	return out, nil
}

// Before returns the id below which a list is asked for by ?before=, 0 for its beginning.
func Before(r *http.Request) (int64, error) {
	s := r.URL.Query().Get("before")
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n <= 0 {
		return 0, albs.Errorf(albs.Invalid, "%s is no number to go on before", words.Inert(words.Cut(s, 40)))
	}
	return n, nil
}
