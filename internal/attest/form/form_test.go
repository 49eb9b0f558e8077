package form

import (
	"errors"
	"testing"

	"albs/internal/albs"
)

// TestForm: a document is read in the one form in which it is written.
func TestForm(t *testing.T) {
	t.Parallel()
	type doc struct {
		Name string `json:"name"`
		Size int    `json:"size,omitempty"`
	}
	want := doc{Name: "a & b", Size: 3}
	b := Encode(want)
	var got doc
	if err := Decode(b, &got); err != nil || got != want {
		t.Errorf("%s is read as %+v, %v", b, got, err)
	}
	for name, text := range map[string]string{
		"nothing": "", "something behind": string(b) + " ", "another order": `{"size":3,"name":"a"}`, "an unknown member": `{"name":"a","more":1}`,
		"a member twice": `{"name":"b","name":"a"}`, "one that is left out": `{"name":"a","size":0}`, "another case": `{"Name":"a"}`, "no escape": `{"name":"a & b"}`,
	} {
		if err := Decode([]byte(text), new(doc)); !errors.Is(err, albs.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
