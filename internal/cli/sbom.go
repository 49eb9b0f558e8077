package cli

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/cli/terminal"
	"albs/internal/iso"
	"albs/internal/rpm"
	"albs/internal/sbom"
	"albs/internal/sbom/image"
)

// sbomCommand writes bills of materials: of files without a connection, of what a server
// has by asking for the one that it made.
func (a *app) sbomCommand() *urfave.Command {
	return &urfave.Command{
		Name:  "sbom",
		Usage: "write a bill of materials of a package, build, buildroot, release, image or program",
		Description: "Of a file it tells what the file says of itself, without a server, and is the same each time.\n" +
			"What a package requires is not resolved then, and the document says so. Of builds, releases and their packages the\n" +
			"server has made bills that tell it, and has stated the digests of those in " + string(sbom.CycloneDXJSON) + " and " + string(sbom.SPDXJSON) + ".",
		Subcommands: []*urfave.Command{
			{
				Name: "package", Usage: "write one of an RPM package, or download the server's", ArgsUsage: "FILE.rpm|SHA256|NEVRA [--format F] [--output FILE] [--distribution ID:VERSION] [--supplier NAME] [--namespace URL]",
				Description: "What isn't a file here is asked of the server, which knows more.\n" +
					"ID and VERSION are those of the distribution's os-release. Scanners find nothing for a package of which they aren't told.\n" +
					"For example: albs sbom package ./hello-1-1.x86_64.rpm --format cyclonedx-json --distribution almalinux:9.4",
				Flags: append(sbomFlags(),
					&urfave.StringFlag{Name: "distribution", Usage: "the distribution that the package is of, as `ID:VERSION`"}),
				Action: terminal.Action(1, 1, a.sbomOfPackage),
			},
			a.sbomOfServer("build", "download one of a build and all of its packages", "Once all tasks of the build have ended, the server makes it.\n"+
				"For example: albs sbom build 7 --format cyclonedx-json --output build-7.cdx.json"),
			{
				Name: "root", Usage: "download one of the root in which a package was built", ArgsUsage: "SHA256|NEVRA [--format F] [--output FILE]",
				Description: "It lists every package that was installed there when the build began, by its sha256, as the node recorded it.\n" +
					"The packages of one task have one. The server writes it when it is asked for, and doesn't attest it.\n" +
					"For example: albs sbom root hello-1-1.x86_64 --format cyclonedx-json --output root.cdx.json",
				Flags: formatFlags(), Action: terminal.Action(1, 1, a.sbomOfRoot),
			},
			a.sbomOfServer("release", "download one of all that a product shows by a release", "Once the release is public, the server makes it.\n"+
				"For example: albs sbom release 3 --output release-3.spdx.json"),
			{
				Name: "iso", Usage: "write one of an installation image and all packages in it", ArgsUsage: "DIR|FILE.iso [--format F] [--output FILE] [--distribution ID:VERSION] [--supplier NAME] [--namespace URL]",
				Description: "DIR is an image that is mounted or unpacked, with its .treeinfo; of FILE.iso the digest is told too.\n" +
					"Every package is read whole, which takes as long as sha256sum. By which packages of the image\n" +
					"requirements are met is found out.\n" +
					"For example: albs sbom iso ./AlmaLinux-9.4-x86_64-dvd.iso --format cyclonedx-json --output dvd.cdx.json",
				Flags: append(sbomFlags(),
					&urfave.StringFlag{Name: "distribution", Usage: "the distribution that it is of, as `ID:VERSION`, if .treeinfo doesn't have it right"}),
				Action: terminal.Action(1, 1, a.sbomOfImage),
			},
			{
				Name: "program", Usage: "write one of a program in Go, as albs itself", ArgsUsage: "FILE [--format F] [--output FILE] [--supplier NAME] [--namespace URL] [--version V] [--date TIME]",
				Description: "It lists the modules that the program was made from, as the file itself tells.\n" +
					"For example: albs sbom program /usr/bin/albs --output albs.spdx.json",
				Flags: append(sbomFlags(),
					&urfave.StringFlag{Name: "version", Usage: "the program's version is `V`, if it doesn't say so itself"},
					&urfave.TimestampFlag{Name: "date", Layout: time.RFC3339, Usage: "it was made at `TIME`, as 2026-11-22T10:00:00Z, if it names no commit"}),
				Action: terminal.Action(1, 1, func(c *urfave.Context) error { return a.sbomOf(c, ofProgram) }),
			},
		},
	}
}

