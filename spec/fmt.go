package spec

import (
	"bytes"
	"fmt"
	"path"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
)

// IsRex says whether a file of that name is in the .rex language: NAME.rex, or
// Rexfile.
func IsRex(name string) bool {
	base := path.Base(strings.ReplaceAll(name, `\`, "/"))
	return strings.EqualFold(path.Ext(base), ".rex") || strings.EqualFold(base, rexfile)
}

const rexfile = "Rexfile"

// Format writes a cluster file or, if IsRex(name), a .rex file in the
// canonical way. It changes no meaning, and formatting twice is formatting
// once. A file that does not parse is refused with Diagnostics.
func Format(name string, src []byte) ([]byte, error) {
	if IsRex(name) {
		return formatRex(name, src)
	}
	f := newSource(name, src)
	if found := guard(f); found != nil {
		return nil, found
	}
	if _, diags := hclsyntax.ParseConfig(src, name, hcl.InitialPos); diags.HasErrors() {
		d := newDecoder(name, src, Inputs{})
		d.hcl(diags)
		return nil, d.diags.sorted()
	}
	return formatHCL(name, src)
}

// formatHCL repeats hclwrite until nothing changes: aligning one line can
// make the next pass see a longer block.
func formatHCL(name string, src []byte) ([]byte, error) {
	const passes = 8
	src = bytes.ReplaceAll(src, []byte("\r\n"), []byte("\n"))
	for range passes {
		out := hclwrite.Format(src)
		if len(out) > 0 && out[len(out)-1] != '\n' {
			out = append(out, '\n')
		}
		if bytes.Equal(out, src) {
			return out, nil
		}
		src = out
	}
	return nil, fmt.Errorf("%s: formatting does not come to rest", name)
}
