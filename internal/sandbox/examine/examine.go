// Package examine looks at files of a root from inside its namespaces: what lies at a
// path, whose it is, what is in it, and what an ELF object says of itself.
//
// It owns the questions, the answers and their bounds; it knows nothing of packages, and
// judges nothing. Whatever lies in a root is taken for hostile. Invariants: no path leads
// out of the root, whichever links it passes (the kernel resolves it there, openat2(2)
// with RESOLVE_IN_ROOT); only regular files are opened, and without waiting; of a file no
// more is read than its question asks for.
package examine

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"albs/internal/albs"
)

// Bounds of one examination: a package has a million files at most, as rpm reads it.
const (
	MaxAsks   = 1 << 20
	maxPath   = unix.PathMax - 1
	maxLine   = 1 << 20   // bytes of one answer as JSON: names of an ELF object, mostly
	MaxAnswer = 256 << 20 // bytes of all of them
)

// Ask is one question: what lies at Path.
type Ask struct {
	Path string `json:"path"` // absolute, inside
	// Digest asks for the sha256 of a regular file of exactly Size bytes; one of another
	// size isn't read, for it can't be the one that is looked for.
	Digest bool  `json:"digest,omitempty"`
	Size   int64 `json:"size,omitempty"`
	// ELF asks for what an ELF object says of itself.
	ELF bool `json:"elf,omitempty"`
}

// Kind is what lies at a path.
type Kind string

// Kinds of what can lie at a path.
const (
	Absent  Kind = ""
	File    Kind = "file"
	Dir     Kind = "dir"
	Link    Kind = "link"
	FIFO    Kind = "fifo"
	Socket  Kind = "socket"
	Char    Kind = "char"
	Block   Kind = "block"
	Unknown Kind = "unknown"
)

// KindOf returns the kind that the mode of stat(2) names.
func KindOf(mode uint32) Kind {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return File
	case unix.S_IFDIR:
		return Dir
	case unix.S_IFLNK:
		return Link
	case unix.S_IFIFO:
		return FIFO
	case unix.S_IFSOCK:
		return Socket
	case unix.S_IFCHR:
		return Char
	case unix.S_IFBLK:
		return Block
	}
	return Unknown
}

// Entry is the answer: what lies at Path itself, links on the way followed and one at its
// end not.
type Entry struct {
	Path string `json:"path"`
	Kind Kind   `json:"kind,omitempty"`
	Mode uint32 `json:"mode,omitempty"` // permissions with setuid, setgid and sticky, as Unix has them
	UID  int    `json:"uid,omitempty"`  // as the root numbers users
	GID  int    `json:"gid,omitempty"`
	Size int64  `json:"size,omitempty"`
	// Link is the target of a link as it stands there, and Leads what lies where it leads
	// to in the end: Absent if it dangles or goes in circles.
	Link   string      `json:"link,omitempty"`
	Leads  Kind        `json:"leads,omitempty"`
	Digest albs.Digest `json:"digest,omitempty"`
	// ELF is nil where there is no ELF object. What Path's links lead to is what counts.
	ELF *ELF `json:"elf,omitempty"`
}

// Check refuses, as Invalid, what can't be asked.
func Check(asks []Ask) error {
	if len(asks) > MaxAsks {
		return albs.Errorf(albs.Invalid, "%d paths are more than %d to be looked at", len(asks), MaxAsks)
	}
	for _, a := range asks {
		if !path.IsAbs(a.Path) || len(a.Path) > maxPath || strings.ContainsRune(a.Path, 0) || !utf8.ValidString(a.Path) || a.Size < 0 {
			return albs.Errorf(albs.Invalid, "%.200q is not an absolute path to be looked at", a.Path)
		}
	}
	return nil
}

// Encode returns the questions as Serve reads them.
func Encode(asks []Ask) ([]byte, error) {
	if err := Check(asks); err != nil {
		return nil, err
	}
	return json.Marshal(asks)
}

// Decode reads the answers to asks, which are as many.
func Decode(r io.Reader, asks []Ask) ([]Entry, error) {
	entries := make([]Entry, 0, len(asks))
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var e Entry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("read what was found: %w", err)
		}
		if len(entries) == len(asks) || e.Path != asks[len(entries)].Path {
			return nil, fmt.Errorf("read what was found: nobody asked for %.200q", e.Path)
		}
		entries = append(entries, e)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read what was found: %w", err)
	}
	if len(entries) != len(asks) {
		return nil, fmt.Errorf("read what was found: %d answers to %d questions", len(entries), len(asks))
	}
	return entries, nil
}

// Serve answers the questions that r holds, about the root whose folder is open as root,
// and writes the answers to w, one a line.
func Serve(root *os.File, r io.Reader, w io.Writer) error {
	var asks []Ask
	if err := json.NewDecoder(r).Decode(&asks); err != nil {
		return fmt.Errorf("read the questions: %w", err)
	}
	if err := Check(asks); err != nil {
		return err
	}
	out := bufio.NewWriter(w)
	enc := json.NewEncoder(out)
	for _, a := range asks {
		e, err := look(root, a)
		if err != nil {
			return fmt.Errorf("look at %s: %w", a.Path, err)
		}
		if err := enc.Encode(e); err != nil {
			return err
		}
	}
	return out.Flush()
}

// look answers one question.
func look(root *os.File, a Ask) (Entry, error) {
	e := Entry{Path: a.Path}
	at, st, err := open(root, a.Path, unix.O_PATH|unix.O_NOFOLLOW)
	if at == nil {
		return e, err
	}
	defer at.Close()
	e.Kind, e.Mode = KindOf(st.Mode), st.Mode&0o7777
	e.UID, e.GID, e.Size = int(st.Uid), int(st.Gid), st.Size
	leads := e.Kind
	if e.Kind == Link {
		b := make([]byte, maxPath+1)
		n, err := unix.Readlinkat(int(at.Fd()), "", b)
		if err != nil {
			return e, err
		}
		e.Link = string(b[:n])
		end, endStat, err := open(root, a.Path, unix.O_PATH)
		if err != nil {
			return e, err
		}
		if end != nil {
			e.Leads = KindOf(endStat.Mode)
			end.Close()
		}
		leads = e.Leads
	}
	digest := a.Digest && e.Kind == File && st.Size == a.Size
	if leads != File || !digest && !a.ELF {
		return e, nil
	}
	// Nothing runs in the root meanwhile: what was a regular file still is.
	f, fst, err := open(root, a.Path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil || f == nil {
		return e, err
	}
	defer f.Close()
	if KindOf(fst.Mode) != File {
		return e, errors.New("it became another kind of file while it was looked at")
	}
	if a.ELF {
		if e.ELF, err = ReadELF(f, fst.Size); err != nil {
			return e, err
		}
	}
	if digest {
		if e.Digest, _, err = albs.DigestReader(io.NewSectionReader(f, 0, a.Size)); err != nil {
			return e, err
		}
	}
	return e, nil
}

// open opens what lies at p in root. Where nothing does, or no path leads there, the file
// is nil.
func open(root *os.File, p string, flags uint64) (*os.File, *unix.Stat_t, error) {
	how := &unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	var fd int
	for {
		var err error
		// EAGAIN: something else of the host was renamed meanwhile.
		if fd, err = unix.Openat2(int(root.Fd()), p, how); err == nil {
			break
		} else if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENAMETOOLONG) {
				err = nil
			}
			return nil, nil, err
		}
	}
	f := os.NewFile(uintptr(fd), p)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, &st, nil
}
