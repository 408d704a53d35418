package api

import (
	"bytes"
	"io"

	"github.com/rexcarcer/rexcarcer/spec"
)

// RouteForTest is what tests may know of a route.
type RouteForTest struct {
	Method, Pattern, Summary, Media string
	Params                          [][3]string // name, kind, text
	In, Out                         any
	Stream                          bool
	Roles                           []string
}

// RoutesForTest is the route table.
func RoutesForTest() []RouteForTest {
	var out []RouteForTest
	for _, rt := range routes() {
		x := RouteForTest{Method: rt.method, Pattern: rt.pattern, Summary: rt.summary, Media: rt.media, In: rt.in, Out: rt.out, Stream: rt.stream}
		for _, p := range rt.query {
			x.Params = append(x.Params, [3]string{p.name, p.kind, p.text})
		}
		for _, role := range Roles() {
			if rights[role][rt.access] {
				x.Roles = append(x.Roles, role)
			}
		}
		out = append(out, x)
	}
	return out
}

// ErrorCodes are the codes that an answer can carry.
func ErrorCodes() map[string]int { return statusOf }

// ReadFramesForTest reads frames until the input ends.
func ReadFramesForTest(in io.Reader) ([]byte, error) {
	var all bytes.Buffer
	buf := make([]byte, maxFrame)
	for {
		kind, b, err := readFrame(in, buf)
		if err != nil {
			return all.Bytes(), err
		}
		all.WriteByte(byte(kind))
		all.Write(b)
	}
}

// ImageOfBuild is what the part "image" of a build holds.
type ImageOfBuild = spec.Image
