package git

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"albs/internal/albs"
)

// Commit is what git's object of a commit says. Texts are UTF-8, whatever they were.
type Commit struct {
	ID        string
	Tree      string
	Parents   []string
	Author    Person
	Committer Person
	Signature string // of gpgsig, "" if there is none
	Message   string
}

// Person is who made something, by that one's own word.
type Person struct {
	Name  string
	Email string
	When  time.Time // in the zone that is given; zero if it can't be told
}

// ParseCommit reads the object of the commit id, as git cat-file prints it
// (gitformat-commit). Invalid if it isn't that object, or has no tree. Who made it may be
// spelled in any way: what can't be told apart stands in the name.
func ParseCommit(id string, raw []byte) (Commit, error) {
	bad := func(why string) (Commit, error) {
		return Commit{}, albs.Errorf(albs.Invalid, "the object of commit %.40q %s", id, why)
	}
	h := sha1.New() // git's own name for it
	h.Write([]byte("commit " + strconv.Itoa(len(raw)) + "\x00"))
	h.Write(raw)
	if hex.EncodeToString(h.Sum(nil)) != id {
		return bad("has another id")
	}
	c := Commit{ID: id}
	head, message, _ := bytes.Cut(raw, []byte("\n\n"))
	c.Message = text(message)
	var signature []byte
	inSignature := false
	for i, line := range bytes.Split(head, []byte("\n")) {
		if i == 0 {
			tree, ok := strings.CutPrefix(string(line), "tree ")
			if !ok || !validCommit(tree) {
				return bad("names no tree")
			}
			c.Tree = tree
			continue
		}
		if len(line) > 0 && line[0] == ' ' { // goes on with the header before
			if inSignature {
				signature = append(append(signature, line[1:]...), '\n')
			}
			continue
		}
		key, value, _ := bytes.Cut(line, []byte(" "))
		inSignature = string(key) == "gpgsig"
		switch string(key) {
		case "parent":
			if !validCommit(string(value)) {
				return bad("names a parent that is no commit")
			}
			c.Parents = append(c.Parents, string(value))
		case "author":
			c.Author = parsePerson(text(value))
		case "committer":
			c.Committer = parsePerson(text(value))
		case "gpgsig":
			signature = append(append(signature, value...), '\n')
		}
	}
	c.Signature = strings.TrimRight(strings.ToValidUTF8(string(signature), ""), "\n")
	return c, nil
}

var (
	personForm = regexp.MustCompile(`^(.*) (\d+) ([+-]\d+)`)
	mailForm   = regexp.MustCompile(`(.*) <(.*?)>`)
)

// lastTime is the end of the year 9999: what comes later no calendar of ours spells.
const lastTime = 253402300799

func parsePerson(s string) Person {
	var p Person
	who := s
	if m := personForm.FindStringSubmatch(s); m != nil {
		who = m[1]
		if at, err := strconv.ParseInt(m[2], 10, 64); err == nil && at <= lastTime {
			p.When = time.Unix(at, 0).In(zone(m[3]))
		}
	}
	if m := mailForm.FindStringSubmatch(who); m != nil {
		p.Name, p.Email = m[1], m[2]
	} else {
		p.Name = who
	}
	return p
}

// zone reads +HHMM; what is a day or more stands for UTC.
func zone(s string) *time.Location {
	n, err := strconv.Atoi(s)
	seconds := (n/100)*3600 + (n%100)*60
	if err != nil || seconds <= -86400 || seconds >= 86400 {
		return time.UTC
	}
	return time.FixedZone("", seconds)
}

// text is b in UTF-8: what isn't is replaced piece by piece, as the Unicode Standard
// recommends (3.9, U+FFFD substitution of maximal subparts) and Python does.
func text(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var out strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			for k := 2; k <= 3 && k <= len(b) && !utf8.FullRune(b[:k]); k++ {
				n = k
			}
		}
		out.WriteRune(r)
		b = b[n:]
	}
	return out.String()
}
