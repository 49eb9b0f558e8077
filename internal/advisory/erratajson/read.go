package erratajson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/rpm"
)

// maxBytes bounds a file that is read, maxEntries what is in it.
const (
	maxBytes   = 256 << 20
	maxEntries = 100_000
)

// Read returns the advisories of an errata.json or errata.full.json, as of that platform;
// entries with one id are one. Sentences say what had to be left out. A file that is neither
// is Invalid, one beyond 256 MiB or with more than 100,000 entries TooLarge.
func Read(r io.Reader, platform string) ([]advisory.Advisory, []string, error) {
	l := &io.LimitedReader{R: r, N: maxBytes + 1}
	out, dropped, err := read(json.NewDecoder(l), platform)
	switch {
	case l.N <= 0:
		return nil, nil, albs.Errorf(albs.TooLarge, "a file of advisories has at most %d bytes", maxBytes)
	case err != nil && albs.KindOf(err) == albs.Internal:
		return nil, nil, albs.Errorf(albs.Invalid, "the file can't be read as errata.json or errata.full.json: %w", err)
	case err != nil:
		return nil, nil, err
	}
	return advisory.Merge(out), dropped, nil
}

func read(d *json.Decoder, platform string) (out []advisory.Advisory, dropped []string, err error) {
	each := func(decode func() (advisory.Advisory, string, []string, error)) error {
		n := 0
		for d.More() {
			if n++; n > maxEntries {
				return albs.Errorf(albs.TooLarge, "the file has more than %d entries", maxEntries)
			}
			a, id, sentences, err := decode()
			if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
				id, sentences = fmt.Sprintf("entry %d", n), []string{"it can't be taken over: " + wrong.Error()}
			} else if err != nil {
				return err
			}
			for _, s := range sentences {
				dropped = append(dropped, fmt.Sprintf("%.100s: %s", id, s))
			}
			if a.ID != "" {
				out = append(out, a)
			}
		}
		_, err := d.Token() // the end of the list
		return err
	}
	t, err := d.Token()
	if err != nil {
		return nil, nil, err
	}
	switch t {
	case json.Delim('['):
		err = each(func() (advisory.Advisory, string, []string, error) {
			var e entry
			if err := d.Decode(&e); err != nil {
				return advisory.Advisory{}, "", nil, err
			}
			a, sentences := e.advisory(platform)
			return a, e.ID, sentences, nil
		})
	case json.Delim('{'):
		found := false
		for d.More() && err == nil {
			key, kerr := d.Token()
			if kerr != nil {
				return nil, nil, kerr
			}
			if key != "data" {
				var other json.RawMessage
				err = d.Decode(&other)
				continue
			}
			found = true
			if t, err = d.Token(); err != nil {
				break
			}
			if t != json.Delim('[') {
				return nil, nil, albs.Errorf(albs.Invalid, "the data of errata.full.json are no list")
			}
			err = each(func() (advisory.Advisory, string, []string, error) {
				var e fullEntry
				if err := d.Decode(&e); err != nil {
					return advisory.Advisory{}, "", nil, err
				}
				a, sentences := e.advisory(platform)
				return a, e.ID, sentences, nil
			})
		}
		if err == nil {
			if !found {
				return nil, nil, albs.Errorf(albs.Invalid, "the file has no data")
			}
			_, err = d.Token()
		}
	default:
		return nil, nil, albs.Errorf(albs.Invalid, "the file is neither a list nor an object")
	}
	if err != nil {
		return nil, nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, nil, albs.Errorf(albs.Invalid, "something follows the advisories")
	}
	return out, dropped, nil
}

// reading is an advisory that is being read.
type reading struct {
	advisory.Advisory
	dropped []string
}

func (r *reading) note(s string) {
	if s != "" {
		r.dropped = append(r.dropped, s)
	}
}

// texts takes up what both forms have.
func (r *reading) texts(id, platform, severity, title, typ, description string, issued, updated time.Time) {
	// What stands behind # is the stream of which an entry tells.
	r.ID, _, _ = strings.Cut(strings.TrimSpace(id), "#")
	r.Platform, r.Description, r.Issued, r.Updated = platform, advisory.CleanText(description), issued, updated
	var err error
	if r.Severity, err = advisory.ParseSeverity(severity); err != nil {
		r.note(err.Error())
	}
	r.SetTitle(title)
	var ok bool
	if r.Type, ok = advisory.ParseType(typ); !ok {
		r.note(fmt.Sprintf("the type %.40q isn't known; it is taken for a bug fix", typ))
	}
}

func (r *reading) reference(href, typ, id, title string) {
	kind := advisory.ToOther
	switch k := advisory.ReferenceKind(strings.ToLower(typ)); k {
	case advisory.ToSelf, advisory.ToCVE, advisory.ToBugzilla, advisory.ToAdvisory:
		kind = k
	}
	r.note(r.AddReference(advisory.Reference{Kind: kind, ID: id, URL: href, Title: title}))
}

// add takes up a package; sum is "" unless it is a sha256.
func (r *reading) add(n rpm.NEVRA, epoch, src, sum string, reboot bool, m *advisory.Module) {
	p := advisory.Package{NEVRA: n, Source: advisory.SourceFile(src), Module: m, Reboot: reboot}
	if epoch != "" && epoch != "0" {
		e, err := strconv.ParseInt(epoch, 10, 32)
		if err != nil {
			e = -1 // which no package has: it is refused with its name
		}
		p.Epoch = int(e)
	}
	if d := albs.Digest(strings.ToLower(sum)); d.Valid() {
		p.Digest = d
	} else if sum != "" {
		r.note(fmt.Sprintf("the sum of %.200s is no sha256", n.Name))
	}
	r.note(r.AddPackage(p))
}

