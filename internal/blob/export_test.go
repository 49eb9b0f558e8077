package blob

import (
	"context"
	"time"

	"albs/internal/bucket"
)

// Patience is what a store of NewImpatientS3 has for one attempt.
const Patience = 5 * time.Second

// NewImpatientS3 is NewS3 of a store that gives up an attempt after seconds, pauses for
// milliseconds, and sends in parts what has more than 5 MiB, the least that S3 takes.
func NewImpatientS3(ctx context.Context, c S3Config, dir string) (*S3, error) {
	b, err := bucket.New(c.Config, bucket.Patience{Attempt: Patience, Slowest: 1 << 20, Pause: time.Millisecond, Part: 5 << 20})
	if err != nil {
		return nil, err
	}
	return open(ctx, b, c, dir)
}

// Sweep ends the uploads in parts that were begun before limit.
func (s *S3) Sweep(ctx context.Context, limit time.Time) error {
	return s.bucket.Sweep(ctx, s.prefix, limit)
}
