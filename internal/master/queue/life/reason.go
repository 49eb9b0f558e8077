package life

import "strings"

// OneLine makes a reason, which may come from a worker, fit for a list: one line of
// text of at most 1,000 bytes and a sign that there was more.
func OneLine(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	s = strings.Map(func(r rune) rune {
		if r == 0 || r == 0x7f || r < ' ' {
			return '?'
		}
		return r
	}, s)
	if len(s) > 1000 {
		s = strings.ToValidUTF8(s[:1000], "") + "…"
	}
	return s
}
