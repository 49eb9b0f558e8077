// Package migrations embeds the schema: one folder a dialect, equal numbers in
// both, append only. A file belongs to the module that it is named after.
package migrations

import "embed"

// FS holds sqlite/NNNN_name.sql and postgres/NNNN_name.sql in goose's format.
//
//go:embed sqlite/*.sql postgres/*.sql
var FS embed.FS
