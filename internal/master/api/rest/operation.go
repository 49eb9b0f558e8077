package rest

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
)

// What the adapter has to know of an operation, in its Metadata.
const (
	isSlow        = "slow"
	isUnsupported = "unsupported"
)

const (
	patience = time.Minute      // of a request that neither streams nor uploads
	slow     = 10 * time.Minute // of one that asks outside servers, or proves much
	sendTime = time.Minute      // for a JSON answer to be taken
)

func with(op huma.Operation, key string, v any) huma.Operation {
	op.Metadata = maps.Clone(op.Metadata)
	if op.Metadata == nil {
		op.Metadata = make(map[string]any)
	}
	op.Metadata[key] = v
	return op
}

// Slow is op with ten minutes to be done in place of one.
func Slow(op huma.Operation) huma.Operation { return with(op, isSlow, true) }

// Unsupported is op refusing ALBS's parameters of the query that albs cannot serve.
func Unsupported(op huma.Operation, names ...string) huma.Operation {
	return with(op, isUnsupported, names)
}

// refuse names the first parameter of the query that ALBS knows and albs doesn't.
func refuse(r *http.Request, unsupported []string) error {
	if len(unsupported) == 0 || r.URL.RawQuery == "" {
		return nil
	}
	q := r.URL.Query()
	for _, name := range unsupported {
		if q.Get(name) != "" {
			return NotSupported("query." + name)
		}
	}
	return nil
}

// SpecInput is a document as people write it. Its reader refuses unknown keys with
// their line, in YAML and in JSON, which is a part of YAML.
type SpecInput struct {
	RawBody []byte `contentType:"application/yaml"`
}

const yamlType = "application/yaml"

// HandleSpec registers an operation whose body is a T in YAML or JSON.
func HandleSpec[T, O any](s *Server, op huma.Operation, f func(ctx context.Context, in *SpecInput) (*O, error)) {
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: SchemaOf[T](s)}}}
	op.SkipValidateBody = true // the module's parser says more exactly what is wrong
	Handle(s, op, f)
	op.RequestBody.Content[yamlType].Schema = SchemaOf[T](s) // huma takes it for bytes
}

// adapter registers huma's operations as routes of ours.
type adapter struct{ s *Server }

// Handle implements huma.Adapter.
func (a adapter) Handle(op *huma.Operation, handler func(huma.Context)) {
	within := patience
	if op.Metadata[isSlow] == true {
		within = slow
	}
	unsupported, _ := op.Metadata[isUnsupported].([]string)
	a.s.route(op.Method, op.Path, func(w http.ResponseWriter, r *http.Request) {
		if err := refuse(r, unsupported); err != nil {
			a.s.Fail(w, r, err)
			return
		}
		if op.RequestBody != nil {
			if err := readBody(w, r); err != nil {
				a.s.Fail(w, r, err)
				return
			}
		}
		ctx, cancel := context.WithTimeout(r.Context(), within)
		defer cancel()
		answer := &buffered{inner: humachi.NewContext(op, r.WithContext(ctx), w), status: http.StatusOK}
		handler(answer)
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(sendTime)) // not every server has deadlines
		w.WriteHeader(answer.status)
		_, _ = w.Write(answer.body.Bytes()) // the client is gone
	})
}

// ServeHTTP implements huma.Adapter.
func (a adapter) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.s.ServeHTTP(w, r) }

// inner has no field name Context, which would hide the method of that name.
type inner = huma.Context

// buffered holds an answer back until it is whole, so that one that cannot be
// encoded is still an error, and a client that went away is no panic.
type buffered struct {
	inner
	status int
	body   bytes.Buffer
}

// SetStatus implements huma.Context.
func (b *buffered) SetStatus(code int) { b.status = code }

// Status implements huma.Context.
func (b *buffered) Status() int { return b.status }

// BodyWriter implements huma.Context.
func (b *buffered) BodyWriter() io.Writer { return &b.body }

// SetReadDeadline implements huma.Context. The body is in memory already; huma's
// deadline would end the request's context while its handler works.
func (b *buffered) SetReadDeadline(time.Time) error { return nil }
