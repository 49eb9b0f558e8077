// Package telemetry is how the program tells what it does: the logger's set-up,
// the middleware that logs and counts HTTP requests, the Prometheus registry and
// the health state that /healthz answers from.
//
// It knows nothing of builds and decides nothing. Metrics of a module belong to
// the module, which registers them with the registry it is given. No function
// here writes a body, a header or a query to the log.
package telemetry

import (
	"io"
	"os"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"albs/internal/albs"
)

// NewLogger returns a logger that writes to f from level on: for people's eyes if
// f is a terminal, else one JSON object a line. level is trace, debug, info,
// warn or error, and another is Invalid.
func NewLogger(f *os.File, level string) (zerolog.Logger, error) {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return newLogger(f, err == nil, level)
}

func newLogger(w io.Writer, terminal bool, level string) (zerolog.Logger, error) {
	l, err := zerolog.ParseLevel(level)
	if err != nil || l.String() != level || l > zerolog.ErrorLevel {
		return zerolog.Nop(), albs.Errorf(albs.Invalid, "log level %.20q is not one of trace, debug, info, warn, error", level)
	}
	if terminal {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: time.TimeOnly}
	}
	return zerolog.New(w).Level(l).With().Timestamp().Logger(), nil
}