// formatFlags are those of every command here.
func formatFlags() []urfave.Flag {
	var names []string
	for _, f := range sbom.Formats() {
		names = append(names, string(f))
	}
	return []urfave.Flag{
		&urfave.StringFlag{Name: "format", Usage: "the `FORMAT`: " + strings.Join(names, ", "), Value: string(sbom.SPDXJSON)},
		&urfave.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "the `FILE` to write, - for stdout", Value: "-"},
	}
}

func sbomFlags() []urfave.Flag {
	return append(formatFlags(),
		&urfave.StringFlag{Name: "supplier", Usage: "the `NAME` of who supplies it"},
		&urfave.StringFlag{Name: "namespace", Usage: "the `URL` below which SPDX documents have their names", Value: "https://albs.invalid/spdx"},
	)
}

// maxBill bounds what is taken of a server.
const maxBill = 256 << 20

// sbomOfServer is a command that downloads the bill of something that has a number.
func (a *app) sbomOfServer(of, usage, description string) *urfave.Command {
	return &urfave.Command{
		Name: of, Usage: usage, ArgsUsage: strings.ToUpper(of) + " [--format F] [--output FILE]", Description: description, Flags: formatFlags(),
		Action: terminal.Action(1, 1, func(c *urfave.Context) error {
			if n, err := strconv.ParseInt(c.Args().First(), 10, 64); err != nil || n < 1 {
				return terminal.Misused(c, "%q is no number of a %s", c.Args().First(), of)
			}
			return a.download(c, of)
		}),
	}
}

// download saves the bill that the server has.
func (a *app) download(c *urfave.Context, of string) error {
	format, err := sbom.ParseFormat(c.String("format"))
	if err != nil {
		return terminal.Misused(c, "--format: %v", err)
	}
	cl, err := a.server.Connect()
	if err != nil {
		return err
	}
	_, err = a.server.Download(c, func() ([]byte, error) {
		return cl.SBOM(c.Context, of, c.Args().First(), string(format), format.MediaType(), maxBill)
	})
	return err
}

// sbomOfRoot is of what a package was built with.
func (a *app) sbomOfRoot(c *urfave.Context) error {
	what := c.Args().First()
	if _, err := rpm.ParseNEVRA(strings.TrimSuffix(what, ".rpm")); err != nil && !albs.Digest(what).Valid() {
		return terminal.Misused(c, "%q is neither the sha256 of a package nor its NEVRA", what)
	}
	return a.download(c, "root")
}

// sbomOfPackage is of a file, if there is one of that name, else of what the server has.
func (a *app) sbomOfPackage(c *urfave.Context) error {
	what := c.Args().First()
	if _, err := os.Lstat(what); errors.Is(err, fs.ErrNotExist) {
		_, err := rpm.ParseNEVRA(strings.TrimSuffix(what, ".rpm"))
		if albs.Digest(what).Valid() || err == nil {
			for _, flag := range []string{"distribution", "supplier", "namespace"} {
				if c.IsSet(flag) {
					return terminal.Misused(c, "there is no file %s, and --%s is of a file", what, flag)
				}
			}
			return a.download(c, "package")
		}
	}
	return a.sbomOf(c, ofPackage)
}

// sbomOf writes the bill that of makes of the file that the command names.
func (a *app) sbomOf(c *urfave.Context, of func(*urfave.Context, string, *os.File) (sbom.Bill, error)) error {
	format, err := sbom.ParseFormat(c.String("format"))
	if err != nil {
		return terminal.Misused(c, "--format: %v", err)
	}
	path := c.Args().First()
	f, err := os.Open(path)
	if err != nil {
		return albs.Errorf(albs.Invalid, "read the file: %w", err)
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return albs.Errorf(albs.Invalid, "%s is not a regular file", path)
	}
	bill, err := of(c, path, f)
	if err != nil {
		return err
	}
	out, err := bill.Write(format)
	if err != nil {
		return err
	}
	return a.SaveFile(c.String("output"), bytes.NewReader(out))
}

