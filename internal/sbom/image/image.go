package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"strings"

	"albs/internal/albs"
	"albs/internal/rpm"
	"albs/internal/sbom"
)

// maxPackages bounds the files of packages of an image, each of which is read whole, and
// maxFolders the folders of a variant's: an image may have one folder, or one file, in many
// places.
const (
	maxPackages = 50_000
	maxFolders  = 1000
)

// osForm is an ID of os-release.
var osForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// Of returns the bill of the image that has the files of fsys: each variant's packages,
// by their own headers and digests, and by which of them their requirements are met. d is
// the distribution; the zero one is what .treeinfo says. by, base and tool are those of
// the bill. root has what the caller knows of the image's own file.
//
// It reads every package whole. It is Invalid if the files are no image, or a package is
// broken; TooLarge beyond 50,000 packages.
func Of(ctx context.Context, fsys fs.FS, d sbom.Distribution, root sbom.Component, by sbom.Party, base, tool string) (sbom.Bill, error) {
	text, err := read(fsys, ".treeinfo", maxTreeInfo)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return sbom.Bill{}, albs.Errorf(albs.Invalid, "it is no installation image: it has no .treeinfo")
		}
		return sbom.Bill{}, err
	}
	info, err := ParseTreeInfo(text)
	if err != nil {
		return sbom.Bill{}, err
	}
	if d == (sbom.Distribution{}) {
		d = sbom.Distribution{ID: strings.ToLower(strings.ReplaceAll(info.Family, " ", "-")), Name: info.Family, Version: info.Version}
		if !osForm.MatchString(d.ID) {
			return sbom.Bill{}, albs.Errorf(albs.Invalid, "the .treeinfo's name %q makes no id of a distribution: name it", info.Family)
		}
	}
	g := sbom.NewGroup()
	w := walk{fsys: fsys, as: d, into: g, left: maxPackages}
	var all []albs.Digest
	for _, v := range info.Variants {
		found, err := w.packages(ctx, v)
		if err != nil {
			return sbom.Bill{}, fmt.Errorf("variant %s: %w", v.ID, err)
		}
		all = append(all, found...)
	}
	g.Resolve([]sbom.World{{Distribution: d, Members: all}})
	root.Ref, root.Type, root.Name = "image", sbom.System, info.name()
	b := sbom.Bill{Kind: sbom.Image, Root: root, Made: g.Newest(), Supplier: by, Base: base, Tool: tool}
	if info.Built.After(b.Made) {
		b.Made = info.Built
	}
	for _, v := range info.Variants {
		b.Root.Properties = append(b.Root.Properties, sbom.Property{Name: sbom.PropertyVariant, Value: v.ID})
	}
	return g.Whole(b)
}

// read returns a whole file of at most limit bytes.
func read(fsys fs.FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, albs.Errorf(albs.Invalid, "read %s: %w", name, err)
	}
	if int64(len(b)) > limit {
		return nil, albs.Errorf(albs.TooLarge, "%s has more than %d bytes", name, limit)
	}
	return b, nil
}

// walk reads the packages of an image into a group.
type walk struct {
	fsys fs.FS
	as   sbom.Distribution
	into *sbom.Group
	left int // files that may still be read
}

// packages adds the packages of a variant, and returns which they are.
func (w *walk) packages(ctx context.Context, v Variant) (out []albs.Digest, err error) {
	folders := 0
	err = fs.WalkDir(w.fsys, v.Packages, func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			if errors.Is(err, fs.ErrNotExist) {
				return albs.Errorf(albs.Invalid, "there is no folder %s of its packages", v.Packages)
			}
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case e.IsDir():
			if folders++; folders > maxFolders {
				return albs.Errorf(albs.TooLarge, "there are more than %d folders", maxFolders)
			}
			return nil
		case !e.Type().IsRegular() || path.Ext(name) != ".rpm":
			return nil
		case w.left == 0:
			return albs.Errorf(albs.TooLarge, "there are more than %d packages", maxPackages)
		}
		w.left--
		sum, err := w.one(name)
		if err != nil {
			return fmt.Errorf("package %.200q: %w", name, err)
		}
		out = append(out, sum)
		return nil
	})
	return out, err
}

// one adds a package.
func (w *walk) one(name string) (albs.Digest, error) {
	f, err := w.fsys.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	all := io.TeeReader(f, h)
	p, err := rpm.Read(all)
	if err != nil {
		return "", err
	}
	if _, err := io.Copy(io.Discard, all); err != nil {
		return "", err
	}
	sum := albs.Digest(hex.EncodeToString(h.Sum(nil)))
	m := w.into.Add(p, sbom.File{SHA256: sum}, w.as)
	m.File = path.Base(name)
	return sum, nil
}
