// Package record checks the files of metadata that people give for a repository, and
// brings them into the forms in which repositories have them: comps, modules, advisories
// and the certificate of a product.
//
// What it lets through is well-formed, is what its type says, and is bounded as read by
// whoever reads the repository: XML without declarations, YAML without aliases, nothing
// that grows without end when it is decompressed. Equal content gives equal files. It
// judges no content: whether the packages of a group are there is not asked.
package record

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"slices"

	"albs/internal/albs"
	"albs/internal/repodata"
	"albs/internal/repodata/intake"
)

// MaxBytes bounds a file as it is given and uncompressed.
const MaxBytes = 64 << 20

// File is one file of a repository with its bytes.
type File struct {
	repodata.Record
	Bytes []byte
}

// kind is what is known of a type of record.
type kind struct {
	check func([]byte) error
	// plain and packed are the names of its file uncompressed and compressed by gzip;
	// "" where repositories don't have it so. packedType is the type of the latter.
	plain, packed, packedType string
}

// kinds are the types that people give. Comps are there in both forms, for which readers
// look under two types; the files and their names are createrepo_c's.
var kinds = map[string]kind{
	"group":      {checkComps, "comps.xml", "comps.xml.gz", "group_gz"},
	"modules":    {checkModules, "", "modules.yaml.gz", "modules"},
	"updateinfo": {checkAdvisories, "", "updateinfo.xml.gz", "updateinfo"},
	"productid":  {checkCertificate, "productid", "", ""},
}

// Types are the types of record that people give.
func Types() []string { return []string{"group", "modules", "updateinfo", "productid"} }

// Make reads the file that is to be the record typ, plain or compressed by gzip, zstd or
// xz, and returns what a repository has of it. It gives Invalid for another type than
// those of Types and for a file that isn't of the type, and TooLarge beyond MaxBytes.
func Make(typ string, r io.Reader) ([]File, error) {
	k, ok := kinds[typ]
	if !ok {
		return nil, albs.Errorf(albs.Invalid, "%.40q is not a type of record that can be given; these are: %v", typ, Types())
	}
	b, err := plain(r)
	if err == nil {
		err = k.check(b)
	}
	if err != nil {
		return nil, intake.Refused("the record "+typ, err)
	}
	var out []File
	if k.plain != "" {
		out = append(out, File{repodata.Record{Type: typ, Name: k.plain, Digest: albs.DigestOf(b), Size: int64(len(b))}, b})
	}
	if k.packed != "" {
		z := repodata.Member(b)
		out = append(out, File{repodata.Record{
			Type: k.packedType, Name: k.packed, Digest: albs.DigestOf(z), Size: int64(len(z)), OpenDigest: albs.DigestOf(b), OpenSize: int64(len(b)),
		}, z})
	}
	return out, nil
}

// plain returns the bytes of a file uncompressed.
func plain(r io.Reader) ([]byte, error) {
	p, done, err := intake.Decompress(r)
	if err != nil {
		return nil, err
	}
	defer done()
	b, err := io.ReadAll(io.LimitReader(p, MaxBytes+1))
	switch {
	case err != nil:
		return nil, err
	case len(b) > MaxBytes:
		return nil, albs.Errorf(albs.TooLarge, "more than %d bytes uncompressed", MaxBytes)
	case len(b) == 0:
		return nil, errors.New("the file is empty")
	}
	return b, nil
}

func checkComps(b []byte) error {
	return checkXML(b, "comps", []string{"group", "category", "environment"}, []string{"langpacks", "blacklist", "whiteout"})
}

func checkAdvisories(b []byte) error { return checkXML(b, "updates", []string{"update"}, nil) }

// checkXML wants a document of that root element whose children are of named, each with
// an id of its own among those of its name, or of other.
func checkXML(b []byte, root string, named, other []string) error {
	s := intake.NewScanner(bytes.NewReader(b), MaxBytes, MaxBytes)
	if err := s.Root(root); err != nil {
		return err
	}
	type key struct{ name, id string }
	seen := map[key]bool{}
	var k key
	for {
		ev, err := s.Next()
		if err != nil {
			return err
		}
		switch {
		case ev == intake.End && s.Depth == 0:
			return s.Finish()
		case ev == intake.Start && s.Depth == 2:
			if k = (key{name: s.Name}); !slices.Contains(named, s.Name) && !slices.Contains(other, s.Name) {
				return fmt.Errorf("%.40q doesn't belong into %s", s.Name, root)
			}
		case ev == intake.End && s.Depth == 2 && s.Name == "id":
			k.id = string(bytes.TrimSpace([]byte(s.Text())))
		case ev == intake.End && s.Depth == 1 && slices.Contains(named, k.name):
			if k.id == "" {
				return fmt.Errorf("a %s has no id", k.name)
			}
			if seen[k] {
				return fmt.Errorf("the %s %.80q is there twice", k.name, k.id)
			}
			seen[k] = true
		}
	}
}

// checkCertificate wants one certificate in PEM.
func checkCertificate(b []byte) error {
	block, rest := pem.Decode(b)
	if block == nil || block.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) > 0 {
		return errors.New("it is not one certificate in PEM")
	}
	if _, err := x509.ParseCertificate(block.Bytes); err != nil {
		return fmt.Errorf("it is not a certificate: %w", err)
	}
	return nil
}
