// Package spec says what a task's spec names, whatever the task's kind. It is pure.
package spec

import (
	"reflect"

	"albs/internal/albs"
)

var (
	digestType = reflect.TypeFor[albs.Digest]()
	repoType   = reflect.TypeFor[albs.Repo]()
)

// Digests returns every digest that a spec names, wherever in it: what a worker may
// read for the task. It goes by type, so that a new kind of task can't be
// forgotten here.
func Digests(s albs.Spec) map[albs.Digest]bool {
	ds := make(map[albs.Digest]bool)
	visit(reflect.ValueOf(s), func(v reflect.Value) {
		if v.Type() == digestType && v.String() != "" {
			ds[albs.Digest(v.String())] = true
		}
	})
	return ds
}

// Snapshots returns those digests of a spec that are snapshots, so that the worker may
// read what they reach too.
func Snapshots(s albs.Spec) map[albs.Digest]bool {
	ds := make(map[albs.Digest]bool)
	visit(reflect.ValueOf(s), func(v reflect.Value) {
		if v.Type() != repoType {
			return
		}
		if r, ok := v.Interface().(albs.Repo); ok && r.Snapshot != "" {
			ds[r.Snapshot] = true
		}
	})
	return ds
}

// visit calls f for v and all that is in it.
func visit(v reflect.Value, f func(reflect.Value)) {
	f(v)
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			visit(v.Elem(), f)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			visit(v.Field(i), f)
		}
	case reflect.Slice:
		for i := range v.Len() {
			visit(v.Index(i), f)
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			visit(k, f)
			visit(v.MapIndex(k), f)
		}
	}
}
