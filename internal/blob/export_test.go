package blob

import (
	"context"
	"time"
)

// Attempts is how often an S3 store makes a request.
const Attempts = attempts

// Patience is what a store of NewImpatientS3 has for one attempt.
const Patience = 5 * time.Second

// NewImpatientS3 is NewS3 of a store that gives up an attempt after seconds, pauses for
// milliseconds, and sends in parts what has more than 5 MiB, the least that S3 takes.
func NewImpatientS3(ctx context.Context, c S3Config, dir string) (*S3, error) {
	l, err := newLink(c)
	if err != nil {
		return nil, err
	}
	l.patience, l.slowest, l.pause, l.partSize = Patience, 1<<20, time.Millisecond, 5<<20
	return open(ctx, l, c, dir)
}

// Sweep ends the uploads in parts that were begun before limit.
func (s *S3) Sweep(ctx context.Context, limit time.Time) error {
	return s.link.sweep(ctx, s.prefix, limit)
}
