package tap

import "strings"

// kind is what a line is, without its indentation.
type kind int

const (
	other kind = iota // no TAP, or a pragma, of which none changes what is read here
	version
	plan
	point
	bailOut
	comment
)

const bailOutWords = "Bail out!"

func kindOf(body string) kind {
	switch {
	case strings.HasPrefix(body, "#"):
		return comment
	case strings.HasPrefix(body, "TAP version ") && allDigits(strings.TrimSpace(body[len("TAP version "):])):
		return version
	case strings.HasPrefix(body, bailOutWords):
		return bailOut
	case strings.HasPrefix(body, "1.."):
		if number, _, _ := strings.Cut(body[len("1.."):], "#"); allDigits(strings.TrimSpace(number)) {
			return plan
		}
		return other
	}
	rest, ok := strings.CutPrefix(strings.TrimLeft(strings.TrimPrefix(body, "not "), " "), "ok")
	if ok && (rest == "" || !isWord(rest[0])) {
		return point
	}
	return other
}

func allDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

// split parts a description from its directive at the first "#" that no backslash
// escapes and that has a directive behind it; escapes are undone in the description.
func split(body string) (name, rest string) {
	var b strings.Builder
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case c == '\\' && i+1 < len(body) && (body[i+1] == '#' || body[i+1] == '\\'):
			i++
			b.WriteByte(body[i])
			continue
		case c == '#':
			if st, _ := directive(body[i+1:]); st != "" {
				return strings.TrimSpace(b.String()), body[i+1:]
			}
		}
		b.WriteByte(body[i])
	}
	return strings.TrimSpace(b.String()), ""
}

// directive reads "SKIP why" and "TODO why", in any case; "skipped: why" is one too.
// The status is "" for what is neither.
func directive(s string) (Status, string) {
	word, reason, _ := strings.Cut(strings.TrimSpace(s), " ")
	switch w := strings.ToLower(word); {
	case strings.HasPrefix(w, "skip"):
		return Skipped, cut(strings.TrimSpace(reason), maxText)
	case w == "todo" || strings.HasPrefix(w, "todo") && !isWord(w[len("todo")]):
		return Todo, cut(strings.TrimSpace(reason), maxText)
	}
	return "", ""
}