func ofProgram(c *urfave.Context, path string, f *os.File) (sbom.Bill, error) {
	made := sbom.Made{Version: c.String("version")}
	if t := c.Timestamp("date"); t != nil {
		made.At = *t
	}
	return sbom.OfProgram(path, f, made, sbom.Party{Name: c.String("supplier")}, c.String("namespace"), version)
}

// distribution is the one that --distribution names, zero if it isn't there.
func distribution(c *urfave.Context) (d sbom.Distribution, err error) {
	if s := c.String("distribution"); s != "" {
		var ok bool
		if d.ID, d.Version, ok = strings.Cut(s, ":"); !ok || slices.Contains([]string{d.ID, d.Version}, "") {
			return d, terminal.Misused(c, "--distribution %q: give ID:VERSION, as almalinux:9.4", s)
		}
		d.Name = d.ID
	}
	return d, nil
}

// sbomOfImage writes the bill of an image: of a folder, or of the files in an ISO 9660
// image.
func (a *app) sbomOfImage(c *urfave.Context) error {
	format, err := sbom.ParseFormat(c.String("format"))
	if err != nil {
		return terminal.Misused(c, "--format: %v", err)
	}
	d, err := distribution(c)
	if err != nil {
		return err
	}
	name := c.Args().First()
	info, err := os.Stat(name)
	if err != nil {
		return albs.Errorf(albs.Invalid, "read the image: %w", err)
	}
	var files fs.FS
	var root sbom.Component
	switch {
	case info.IsDir():
		dir, err := os.OpenRoot(name) // a link in it leads nowhere else
		if err != nil {
			return albs.Errorf(albs.Invalid, "read the image: %w", err)
		}
		defer func() { _ = dir.Close() }()
		files = dir.FS()
	case info.Mode().IsRegular():
		f, err := os.Open(name)
		if err != nil {
			return albs.Errorf(albs.Invalid, "read the image: %w", err)
		}
		defer func() { _ = f.Close() }()
		if files, err = iso.Open(f, info.Size()); err != nil {
			return albs.Errorf(albs.Invalid, "%s: %w", name, err)
		}
		sums, err := sumsOf(io.NewSectionReader(f, 0, info.Size()))
		if err != nil {
			return err
		}
		root = sbom.Component{File: filepath.Base(name), SHA256: string(sums.SHA256), SHA512: sums.SHA512}
	default:
		return albs.Errorf(albs.Invalid, "%s is neither a folder nor a regular file", name)
	}
	bill, err := image.Of(c.Context, files, d, root, sbom.Party{Name: c.String("supplier")}, c.String("namespace"), version)
	if err != nil {
		return albs.Errorf(albs.KindOf(err), "%s: %w", name, err)
	}
	out, err := bill.Write(format)
	if err != nil {
		return err
	}
	return a.SaveFile(c.String("output"), bytes.NewReader(out))
}

// sumsOf reads all of r.
func sumsOf(r io.Reader) (sbom.File, error) {
	sum256, sum512 := sha256.New(), sha512.New()
	if _, err := io.Copy(io.MultiWriter(sum256, sum512), r); err != nil {
		return sbom.File{}, albs.Errorf(albs.Invalid, "read the file: %w", err)
	}
	return sbom.File{SHA256: albs.Digest(hex.EncodeToString(sum256.Sum(nil))), SHA512: hex.EncodeToString(sum512.Sum(nil))}, nil
}

func ofPackage(c *urfave.Context, path string, f *os.File) (sbom.Bill, error) {
	d, err := distribution(c)
	if err != nil {
		return sbom.Bill{}, err
	}
	sum256, sum512 := sha256.New(), sha512.New()
	all := io.TeeReader(f, io.MultiWriter(sum256, sum512))
	p, err := rpm.Read(all)
	if err != nil {
		if errors.Is(err, albs.Invalid) {
			return sbom.Bill{}, albs.Errorf(albs.Invalid, "%s is no package: %w", path, err)
		}
		return sbom.Bill{}, err
	}
	if _, err := io.Copy(io.Discard, all); err != nil {
		return sbom.Bill{}, albs.Errorf(albs.Invalid, "read the file: %w", err)
	}
	file := sbom.File{SHA256: albs.Digest(hex.EncodeToString(sum256.Sum(nil))), SHA512: hex.EncodeToString(sum512.Sum(nil))}
	return sbom.Alone(p, file, d, sbom.Party{Name: c.String("supplier")}, c.String("namespace"), version), nil
}
