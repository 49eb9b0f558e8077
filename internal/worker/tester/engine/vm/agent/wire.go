package agent

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"albs/internal/albs"
)

// The conversation over the machine's port is one of frames: a byte that says what it is,
// the length of what follows in four bytes, most significant first, and that. The guest
// begins with a Hello, or ends with a Done that says why there can be none. Then the host sends a Request, its input, and the end of that; the
// guest sends output and one Done. The next request comes when both have been said.
const (
	FrameHello   = 'h' // guest: Hello as JSON
	FrameRequest = 'q' // host: Request as JSON
	FrameInput   = 'i' // host: bytes of the request's input
	FrameEnd     = 'e' // host: there is no more input
	FrameOutput  = 'o' // guest: bytes of standard output
	FrameErrors  = 'x' // guest: bytes of standard error
	FrameDone    = 'd' // guest: Done as JSON
)

const (
	header   = 5
	maxFrame = 1 << 20 // bytes: more than the arguments and variables of a program
	chunk    = 32 << 10
)

// Hello is what a guest says when it is ready.
type Hello struct {
	Boot   string `json:"boot"`   // the kernel's own id of this start
	Kernel string `json:"kernel"` // its release
}

// Operations of the agent.
const (
	OpRun     = "run"     // run Argv
	OpImport  = "import"  // write the files of a tar, as of package cargo, that is the input
	OpRead    = "read"    // write the file Path to the output
	OpExamine = "examine" // answer the questions of the input, as of package examine
	OpOff     = "off"     // end what runs, and switch off
)

// Request is what the guest is told to do.
type Request struct {
	Op        string   `json:"op"`
	Argv      []string `json:"argv,omitempty"`
	Env       []string `json:"env,omitempty"`
	Dir       string   `json:"dir,omitempty"`
	UID       int      `json:"uid,omitempty"`
	I686      bool     `json:"i686,omitempty"`      // show the program a machine of 32 bits
	Processes int      `json:"processes,omitempty"` // and threads, at most; 0: as many as it likes
	Memory    int64    `json:"memory,omitempty"`    // bytes, all processes together; 0: what the machine has
	Path      string   `json:"path,omitempty"`
	Limit     int64    `json:"limit,omitempty"` // bytes of Path
}

// Done says what a request came to.
type Done struct {
	Exit  int       `json:"exit,omitempty"`
	Error string    `json:"error,omitempty"`
	Kind  albs.Kind `json:"kind,omitempty"` // of Error, where it isn't the agent's own fault
}

// Frame is one piece of the conversation.
type Frame struct {
	Type byte
	Body []byte
}

// Decode reads the body of a frame that holds JSON.
func (f Frame) Decode(v any) error {
	if err := json.Unmarshal(f.Body, v); err != nil {
		return fmt.Errorf("read a frame of kind %q: %w", f.Type, err)
	}
	return nil
}

// Reader reads frames.
type Reader struct{ r *bufio.Reader }

// NewReader returns a Reader of what the other side writes to r.
func NewReader(r io.Reader) *Reader { return &Reader{bufio.NewReaderSize(r, chunk+header)} }

// Next returns the next frame, whose body is the caller's; io.EOF if the conversation
// ended before it. What is no frame, or longer than any, is Invalid.
func (r *Reader) Next() (Frame, error) {
	var head [header]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = albs.Errorf(albs.Invalid, "the conversation ends within a frame")
		}
		return Frame{}, err
	}
	size := binary.BigEndian.Uint32(head[1:])
	switch head[0] {
	case FrameHello, FrameRequest, FrameInput, FrameEnd, FrameOutput, FrameErrors, FrameDone:
	default:
		return Frame{}, albs.Errorf(albs.Invalid, "there is no kind of frame %q", head[0])
	}
	if size > maxFrame {
		return Frame{}, albs.Errorf(albs.Invalid, "a frame of %d bytes is longer than %d", size, maxFrame)
	}
	f := Frame{Type: head[0], Body: make([]byte, size)}
	if _, err := io.ReadFull(r.r, f.Body); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = albs.Errorf(albs.Invalid, "the conversation ends within a frame")
		}
		return Frame{}, err
	}
	return f, nil
}

// Writer writes frames. Its methods may be called concurrently.
type Writer struct {
	mu sync.Mutex
	w  io.Writer
}

// NewWriter returns a Writer to the other side.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Frame writes one frame. A body that is longer than any is Invalid, and not written.
func (w *Writer) Frame(kind byte, body []byte) error {
	if len(body) > maxFrame {
		return albs.Errorf(albs.Invalid, "%d bytes are more than the %d that can be said at once", len(body), maxFrame)
	}
	b := make([]byte, header, header+len(body))
	b[0] = kind
	binary.BigEndian.PutUint32(b[1:], uint32(len(body)))
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := w.w.Write(append(b, body...))
	return err
}

// JSON writes one frame that holds v as JSON.
func (w *Writer) JSON(kind byte, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write a frame of kind %q: %w", kind, err)
	}
	return w.Frame(kind, b)
}

// Stream returns a writer whose bytes become frames of that kind.
func (w *Writer) Stream(kind byte) io.Writer { return stream{w, kind} }

type stream struct {
	w    *Writer
	kind byte
}

// Write implements io.Writer.
func (s stream) Write(p []byte) (int, error) {
	for n := 0; n < len(p); {
		end := min(n+chunk, len(p))
		if err := s.w.Frame(s.kind, p[n:end]); err != nil {
			return n, err
		}
		n = end
	}
	return len(p), nil
}
