// Package spec says what a task's spec names, whatever the task's kind. It is pure.
package spec

import (
	"reflect"

	"albs/internal/albs"
)

var digestType = reflect.TypeFor[albs.Digest]()

// Digests returns every digest that a spec names, wherever in it: what a worker may
// read for the task. It goes by type, so that a new kind of task can't be
// forgotten here.
func Digests(s albs.Spec) map[albs.Digest]bool {
	ds := make(map[albs.Digest]bool)
	collect(reflect.ValueOf(s), ds)
	delete(ds, "")
	return ds
}

func collect(v reflect.Value, ds map[albs.Digest]bool) {
	if v.Type() == digestType {
		ds[albs.Digest(v.String())] = true
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			collect(v.Elem(), ds)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			collect(v.Field(i), ds)
		}
	case reflect.Slice:
		for i := range v.Len() {
			collect(v.Index(i), ds)
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			collect(k, ds)
			collect(v.MapIndex(k), ds)
		}
	}
}
