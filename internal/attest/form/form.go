// Package form reads and writes documents of JSON that have one form: what two parties sign, or
// name by its digest, is what both of them read.
package form

import (
	"bytes"
	"encoding/json"
	"fmt"

	"albs/internal/albs"
)

// Encode returns v as compact JSON. Its type has nothing that JSON can't have: strings,
// numbers, bytes, times, and lists and structs of these; with another one it panics.
func Encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("form: encode %T: %v", v, err))
	}
	return b
}

// Decode reads one document that Encode wrote into v. Anything that Encode would write
// otherwise is refused as Invalid.
func Decode(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return albs.Errorf(albs.Invalid, "it is not the JSON expected: %w", err)
	}
	again, err := json.Marshal(v)
	if err != nil {
		return albs.Errorf(albs.Invalid, "it is not the JSON expected: %w", err)
	}
	if !bytes.Equal(again, b) {
		return albs.Errorf(albs.Invalid, "the JSON is not in the one form that albs writes")
	}
	return nil
}
