package telemetry

import (
	"errors"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// Requests returns a middleware that logs each request when it has ended and
// counts it in reg by method and status. It logs method, path, status, bytes,
// time and the peer's address, never a query, a header or a body, for tokens
// travel in those. The handler finds its logger by zerolog.Ctx.
//
// A panic of the handler is logged with its stack and answered with 500 if
// nothing was sent yet, else the connection is cut. Calling Requests twice with
// one registry panics, as registering does.
func Requests(log zerolog.Logger, reg prometheus.Registerer) func(http.Handler) http.Handler {
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "albs_http_request_seconds",
		Help:    "Time from the request's headers to the end of the answer.",
		Buckets: []float64{.001, .005, .02, .1, .5, 2, 10, 60},
	}, []string{"method", "status"})
	reg.MustRegister(seconds)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			l := log.With().Str("method", r.Method).Str("path", r.URL.Path).Logger()
			rec := &recorder{ResponseWriter: w}
			start := time.Now()
			defer func() {
				p := recover()
				aborted := false
				if err, ok := p.(error); ok {
					aborted = errors.Is(err, http.ErrAbortHandler)
				}
				if p != nil && !aborted {
					l.Error().Interface("panic", p).Bytes("stack", debug.Stack()).Msg("handler panicked")
					if rec.status == 0 {
						http.Error(rec, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
						p = nil
					}
				}
				status := rec.status
				if status == 0 {
					status = http.StatusOK
				}
				took := time.Since(start)
				seconds.WithLabelValues(method(r.Method), strconv.Itoa(status)).Observe(took.Seconds())
				e := l.Debug()
				if status >= 500 {
					e = l.Warn()
				}
				e.Int("status", status).Int64("bytes", rec.bytes).Dur("took", took).Str("peer", r.RemoteAddr).Msg("request")
				if p != nil {
					panic(http.ErrAbortHandler)
				}
			}()
			next.ServeHTTP(rec, r.WithContext(l.WithContext(r.Context())))
		})
	}
}

// method keeps a client from making a time series of every word that it invents.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "other"
}

// recorder remembers what was answered. Unwrap lets http.ResponseController
// reach Flush and the deadlines, which server-sent events need.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= 200 { // 1xx are not the answer
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(p)
	r.bytes += int64(n)
	return n, err
}
