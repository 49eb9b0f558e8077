// Package web holds the templates and static files of the pages, built into the
// program. It has no code: master/ui parses and serves them.
package web

import "embed"

// Files has templates, in a folder for each group of pages, and static files.
//
//go:embed templates static
var Files embed.FS