func (r *reading) settled() (advisory.Advisory, []string) {
	if err := r.Settle(); err != nil {
		return advisory.Advisory{}, append(r.dropped, "it can't be taken over: "+err.Error())
	}
	return r.Advisory, r.dropped
}

func (e entry) advisory(platform string) (advisory.Advisory, []string) {
	var r reading
	r.texts(e.ID, platform, e.Severity, e.Title, e.Type, e.Description, moment(e.Issued.Milliseconds), moment(e.Updated.Milliseconds))
	r.From, r.Rights = advisory.CleanLine(e.From), advisory.CleanLine(e.Rights)
	r.Summary, r.Solution = advisory.CleanText(e.Summary), advisory.CleanText(e.Solution)
	var err error
	if r.Version, err = strconv.Atoi(string(e.Version)); err != nil && e.Version != "" {
		r.note(fmt.Sprintf("the version %.40q is no number", e.Version))
	}
	for _, f := range e.References {
		r.reference(f.Href, f.Type, f.ID, f.Title)
	}
	var m *advisory.Module
	if n := e.Pkglist.Module; n != nil && n.Name != "" {
		m = &advisory.Module{Name: n.Name, Stream: n.Stream, Context: n.Context, Arch: n.Arch}
		if m.Version, err = strconv.ParseUint(string(n.Version), 10, 64); err != nil && n.Version != "" {
			m.Version = 0 // and not the highest there is
			r.note(fmt.Sprintf("the version %.40q of the module %.80q is no number; it counts as unknown", string(n.Version), n.Name+":"+n.Stream))
		}
	}
	for _, p := range e.Pkglist.Packages {
		sum := p.Sum
		if t := fmt.Sprint(p.SumType); sum != "" && t != "sha256" && t != strconv.Itoa(sha256Number) {
			r.note(fmt.Sprintf("the sum of %.200s is of the type %.20s", p.Name, t))
			sum = ""
		}
		r.add(rpm.NEVRA{Name: p.Name, Version: string(p.Version), Release: string(p.Release), Arch: p.Arch}, string(p.Epoch), p.Src, sum, p.Reboot != 0, m)
	}
	return r.settled()
}

func (e fullEntry) advisory(platform string) (advisory.Advisory, []string) {
	var r reading
	r.texts(e.ID, platform, e.Severity, e.Title, e.Type, e.Description, moment(int64(e.Issued)), moment(int64(e.Updated)))
	for _, f := range e.References {
		r.reference(f.Href, f.Type, f.ID, "")
	}
	for _, p := range e.Packages {
		var m *advisory.Module
		if n, ok := advisory.ParseModule(p.Module); ok {
			m = &n
		} else if p.Module != "" {
			r.note(fmt.Sprintf("%.80q is no module", p.Module))
		}
		sum := p.Checksum
		if sum != "" && p.ChecksumType != "sha256" {
			r.note(fmt.Sprintf("the sum of %.200s is of the type %.20s", p.Name, p.ChecksumType))
			sum = ""
		}
		r.add(rpm.NEVRA{Name: p.Name, Version: string(p.Version), Release: string(p.Release), Arch: p.Arch}, string(p.Epoch), p.Src, sum, p.Reboot != 0, m)
	}
	return r.settled()
}

// moment reads seconds or milliseconds since 1970: errata.full.json has seconds, what
// AlmaLinux says of it milliseconds. It is zero for what is no time.
func moment(n int64) time.Time {
	t, err := advisory.ParseTime(strconv.FormatInt(n, 10))
	if err != nil {
		return time.Time{}
	}
	return t
}

// word is a text; read, it may be a number too, or null.
type word string

// UnmarshalJSON implements json.Unmarshaler.
func (w *word) UnmarshalJSON(b []byte) error {
	if c := b[0]; c == '-' || c >= '0' && c <= '9' {
		*w = word(b)
		return nil
	}
	return json.Unmarshal(b, (*string)(w))
}

// digits is a number of any length; read, it is whatever stands in its place.
type digits string

// MarshalJSON implements json.Marshaler.
func (d digits) MarshalJSON() ([]byte, error) { return []byte(d), nil }

// UnmarshalJSON implements json.Unmarshaler.
func (d *digits) UnmarshalJSON(b []byte) error { return (*word)(d).UnmarshalJSON(b) }

// seconds is a time; read, it may be milliseconds, or a text.
type seconds int64

// UnmarshalJSON implements json.Unmarshaler.
func (s *seconds) UnmarshalJSON(b []byte) error {
	if t, err := advisory.ParseTime(string(bytes.Trim(b, `"`))); err == nil {
		*s = seconds(t.Unix())
	}
	return nil // without a time the entry is refused, and not the file
}

// UnmarshalJSON implements json.Unmarshaler. Old files have a time as text.
func (d *date) UnmarshalJSON(b []byte) error {
	var o struct {
		Date json.RawMessage `json:"$date"`
	}
	if json.Unmarshal(b, &o) == nil && o.Date != nil {
		b = o.Date
	}
	t, err := advisory.ParseTime(string(bytes.Trim(b, `"`)))
	if err == nil {
		d.Milliseconds = t.UnixMilli()
	}
	return nil // without a time the entry is refused, and not the file
}
