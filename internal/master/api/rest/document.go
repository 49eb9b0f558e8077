package rest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// DocumentPath is where the OpenAPI document is.
const DocumentPath = "/api/v1/openapi.json"

// documentConfig sets up huma: JSON only, no pages of its own, problems of ours.
func documentConfig(version string) huma.Config {
	if version == "" {
		version = "0"
	}
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "albs", Version: version,
				Description: "Builds, tests, signs and releases RPM packages. Paths, fields and numeric statuses are those of ALBS where ALBS has the resource.",
			},
			Components: &huma.Components{
				Schemas:         huma.NewMapRegistry("#/components/schemas/", schemaName),
				SecuritySchemes: map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer", Description: "A person's or a worker's token"}},
			},
		},
		Formats:                      map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{faults},
	}
}

// Operation begins the description of an operation.
func Operation(method, path, summary string) huma.Operation {
	return huma.Operation{Method: method, Path: path, Summary: summary}
}

var parameter = regexp.MustCompile(`\{([a-z0-9_]+)\}`)

// describe completes what the document says of an operation.
func (s *Server) describe(op *huma.Operation) {
	parts := strings.Split(strings.Trim(op.Path, "/"), "/")
	op.Tags = []string{parts[0]}
	if parts[0] == "api" {
		op.Tags = []string{strings.TrimSuffix(parts[2], ".json")}
	}
	op.OperationID = strings.ToLower(op.Method) + "-" + strings.Trim(regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.Join(parts, "-"), "-"), "-")
	if p, ok := s.policyOf(op.Method, op.Path); ok && p.Need != Open {
		op.Security = []map[string][]string{{"token": {}}}
		op.Extensions = map[string]any{"x-albs-policy": string(p.Need)}
	}
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	op.Responses["default"] = &huma.Response{
		Description: "A problem",
		Content:     map[string]*huma.MediaType{problemType: {Schema: SchemaOf[Problem](s)}},
	}
}

// PathParams documents the parameters in a raw operation's path.
func PathParams(path string) []*huma.Param {
	var out []*huma.Param
	for _, m := range parameter.FindAllStringSubmatch(path, -1) {
		out = append(out, &huma.Param{Name: m[1], In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}})
	}
	return out
}

// QueryParam documents an optional parameter of a raw operation.
func QueryParam(name, typ, doc string) *huma.Param {
	return &huma.Param{Name: name, In: "query", Description: doc, Schema: &huma.Schema{Type: typ}}
}

// Answers documents a raw operation's success.
func Answers(status int, description, mediaType string) map[string]*huma.Response {
	r := &huma.Response{Description: description}
	if mediaType != "" {
		r.Content = map[string]*huma.MediaType{mediaType: {}}
	}
	return map[string]*huma.Response{strconv.Itoa(status): r}
}

// routeDocument renders the document; it is called once every other route is
// registered.
func (s *Server) routeDocument() {
	op := Operation(Get, DocumentPath, "This interface as an OpenAPI 3.1 document")
	op.Responses = Answers(http.StatusOK, "The document", "application/openapi+json")
	s.Raw(op, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		w.Header().Set("Cache-Control", "no-cache")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.doc))
	})
	schemas := s.huma.OpenAPI().Components.Schemas.Map()
	delete(schemas, "ErrorModel") // huma's, which no answer has
	delete(schemas, "ErrorDetail")
	doc, err := json.Marshal(s.huma.OpenAPI())
	if err != nil {
		panic(fmt.Sprintf("api: encode OpenAPI document: %v", err))
	}
	s.doc = doc
}

// ours begins the paths of the packages whose types are the interface's own.
const ours = "albs/internal/master/api"

// schemaName names a type in the document. Other packages' types bear the
// package's name, for several have a Spec.
func schemaName(t reflect.Type, hint string) string {
	name := huma.DefaultSchemaNamer(t, hint)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	from := t.PkgPath()
	if pkg := path.Base(from); from != "" && !strings.HasPrefix(from, ours) && pkg != "v2" { // huma's own are v2
		name = strings.ToUpper(pkg[:1]) + pkg[1:] + name
	}
	return name
}

// SchemaOf documents T, for operations that decode or encode by themselves.
func SchemaOf[T any](s *Server) *huma.Schema {
	return s.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[T](), true, "")
}

// Created is op with 201 as its success.
func Created(op huma.Operation) huma.Operation {
	op.DefaultStatus = http.StatusCreated
	return op
}
