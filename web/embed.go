// Package web holds the templates and static files of the pages, built into the
// program. It has no code: master/ui parses and serves them.
package web

import "embed"

// Files has templates/*.html and static/*.
//
//go:embed templates/*.html static/*
var Files embed.FS
