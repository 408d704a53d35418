package api_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/rexcarcer/rexcarcer/api"
	"github.com/rexcarcer/rexcarcer/fsm"
)

// rewriting is set by `make golden`: the flag is datadriven's.
func rewriting() bool {
	f := flag.Lookup("rewrite")
	return f != nil && f.Value.String() == "true"
}

// TestDocumentIsTheRouteTable: openapi.json is made from the routes, so that
// neither can have what the other has not.
func TestDocumentIsTheRouteTable(t *testing.T) {
	want, err := json.MarshalIndent(describe(), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if rewriting() {
		if err := os.WriteFile("openapi.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("openapi.json is not what the route table says: run `make golden` and look at the diff")
	}
	doc := load(t)
	if err := doc.Validate(t.Context()); err != nil {
		t.Errorf("openapi.json is no valid OpenAPI document: %v", err)
	}
	routes := map[string]bool{}
	for _, rt := range api.RoutesForTest() {
		routes[rt.Method+" "+rt.Pattern] = true
	}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			if !routes[method+" "+path] {
				t.Errorf("openapi.json has %s %s, the server has not", method, path)
			}
			delete(routes, method+" "+path)
		}
	}
	for r := range routes {
		t.Errorf("openapi.json lacks %s", r)
	}
}

func load(t testing.TB) *openapi3.T {
	t.Helper()
	b, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(b)
	if err != nil {
		t.Fatalf("openapi.json: %v", err)
	}
	return doc
}

type object = map[string]any

// describe makes the document.
func describe() object {
	s := &schemas{known: object{}}
	s.known["Error"] = object{"type": "object", "required": []string{"error"}, "properties": object{
		"error": object{"type": "object", "required": []string{"code", "message"}, "properties": object{
			"code": object{"type": "string"}, "object": object{"type": "string"}, "message": object{"type": "string"}, "hint": object{"type": "string"},
		}},
	}}
	paths := object{}
	for _, rt := range api.RoutesForTest() {
		item, ok := paths[rt.Pattern].(object)
		if !ok {
			item = object{}
			paths[rt.Pattern] = item
		}
		item[strings.ToLower(rt.Method)] = s.operation(rt)
	}
	return object{
		"openapi": "3.0.3",
		"info": object{
			"title": "RexCarcer", "version": "v1",
			"description": "Reads answer from one log index, which is in the Rex-Index header. Writes may carry If-Match with the base_index of a plan. x-roles lists who may use a route.",
		},
		"paths": paths, "components": object{"schemas": s.known},
	}
}

var pathParam = regexp.MustCompile(`\{(\w+)\}`)

func (s *schemas) operation(rt api.RouteForTest) object {
	op := object{"summary": rt.Summary, "operationId": operationID(rt), "x-roles": rt.Roles}
	var params []object
	for _, m := range pathParam.FindAllStringSubmatch(rt.Pattern, -1) {
		params = append(params, object{"name": m[1], "in": "path", "required": true, "schema": object{"type": "string"}})
	}
	for _, p := range rt.Params {
		params = append(params, object{"name": p[0], "in": "query", "description": p[2], "schema": object{"type": p[1]}})
	}
	if params != nil {
		op["parameters"] = params
	}
	switch {
	case rt.Pattern == "/v1/images/build":
		op["requestBody"] = object{"required": true, "content": object{"multipart/form-data": object{"schema": object{
			"type": "object", "required": []string{"image"}, "properties": object{
				"image": s.of(reflect.TypeFor[api.ImageOfBuild]()), "context": object{"type": "string", "format": "binary"},
			},
		}}}}
	case rt.In != nil:
		op["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": s.of(reflect.TypeOf(rt.In))}}}
	}
	answer := object{"description": "OK"}
	media := rt.Media
	if media == "" {
		media = "application/json"
	}
	code := "200"
	switch {
	case rt.Pattern == "/v1/jails/{name}/exec":
		code, answer = "101", object{"description": "the connection now speaks " + rt.Media}
	case rt.Out != nil:
		answer["content"] = object{media: object{"schema": s.of(reflect.TypeOf(rt.Out))}}
	default:
		answer["content"] = object{media: object{"schema": object{"type": "string"}}}
	}
	op["responses"] = object{code: answer, "default": object{
		"description": "an error", "content": object{"application/json": object{"schema": object{"$ref": "#/components/schemas/Error"}}},
	}}
	return op
}

func operationID(rt api.RouteForTest) string {
	id := strings.ToLower(rt.Method)
	for _, part := range strings.FieldsFunc(strings.TrimPrefix(rt.Pattern, "/v1"), func(r rune) bool { return strings.ContainsRune("/{}-._", r) }) {
		id += strings.ToUpper(part[:1]) + part[1:]
	}
	return id
}

// schemas makes a JSON schema of a Go type as encoding/json writes it.
type schemas struct{ known object }

func (s *schemas) of(t reflect.Type) object {
	switch t {
	case reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case reflect.TypeFor[netip.Addr](), reflect.TypeFor[netip.Prefix]():
		return object{"type": "string"}
	case reflect.TypeFor[json.RawMessage]():
		return object{}
	case reflect.TypeFor[time.Duration]():
		return object{"type": "integer", "format": "int64", "description": "nanoseconds"}
	case reflect.TypeFor[fsm.Time]():
		return object{"type": "integer", "format": "int64", "description": "nanoseconds since the Unix epoch"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return object{"nullable": true, "allOf": []object{s.of(t.Elem())}}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float32, reflect.Float64:
		return object{"type": "number"}
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return object{"type": "integer"}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return object{"type": "string", "format": "byte"}
		}
		return object{"type": "array", "items": s.of(t.Elem()), "nullable": true}
	case reflect.Map:
		if t.Elem().Kind() == reflect.Interface {
			return object{"type": "object"}
		}
		return object{"type": "object", "additionalProperties": s.of(t.Elem()), "nullable": true}
	case reflect.Struct:
		return s.structure(t)
	}
	panic(fmt.Sprintf("no schema for %s", t))
}

func (s *schemas) structure(t reflect.Type) object {
	name := t.Name()
	if strings.HasSuffix(t.PkgPath(), "/spec") {
		name = "Spec" + name // api has rows of the same names
	}
	ref := object{"$ref": "#/components/schemas/" + name}
	if _, ok := s.known[name]; ok {
		return ref
	}
	props, required := object{}, []string{}
	s.known[name] = object{}
	s.fields(t, props, &required)
	out := object{"type": "object", "properties": props}
	if len(required) > 0 {
		out["required"] = required
	}
	s.known[name] = out
	return ref
}

func (s *schemas) fields(t reflect.Type, props object, required *[]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported():
			continue
		case f.Anonymous && name == "":
			s.fields(f.Type, props, required)
			continue
		case name == "":
			name = f.Name
		}
		props[name] = s.of(f.Type)
		if !strings.Contains(opts, "omit") {
			*required = append(*required, name)
		}
	}
}
