package repodata

import (
	"errors"
	"io"

	"albs/internal/repodata/intake"
)

// piece is a stretch of a file: data, or n bytes of the old file from off.
type piece struct {
	data   []byte
	off, n int64
}

// splice reads pieces one after the other. Pieces of the old file come in its own
// order, so that it is read once from begin to end, where it checks itself: io.EOF is
// returned only after that.
type splice struct {
	pieces []piece
	old    io.Reader // nil if no piece needs it
	pos    int64     // in old
	left   int64     // of the piece of old that is being read
	data   []byte    // of the piece of data that is being read
}

// Read implements io.Reader.
func (s *splice) Read(p []byte) (int, error) {
	for len(s.data) == 0 && s.left == 0 {
		if len(s.pieces) == 0 {
			if s.old == nil {
				return 0, io.EOF
			}
			if _, err := io.Copy(io.Discard, s.old); err != nil {
				return 0, err
			}
			return 0, io.EOF
		}
		next := s.pieces[0]
		s.pieces = s.pieces[1:]
		if next.data != nil {
			s.data = next.data
			continue
		}
		if _, err := io.CopyN(io.Discard, s.old, next.off-s.pos); err != nil {
			return 0, intake.Short(err)
		}
		s.pos, s.left = next.off, next.n
	}
	if len(s.data) > 0 {
		n := copy(p, s.data)
		s.data = s.data[n:]
		return n, nil
	}
	n, err := s.old.Read(p[:min(int64(len(p)), s.left)])
	s.pos, s.left = s.pos+int64(n), s.left-int64(n)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, intake.Short(err)
}
