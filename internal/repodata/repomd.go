package repodata

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"albs/internal/albs"
	"albs/internal/repodata/intake"
)

// MaxRepomdBytes bounds a repomd.xml.
const MaxRepomdBytes = 4 << 20

const maxRepomdData = 256

// Repomd is a repository's repomd.xml: the list of its metadata files.
type Repomd struct {
	// Revision is what the repository calls its version; it need not be a number.
	Revision string
	Data     []RepomdData
}

// RepomdData is one metadata file of a repository.
type RepomdData struct {
	// Type is "primary", "filelists", "other", "updateinfo", "group", "modules" or another.
	Type string
	// Path is the file's path below the repository, clean and safe.
	Path string
	// Digest is the sha256 of the file; it is empty where the repository gives
	// another kind of checksum.
	Digest albs.Digest
	// OpenDigest is the sha256 of the file uncompressed; it may be empty.
	OpenDigest albs.Digest
	// Size and OpenSize are in bytes; 0 is unknown.
	Size, OpenSize int64
	// Timestamp is in Unix seconds.
	Timestamp int64
}

// Find returns the first file of type typ; ok is false if there is none.
func (r *Repomd) Find(typ string) (d RepomdData, ok bool) {
	for _, d := range r.Data {
		if d.Type == typ {
			return d, true
		}
	}
	return RepomdData{}, false
}

// ParseRepomd reads a repomd.xml of at most 4 MiB. It gives an Invalid error for
// what is not one, has a document type declaration, or names a file by an unsafe
// path or without a checksum, and TooLarge beyond its bounds.
func ParseRepomd(r io.Reader) (*Repomd, error) {
	md, err := parseRepomd(intake.Plain(r))
	if err != nil {
		return nil, intake.Refused("repomd.xml", err)
	}
	return md, nil
}

func parseRepomd(r io.Reader) (*Repomd, error) {
	s := intake.NewScanner(r, MaxRepomdBytes, MaxRepomdBytes)
	if err := s.Root("repomd"); err != nil {
		return nil, err
	}
	md := &Repomd{}
	var d RepomdData
	var checked bool
	for {
		ev, err := s.Next()
		if err != nil {
			return nil, err
		}
		switch {
		case ev == intake.End && s.Depth == 0:
			return md, s.Finish()
		case ev == intake.Start && s.Depth == 2 && s.Name == "data":
			d, checked = RepomdData{Type: s.Attr("type")}, false
			if d.Type == "" || len(d.Type) > maxNameBytes {
				return nil, errors.New("a data element has no type")
			}
		case ev == intake.Start && s.Depth == 3 && s.Name == "location":
			d.Path = s.Attr("href")
			if s.Attr("base") != "" {
				return nil, fmt.Errorf("%.40q lies at another address than its repository", d.Type)
			}
			if !safePath(d.Path) {
				return nil, fmt.Errorf("%.80q is not a safe path", d.Path)
			}
		case ev == intake.End && s.Depth == 1 && s.Name == "revision":
			md.Revision = strings.TrimSpace(s.Text())
		case ev == intake.End && s.Depth == 2:
			if err := d.element(s, &checked); err != nil {
				return nil, err
			}
		case ev == intake.End && s.Depth == 1 && s.Name == "data":
			if d.Path == "" || !checked {
				return nil, fmt.Errorf("data %.40q has no location or no checksum", d.Type)
			}
			if len(md.Data) == maxRepomdData {
				return nil, albs.Errorf(albs.TooLarge, "more than %d data elements", maxRepomdData)
			}
			md.Data = append(md.Data, d)
		}
	}
}

// element takes over the text of a child of a data element that has just ended.
func (d *RepomdData) element(s *intake.Scanner, checked *bool) (err error) {
	text := strings.TrimSpace(s.Text())
	switch s.Name {
	case "checksum":
		*checked = true
		d.Digest, err = sha256Of(s.Attr("type"), text)
	case "open-checksum":
		d.OpenDigest, err = sha256Of(s.Attr("type"), text)
	case "size":
		d.Size, err = parseCount(text)
	case "open-size":
		d.OpenSize, err = parseCount(text)
	case "timestamp":
		// Some writers give fractions of a second; none of them matters.
		whole, _, _ := strings.Cut(text, ".")
		d.Timestamp, err = strconv.ParseInt(whole, 10, 64)
	}
	return err
}

// sha256Of returns the checksum as a digest if it is a sha256, else nothing: other
// kinds are allowed in rpm-md but cannot name a thing here.
func sha256Of(kind, sum string) (albs.Digest, error) {
	if kind != "sha256" {
		return "", nil
	}
	return albs.ParseDigest(sum)
}

// parseCount returns s as a number that is not negative.
func parseCount(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err
}

// appendRepomd writes the repomd.xml of a repository, in createrepo_c's order of
// elements.
func appendRepomd(b *bytes.Buffer, revision int64, data []RepomdData) {
	fmt.Fprintf(b, xmlHead+`<repomd xmlns="http://linux.duke.edu/metadata/repo" xmlns:rpm="http://linux.duke.edu/metadata/rpm">
  <revision>%d</revision>
`, revision)
	for _, d := range data {
		fmt.Fprintf(b, "  <data type=%q>\n    <checksum type=\"sha256\">%s</checksum>\n", d.Type, d.Digest)
		if d.OpenDigest != "" {
			fmt.Fprintf(b, "    <open-checksum type=\"sha256\">%s</open-checksum>\n", d.OpenDigest)
		}
		fmt.Fprintf(b, "    <location href=%q/>\n    <timestamp>%d</timestamp>\n    <size>%d</size>\n", d.Path, d.Timestamp, d.Size)
		if d.OpenDigest != "" {
			fmt.Fprintf(b, "    <open-size>%d</open-size>\n", d.OpenSize)
		}
		b.WriteString("  </data>\n")
	}
	b.WriteString("</repomd>\n")
}
