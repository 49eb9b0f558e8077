package telemetry

import (
	"encoding/json"
	"errors"
	"net/http"
	"sync"

	"albs/internal/albs"
)

// Health is the state of the program's parts, each by name. It may be used
// concurrently. It serves HTTP itself.
type Health struct {
	mu    sync.Mutex
	parts map[string]error
}

var errStarting = errors.New("starting")

// NewHealth returns a Health in which each of parts is starting, and so not well,
// until it reports.
func NewHealth(parts ...string) *Health {
	h := &Health{parts: make(map[string]error, len(parts))}
	for _, p := range parts {
		h.parts[p] = errStarting
	}
	return h
}

// Report sets the state of part: nil is well, an error says what ails it.
func (h *Health) Report(part string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.parts[part] = err
}

// ServeHTTP answers 200 if every part is well, else 503, with a JSON object of
// each part's state: "ok", "starting" or what an outsider may read of its error.
func (h *Health) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	status := http.StatusOK
	h.mu.Lock()
	parts := make(map[string]string, len(h.parts))
	for p, err := range h.parts {
		switch {
		case err == nil:
			parts[p] = "ok"
			continue
		case errors.Is(err, errStarting):
			parts[p] = errStarting.Error()
		default:
			parts[p] = albs.UserMessage(err)
		}
		status = http.StatusServiceUnavailable
	}
	h.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"ok": status == http.StatusOK, "parts": parts}) // the client went away: nobody to tell
}
