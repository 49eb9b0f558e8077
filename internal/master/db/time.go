package db

import (
	"database/sql/driver"
	"fmt"
	"time"
)

// layout has fixed width, so that text order is time order in SQLite.
const layout = "2006-01-02T15:04:05.000000Z"

// Time is a time as the database keeps it: UTC, microseconds; TEXT of fixed width
// in SQLite, TIMESTAMPTZ in PostgreSQL. The zero Time is NULL.
type Time struct{ time.Time }

// Now returns the present time at the database's precision.
func Now() Time { return At(time.Now()) }

// At returns t at the database's precision.
func At(t time.Time) Time { return Time{t.UTC().Truncate(time.Microsecond)} }

// MaxAhead is by how much a time that was kept may lie ahead of this process's clock:
// those of several masters differ. What lies further was noted before the clock was put
// back.
const MaxAhead = time.Minute

// Ahead reports whether t lies further ahead of now than MaxAhead, so that it says
// nothing of when it was.
func (t Time) Ahead(now Time) bool { return t.After(now.Add(MaxAhead)) }

// Value stores the time, NULL for the zero Time.
func (t Time) Value() (driver.Value, error) {
	if t.IsZero() {
		return nil, nil
	}
	return t.UTC().Format(layout), nil
}

// Scan reads what Value wrote, on either database.
func (t *Time) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		t.Time = time.Time{}
	case time.Time:
		t.Time = v.UTC()
	case string:
		p, err := time.Parse(layout, v)
		if err != nil {
			return fmt.Errorf("scan time: %w", err)
		}
		t.Time = p
	default:
		return fmt.Errorf("scan time: %T", src)
	}
	return nil
}
