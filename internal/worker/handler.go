package worker

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
)

// transferIdle is how long the handler waits for the next bytes of a transfer.
const transferIdle = 2 * time.Minute

// maxDrain is how much of an upload is still taken after it was refused.
const maxDrain = 4 << 20

type handler struct {
	master Master
	log    zerolog.Logger
}

// NewHandler returns the master's end of the wire; it answers everything under
// /worker/v1/ and expects the whole path. authenticate returns the request's
// context with the worker's identity, or an error (Unauthenticated, Forbidden);
// it is asked before the route and the body are looked at. Bodies are bounded by
// the contract's constants. Internal errors go to log and not over the wire.
func NewHandler(m Master, authenticate func(*http.Request) (context.Context, error), log zerolog.Logger) http.Handler {
	h := &handler{master: m, log: log}
	mux := http.NewServeMux()
	const task = wirePrefix + "task/{task}/{fence}/"
	mux.HandleFunc("POST "+wirePrefix+"claim", h.claim)
	mux.HandleFunc("POST "+task+"renew", h.renew)
	mux.HandleFunc("POST "+task+"complete", h.complete)
	mux.HandleFunc("POST "+task+"log/{stream}", h.appendLog)
	mux.HandleFunc("GET "+task+"blob/{digest}", h.get)
	mux.HandleFunc("GET "+task+"upload/{digest}", h.stat)
	mux.HandleFunc("PUT "+task+"upload/{digest}", h.put)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		h.fail(w, r, albs.Errorf(albs.NotFound, "the worker interface has no %s %s", r.Method, r.URL.Path), nil)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, err := authenticate(r)
		if err != nil {
			h.fail(w, r, err, nil)
			return
		}
		mux.ServeHTTP(w, r.WithContext(ctx))
	})
}

func (h *handler) claim(w http.ResponseWriter, r *http.Request) {
	var offer Offer
	if err := readJSON(w, r, maxOffer, &offer); err != nil {
		h.fail(w, r, err, nil)
		return
	}
	if offer.Wait < 0 || offer.Wait > MaxClaimWait {
		h.fail(w, r, albs.Errorf(albs.Invalid, "an offer may wait 0 to %d seconds, not %d", MaxClaimWait, offer.Wait), nil)
		return
	}
	lease, err := h.master.Claim(r.Context(), offer)
	if err != nil {
		h.fail(w, r, err, nil)
		return
	}
	if lease == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	h.answer(w, r, lease)
}

func (h *handler) renew(w http.ResponseWriter, r *http.Request) {
	t, err := tokenOf(r)
	if err != nil {
		h.fail(w, r, err, nil)
		return
	}
	until, err := h.master.Renew(r.Context(), t)
	if err != nil {
		h.fail(w, r, err, nil)
		return
	}
	h.answer(w, r, renewal{Until: until})
}

