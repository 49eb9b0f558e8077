// Package emulator finds what runs programs of another arch on this host: qemu in user
// mode, as the kernel has it registered (binfmt_misc).
//
// It registers nothing, for that takes real root. A registration counts only if the
// kernel itself holds the emulator open (flag F): inside a root there is none to be
// found by its path.
package emulator

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
)

// Emulator is what runs the programs of Arch. It goes into buildroot records.
type Emulator struct {
	Arch    albs.Arch `json:"arch"`
	Name    string    `json:"name"`    // of the program, as it calls itself: qemu-aarch64
	Version string    `json:"version"` // in its own words
}

// String returns the emulator in a few words.
func (e Emulator) String() string { return fmt.Sprintf("%s by %s %s", e.Arch, e.Name, e.Version) }

// registered is where the kernel shows its registrations.
const registered = "/proc/sys/fs/binfmt_misc"

// Find returns the emulator of arch that is in force. Where programs of arch can't be run
// in a root it is an Unavailable error that says why and what to do; an arch that is
// never emulated is Invalid.
func Find(ctx context.Context, arch albs.Arch) (Emulator, error) {
	return find(ctx, registered, arch)
}

// machines are the arches that can be emulated, as their programs call themselves.
var machines = map[albs.Arch]struct {
	machine elf.Machine
	order   binary.ByteOrder
}{
	albs.X8664:   {elf.EM_X86_64, binary.LittleEndian},
	albs.AArch64: {elf.EM_AARCH64, binary.LittleEndian},
	albs.PPC64LE: {elf.EM_PPC64, binary.LittleEndian},
	albs.S390X:   {elf.EM_S390, binary.BigEndian},
	albs.RISCV64: {elf.EM_RISCV, binary.LittleEndian},
}

// Check refuses, as Invalid, an arch that Find could never find an emulator of.
func Check(arch albs.Arch) error {
	if _, ok := machines[arch]; !ok {
		return albs.Errorf(albs.Invalid, "arch %.40q can't be emulated", arch)
	}
	return nil
}

// InForce returns the emulators of arches that are in force. The log says which they
// are, and of each other arch why it has none.
func InForce(ctx context.Context, arches []albs.Arch, log zerolog.Logger) []Emulator {
	var found []Emulator
	for _, a := range arches {
		e, err := Find(ctx, a)
		if err != nil {
			log.Warn().Err(err).Str("arch", string(a)).Msg("an arch is not offered")
			continue
		}
		log.Info().Stringer("emulator", e).Msg("an arch is emulated")
		found = append(found, e)
	}
	return found
}

func find(ctx context.Context, dir string, arch albs.Arch) (Emulator, error) {
	if err := Check(arch); err != nil {
		return Emulator{}, err
	}
	unavailable := func(format string, args ...any) error {
		return albs.Errorf(albs.Unavailable, "programs of %s can't be run here: %s", arch, fmt.Sprintf(format, args...))
	}
	status, err := readShort(filepath.Join(dir, "status"))
	if errors.Is(err, fs.ErrNotExist) {
		return Emulator{}, unavailable("binfmt_misc is not mounted: mount -t binfmt_misc binfmt_misc %s, which systemd does by itself", registered)
	}
	if err != nil {
		return Emulator{}, unavailable("%v", err)
	}
	if strings.TrimSpace(string(status)) != "enabled" {
		return Emulator{}, unavailable("binfmt_misc is switched off: echo 1 > %s/status", registered)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return Emulator{}, unavailable("%v", err)
	}
	interpreter := ""
	for _, d := range entries {
		if d.Name() == "status" || d.Name() == "register" {
			continue
		}
		text, err := readShort(filepath.Join(dir, d.Name()))
		if err != nil {
			continue // it has just gone
		}
		e := parse(string(text))
		if !e.enabled || !e.matches(header(arch)) {
			continue
		}
		// Which of several the kernel takes isn't to be seen: each must do.
		if !e.fixed {
			return Emulator{}, unavailable("%s is registered without the flag F, so that no root finds it: install qemu-user-static, or register it with the flag", d.Name())
		}
		interpreter = e.interpreter
	}
	if interpreter == "" {
		return Emulator{}, unavailable("nothing is registered for them: install qemu-user-static (on Debian binfmt-support too)")
	}
	name, version, err := ask(ctx, interpreter)
	if err != nil {
		return Emulator{}, unavailable("%s doesn't say its version: %v", interpreter, err)
	}
	return Emulator{Arch: arch, Name: name, Version: version}, nil
}

// readShort reads a file of binfmt_misc, which has a few lines.
func readShort(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, 4096)
	n, err := f.Read(b)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return b[:n], nil
}

// entry is a registration.
type entry struct {
	enabled, fixed bool
	interpreter    string
	offset         int
	magic, mask    []byte
}

// parse reads a registration as the kernel shows it (fs/binfmt_misc.c, entry_status). One
// that goes by the name of a file has no magic and matches nothing.
func parse(text string) entry {
	var e entry
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch key {
		case "enabled":
			e.enabled = true
		case "interpreter":
			e.interpreter = value
		case "flags:":
			e.fixed = strings.Contains(value, "F")
		case "offset":
			e.offset, _ = strconv.Atoi(value)
		case "magic":
			e.magic, _ = hex.DecodeString(value)
		case "mask":
			e.mask, _ = hex.DecodeString(value)
		}
	}
	return e
}

// matches reports whether the kernel would give a file that begins with head to e.
func (e entry) matches(head []byte) bool {
	if len(e.magic) == 0 || e.offset < 0 || e.offset > len(head) || len(e.magic) > len(head)-e.offset {
		return false
	}
	for i, m := range e.magic {
		diff := m ^ head[e.offset+i]
		if i < len(e.mask) {
			diff &= e.mask[i]
		}
		if diff != 0 {
			return false
		}
	}
	return true
}

// header returns how a program of arch begins.
func header(arch albs.Arch) []byte {
	m := machines[arch]
	var h elf.Header64
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.EV_CURRENT)
	h.Ident[elf.EI_DATA] = byte(elf.ELFDATA2LSB)
	if m.order == binary.BigEndian {
		h.Ident[elf.EI_DATA] = byte(elf.ELFDATA2MSB)
	}
	h.Type, h.Machine, h.Version = uint16(elf.ET_DYN), uint16(m.machine), uint32(elf.EV_CURRENT)
	var b bytes.Buffer
	binary.Write(&b, m.order, h) // to memory, of a fixed size
	return b.Bytes()
}

var versionLine = regexp.MustCompile(`^(\S{1,60}) version ([[:print:]]{1,100})`)

// ask runs the emulator at path for its name and version. Debian registers a link, by
// whose name the program knows that it is the kernel that calls; it is asked by its own.
func ask(ctx context.Context, path string) (name, version string, err error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", "", err
	}
	if !filepath.IsAbs(real) {
		return "", "", fmt.Errorf("%s is no absolute path", real)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, real, "--version")
	cmd.Env = []string{"LC_ALL=C"}
	out, err := cmd.Output()
	if err != nil {
		return "", "", err
	}
	m := versionLine.FindSubmatch(out)
	if m == nil {
		return "", "", fmt.Errorf("it says %.100q", out)
	}
	return string(m[1]), strings.TrimSpace(string(m[2])), nil
}
