package cli

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/albs"
	"albs/internal/cli/terminal"
	"albs/internal/rpm"
	"albs/internal/sbom"
)

// sbomCommand writes bills of materials of files; it never opens a connection.
func (a *app) sbomCommand() *urfave.Command {
	return &urfave.Command{
		Name:  "sbom",
		Usage: "write a bill of materials of a file, without a server",
		Description: "It tells what the file says of itself, and is the same each time. Nothing is looked up:\n" +
			"what a package requires is not resolved, and the document says so.",
		Subcommands: []*urfave.Command{
			{
				Name: "package", Usage: "write one of an RPM package", ArgsUsage: "FILE.rpm [--format F] [--output FILE] [--distribution ID:VERSION] [--supplier NAME] [--namespace URL]",
				Description: "ID and VERSION are those of the distribution's os-release. Scanners find nothing for a package of which they aren't told.\n" +
					"For example: albs sbom package hello-1-1.x86_64.rpm --format cyclonedx-json --distribution almalinux:9.4",
				Flags: append(sbomFlags(),
					&urfave.StringFlag{Name: "distribution", Usage: "the distribution that the package is of, as `ID:VERSION`"}),
				Action: terminal.Action(1, 1, func(c *urfave.Context) error { return a.sbomOf(c, ofPackage) }),
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

func sbomFlags() []urfave.Flag {
	var names []string
	for _, f := range sbom.Formats() {
		names = append(names, string(f))
	}
	return []urfave.Flag{
		&urfave.StringFlag{Name: "format", Usage: "the `FORMAT`: " + strings.Join(names, ", "), Value: string(sbom.SPDXJSON)},
		&urfave.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "the `FILE` to write, - for stdout", Value: "-"},
		&urfave.StringFlag{Name: "supplier", Usage: "the `NAME` of who supplies it"},
		&urfave.StringFlag{Name: "namespace", Usage: "the `URL` below which SPDX documents have their names", Value: "https://albs.invalid/spdx"},
	}
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

func ofPackage(c *urfave.Context, path string, f *os.File) (sbom.Bill, error) {
	var d sbom.Distribution
	if s := c.String("distribution"); s != "" {
		var ok bool
		if d.ID, d.Version, ok = strings.Cut(s, ":"); !ok || slices.Contains([]string{d.ID, d.Version}, "") {
			return sbom.Bill{}, terminal.Misused(c, "--distribution %q: give ID:VERSION, as almalinux:9.4", s)
		}
		d.Name = d.ID
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
