package main

import (
	"reflect"
	"strings"
)

// jsonFields are the names of T's JSON fields, embedded ones too.
func jsonFields[T any]() []string { return fieldsOf(reflect.TypeFor[T]()) }

func fieldsOf(t reflect.Type) []string {
	if t.Kind() != reflect.Struct {
		return nil
	}
	var out []string
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			out = append(out, fieldsOf(f.Type)...)
		case name != "" && name != "-":
			out = append(out, name)
		}
	}
	return out
}
