package repodata

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"albs/internal/albs"
)

// Listed calls yield for each package of one of the entry lists that Parts names, as the
// snapshot's primary lists it, and ends with the first error of yield, which it returns as
// it is. NotFound if the snapshot has no such list.
//
// It reads what render writes and nothing else, ten times as fast as ReadPrimary does.
func (s *Snapshot) Listed(ctx context.Context, blobs Blobs, part albs.Digest, yield func(Listed) error) error {
	i := slices.IndexFunc(s.root.Buckets, func(b bucketRef) bool { return b.Entries == part })
	if i < 0 {
		return albs.Errorf(albs.NotFound, "the snapshot has no entry list %s", part.Short())
	}
	ref := s.root.Buckets[i]
	entries, err := ref.load(ctx, blobs)
	if err != nil {
		return err
	}
	raw, err := (&extension{blobs: blobs, from: s}).raw(ctx, ref, nil)
	if err != nil {
		return err
	}
	for _, e := range entries { // load has checked that the lengths add up
		l := Listed{NEVRA: e.NEVRA, Path: e.Path, Digest: e.Digest, Size: e.Size}
		if err := l.scan(raw[:e.XML[primary]]); err != nil {
			return albs.Errorf(albs.Invalid, "the XML of %s: %w", e.Path, err)
		}
		raw = raw[e.XML[primary]:]
		if err := yield(l); err != nil {
			return err
		}
	}
	return nil
}

// scan takes the dependencies and files out of a package's XML in the form of
// renderPrimary. No text can be taken for an element there, for "<" is escaped in texts.
func (l *Listed) scan(b []byte) error {
	var list *[]Capability
	for len(b) > 0 {
		line, rest, _ := bytes.Cut(b, []byte("\n"))
		line = bytes.TrimLeft(line, " ")
		switch {
		case bytes.HasPrefix(line, []byte("<rpm:entry ")):
			if list == nil {
				break // of conflicts, obsoletes and what may be missing
			}
			c, err := scanCapability(line)
			if err != nil {
				return err
			}
			*list = append(*list, c)
		case bytes.Equal(line, []byte("<rpm:provides>")):
			list = &l.Provides
		case bytes.Equal(line, []byte("<rpm:requires>")):
			list = &l.Requires
		case bytes.HasPrefix(line, []byte("</rpm:")):
			list = nil
		case bytes.HasPrefix(line, []byte("<rpm:sourcerpm>")):
			l.SourceRPM = unescape(bytes.TrimSuffix(line[len("<rpm:sourcerpm>"):], []byte("</rpm:sourcerpm>")))
		case bytes.HasPrefix(line, []byte("<file")):
			// A path may have line breaks.
			from := bytes.IndexByte(line, '>') + 1
			start := len(b) - len(rest) - len(line) - 1 + from
			if len(rest) == 0 || from == 0 {
				return fmt.Errorf("a file isn't closed")
			}
			path, after, ok := bytes.Cut(b[start:], []byte("</file>"))
			if !ok {
				return fmt.Errorf("a file isn't closed")
			}
			l.Files = append(l.Files, unescape(path))
			_, rest, _ = bytes.Cut(after, []byte("\n"))
		}
		b = rest
	}
	return nil
}

// scanCapability reads an rpm:entry element.
func scanCapability(line []byte) (Capability, error) {
	var c Capability
	rest := line[len("<rpm:entry "):]
	for !bytes.Equal(rest, []byte("/>")) {
		name, after, ok := bytes.Cut(rest, []byte(`="`))
		value, next, closed := bytes.Cut(after, []byte(`"`))
		if !ok || !closed {
			return c, fmt.Errorf("%.80q is no entry", line)
		}
		switch string(name) {
		case "name":
			c.Name = unescape(value)
		case "flags":
			c.Flags = string(value)
		case "epoch":
			c.Epoch = string(value)
		case "ver":
			c.Version = unescape(value)
		case "rel":
			c.Release = unescape(value)
		}
		rest = bytes.TrimPrefix(next, []byte(" "))
	}
	return c, nil
}

// unescaped undoes element.escape.
var unescaped = strings.NewReplacer("&amp;", "&", "&lt;", "<", "&gt;", ">", "&#13;", "\r", "&quot;", `"`, "&#10;", "\n", "&#9;", "\t")

func unescape(b []byte) string {
	if bytes.IndexByte(b, '&') < 0 {
		return string(b)
	}
	return unescaped.Replace(string(b))
}
