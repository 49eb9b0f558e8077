package delivery

import (
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"

	"albs/internal/albs"
	"albs/internal/master/api/rest"
	"albs/internal/master/bill"
	"albs/internal/sbom"
)

// PathSBOM is where bills of materials are, by what they are of and its name.
const PathSBOM = "/api/v1/sbom/"

// sbomTime is how long a client may take for a bill that was written for it, of which there
// are few at once.
const sbomTime = 10 * time.Minute

func (s *Resources) routeSBOM() {
	for _, route := range []struct {
		path, parameter, summary string
		of                       func(ctx context.Context, what string, f sbom.Format) (bill.Document, error)
	}{
		{"package/{sha256}", "sha256", "Download the bill of materials of a package, by its sha256 or NEVRA", s.sbomOfPackage},
		{"build/{build_id}", "build_id", "Download the bill of materials of a build whose tasks have ended", s.sbomOfBuild},
		{"root/{sha256}", "sha256", "Download the bill of materials of the root in which a package was built, by the package's sha256 or NEVRA", s.sbomOfRoot},
		{"release/{release_id}", "release_id", "Download the bill of materials of a release that is public", s.sbomOfRelease},
	} {
		op := rest.Operation(rest.Get, PathSBOM+route.path, route.summary)
		var names []any
		content := map[string]*huma.MediaType{}
		for _, f := range sbom.Formats() {
			names = append(names, string(f))
			content[f.MediaType()] = &huma.MediaType{}
		}
		format := rest.QueryParam("format", huma.TypeString, "The format; "+string(sbom.SPDXJSON)+" if it isn't named. The master has stated the digests of "+attested())
		format.Schema.Enum = names
		op.Parameters = append(rest.PathParams(op.Path), format)
		op.Responses = rest.Answers(http.StatusOK, "The bill; X-Albs-Attested says whether these bytes were stated", "")
		op.Responses["200"].Content = content
		s.Raw(op, func(w http.ResponseWriter, r *http.Request) {
			d, err := route.of(r.Context(), chi.URLParam(r, route.parameter), wanted(r))
			if err != nil {
				s.Fail(w, r, err)
				return
			}
			h := w.Header()
			h.Set("Content-Type", d.Format.MediaType())
			h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": d.Name}))
			tag := fmt.Sprintf("%q", d.Tag)
			h.Set("ETag", tag)
			h.Set("Cache-Control", "no-cache") // it is asked for by what it is of, of which there may be another one
			h.Set("X-Albs-Attested", strconv.FormatBool(d.Attested))
			if !d.Kept {
				// Nothing is written for those who don't take it.
				if r.Header.Get("If-None-Match") == tag {
					w.WriteHeader(http.StatusNotModified)
					return
				}
				if r.Method == http.MethodHead {
					return
				}
				_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(sbomTime)) // not every server has deadlines
			}
			text, err := d.Ready(r.Context())
			if err != nil {
				s.Fail(w, r, err)
				return
			}
			defer text.Close()
			rest.ServeRanges(w, r, text.Size, func(offset, length int64) (io.ReadCloser, error) {
				if offset == 0 && length == text.Size {
					length = -1
				}
				return text.Open(offset, length)
			})
		})
	}
}

func attested() string {
	var names []string
	for _, f := range bill.Attested {
		names = append(names, string(f))
	}
	return strings.Join(names, " and ")
}

// wanted is the format that a request asks for.
func wanted(r *http.Request) sbom.Format {
	if f := r.URL.Query().Get("format"); f != "" {
		return sbom.Format(f)
	}
	return sbom.SPDXJSON
}

func (s *Resources) sbomOfPackage(ctx context.Context, what string, f sbom.Format) (bill.Document, error) {
	return s.Bills.OfPackage(ctx, what, f)
}

func (s *Resources) sbomOfRoot(ctx context.Context, what string, f sbom.Format) (bill.Document, error) {
	return s.Bills.OfRoot(ctx, what, f)
}

func (s *Resources) sbomOfBuild(ctx context.Context, what string, f sbom.Format) (bill.Document, error) {
	id, err := strconv.ParseInt(what, 10, 64)
	if err != nil {
		return bill.Document{}, albs.Errorf(albs.Invalid, "%.40q is no number of a build", what)
	}
	return s.Bills.OfBuild(ctx, albs.BuildID(id), f)
}

func (s *Resources) sbomOfRelease(ctx context.Context, what string, f sbom.Format) (bill.Document, error) {
	id, err := strconv.ParseInt(what, 10, 64)
	if err != nil {
		return bill.Document{}, albs.Errorf(albs.Invalid, "%.40q is no number of a release", what)
	}
	return s.Bills.OfRelease(ctx, albs.ReleaseID(id), f)
}