func (h *handler) complete(w http.ResponseWriter, r *http.Request) {
	t, err := tokenOf(r)
	if err != nil {
		h.fail(w, r, err, nil)
		return
	}
	var c completion
	if err := readJSON(w, r, MaxResult, &c); err != nil {
		h.fail(w, r, err, nil)
		return
	}
	if !outcomes[c.Outcome] {
		h.fail(w, r, albs.Errorf(albs.Invalid, "%.40q is not an outcome", c.Outcome), nil)
		return
	}
	// A worker that hangs up must not leave the admission half done: it will ask
	// again and wants the answer of one whole attempt.
	if err := h.master.Complete(context.WithoutCancel(r.Context()), t, c.Outcome, c.Result); err != nil {
		h.fail(w, r, err, nil)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (h *handler) appendLog(w http.ResponseWriter, r *http.Request) {
	t, err := tokenOf(r)
	if err != nil {
		h.fail(w, r, err, nil)
		return
	}
	stream := r.PathValue("stream")
	offset, err := numberOf(r, "offset", 0)
	if err == nil {
		err = ValidStream(stream)
	}
	var p []byte
	if err == nil {
		p, err = io.ReadAll(http.MaxBytesReader(w, r.Body, MaxLogChunk))
		err = bodyError(err)
	}
	if err != nil {
		h.fail(w, r, err, nil)
		return
	}
	length, err := h.master.Log(r.Context(), t, stream, offset, p)
	if err != nil {
		h.fail(w, r, err, &length)
		return
	}
	h.answer(w, r, held{Length: length})
}

func (h *handler) get(w http.ResponseWriter, r *http.Request) {
	t, d, err := uploadOf(r)
	var offset, length int64
	if err == nil {
		offset, err = numberOf(r, "offset", 0)
	}
	if err == nil && r.URL.Query().Has("length") {
		length, err = numberOf(r, "length", 0)
	} else {
		length = -1
	}
	if err != nil {
		h.fail(w, r, err, nil)
		return
	}
	body, err := h.master.Get(r.Context(), t, d, offset, length)
	if err != nil {
		h.fail(w, r, err, nil)
		return
	}
	defer body.Close()
	w.Header().Set("Content-Type", bytesType)
	out := &idleWriter{w: w, control: http.NewResponseController(w)}
	if _, err := io.Copy(out, body); err != nil {
		if r.Context().Err() == nil && out.err == nil {
			h.log.Error().Err(err).Stringer("task_id", t.Task).Str("sha256", string(d)).Msg("a blob broke off while it was sent")
		}
		// The status is out; only a broken connection still tells the worker.
		panic(http.ErrAbortHandler)
	}
}

func (h *handler) stat(w http.ResponseWriter, r *http.Request) {
	t, d, err := uploadOf(r)
	if err != nil {
		h.fail(w, r, err, nil)
		return
	}
	length, err := h.master.Stat(r.Context(), t, d)
	if err != nil {
		h.fail(w, r, err, nil)
		return
	}
	h.answer(w, r, held{Length: length})
}

func (h *handler) put(w http.ResponseWriter, r *http.Request) {
	t, d, err := uploadOf(r)
	var offset int64
	if err == nil {
		offset, err = numberOf(r, "offset", 0)
	}
	if err == nil && (offset > MaxUpload || r.ContentLength > MaxUpload-offset) {
		err = albs.Errorf(albs.TooLarge, "an upload may have %d bytes", int64(MaxUpload))
	}
	if err != nil {
		h.fail(w, r, err, nil)
		return
	}
	body := &idleReader{
		r:       http.MaxBytesReader(w, r.Body, MaxUpload-offset),
		control: http.NewResponseController(w),
	}
	length, err := h.master.Put(r.Context(), t, d, offset, body)
	if err != nil {
		body.drain()
		h.fail(w, r, kindOfBody(err), &length)
		return
	}
	h.answer(w, r, held{Length: length})
}

func (h *handler) answer(w http.ResponseWriter, r *http.Request, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		h.fail(w, r, err, nil)
		return
	}
	w.Header().Set("Content-Type", jsonType)
	_, _ = w.Write(b) // the worker is gone; it asks again
}

func (h *handler) fail(w http.ResponseWriter, r *http.Request, err error, length *int64) {
	if albs.KindOf(err) == albs.Internal && r.Context().Err() != nil {
		err = &albs.Error{Kind: albs.Unavailable, Msg: "the master is stopping; ask again", Err: err}
	}
	kind := albs.KindOf(err)
	status, ok := kindStatus[kind]
	if !ok {
		kind, status = albs.Internal, http.StatusInternalServerError
	}
	if kind == albs.Internal {
		h.log.Error().Err(err).Str("method", r.Method).Str("path", r.URL.Path).Msg("a worker's request failed")
	}
	b, err := json.Marshal(problem{Title: http.StatusText(status), Status: status, Detail: albs.UserMessage(err), Kind: kind, Length: length})
	if err != nil {
		h.log.Error().Err(err).Msg("a problem has no JSON form")
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = w.Write(b) // the worker is gone
}

func tokenOf(r *http.Request) (Token, error) {
	task, err1 := strconv.ParseInt(r.PathValue("task"), 10, 64)
	fence, err2 := strconv.ParseInt(r.PathValue("fence"), 10, 64)
	if err1 != nil || err2 != nil || task <= 0 || fence <= 0 {
		return Token{}, albs.Errorf(albs.Invalid, "the path holds no task and fence")
	}
	return Token{Task: albs.TaskID(task), Fence: fence}, nil
}

func uploadOf(r *http.Request) (Token, albs.Digest, error) {
	t, err := tokenOf(r)
	if err != nil {
		return t, "", err
	}
	d, err := albs.ParseDigest(r.PathValue("digest"))
	return t, d, err
}

func numberOf(r *http.Request, name string, least int64) (int64, error) {
	n, err := strconv.ParseInt(r.URL.Query().Get(name), 10, 64)
	if err != nil || n < least {
		return 0, albs.Errorf(albs.Invalid, "%s=%.40q is not a number of bytes", name, r.URL.Query().Get(name))
	}
	return n, nil
}

func readJSON(w http.ResponseWriter, r *http.Request, limit int64, v any) error {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		return bodyError(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return albs.Errorf(albs.Invalid, "the body is not the JSON that belongs here: %w", err)
	}
	return nil
}

// bodyError names a failure to read a body: too long, or cut off by the worker.
func bodyError(err error) error {
	if err == nil {
		return nil
	}
	if err := kindOfBody(err); errors.Is(err, albs.TooLarge) {
		return err
	}
	return albs.Errorf(albs.Unavailable, "the body broke off: %w", err)
}

// idleReader puts a deadline to each read of a body, so that a worker that fell
// silent doesn't hold the call; slow ones may take their time.
type idleReader struct {
	r       io.Reader
	control *http.ResponseController
	begun   bool // the worker was told to send
}

// Read implements io.Reader.
func (b *idleReader) Read(p []byte) (int, error) {
	b.begun = true
	_ = b.control.SetReadDeadline(time.Now().Add(transferIdle)) // not every server has deadlines
	n, err := b.r.Read(p)
	if err != nil {
		// The master may take its time with the whole; a deadline that passes then
		// would end the request's context.
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// drain takes what else a worker sends of a body that was refused in its middle. A
// connection whose body isn't read is reset, and the reset may overtake the answer at a
// worker that is busy sending. The rest of a large body isn't worth that: its worker may
// see the reset, which is trouble with the network to it, and asks again.
func (b *idleReader) drain() {
	if b.begun {
		_, _ = io.CopyN(io.Discard, b, maxDrain)
	}
}

// idleWriter is idleReader's twin for answers.
type idleWriter struct {
	w       io.Writer
	control *http.ResponseController
	err     error
}

// Write implements io.Writer.
func (b *idleWriter) Write(p []byte) (int, error) {
	_ = b.control.SetWriteDeadline(time.Now().Add(transferIdle))
	n, err := b.w.Write(p)
	b.err = err
	return n, err
}
