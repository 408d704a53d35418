package spec

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// The HCL parser and evaluator recurse: once per bracket, per unary operator
// and per operator of a chain. A stack that overflows ends the process, and no
// recover catches that (hcl issue 809), so guard bounds all of these before
// the parser sees the text. It uses HCL's own scanner, which does not recurse,
// so that both agree about what is a string and what is not.
const (
	maxTokens   = 6_000_000 // about 100 bytes each in memory
	maxDepth    = 200       // open brackets, quotes and ${ at one place
	maxRun      = 1000      // operators in one expression without a comma or line end
	maxRuns     = 4000      // the same, summed over the brackets that are open
	maxDirected = 200       // %{ in one template
)

// level is an open bracket or template.
type level struct {
	closer   hclsyntax.TokenType
	newlines bool // do they separate here?
	run      int  // operators since the last separator
	directed int  // %{ so far, in a template
}

// guard refuses text that would be dangerous to parse. It returns nil if the
// text is harmless, not if it is correct.
func guard(f *sourceFile) Diagnostics {
	if len(f.src) > MaxFileBytes {
		return Diagnostics{{File: f.name, Summary: fmt.Sprintf("the file has %d bytes, %d are the most", len(f.src), MaxFileBytes), Hint: "split it into several files"}}
	}
	if n := roughTokens(f.src); n > maxTokens {
		return Diagnostics{{File: f.name, Summary: fmt.Sprintf("the file has more than %d words and signs", maxTokens), Hint: "split it into several files, or use count"}}
	}
	tokens, _ := hclsyntax.LexConfig(f.src, f.name, hcl.InitialPos) // errors: the parser will report them better
	g := &guarding{f: f, levels: []level{{newlines: true}}}
	for i := range tokens {
		if g.token(&tokens[i]); g.found != nil {
			return Diagnostics{*g.found}
		}
	}
	return nil
}

// roughTokens counts words and signs, at least as many as the scanner will
// find outside of strings.
func roughTokens(src []byte) int {
	n, inWord := 0, false
	for _, c := range src {
		word := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c >= 0x80
		blank := c == ' ' || c == '\t' || c == '\r'
		if !blank && (!word || !inWord) {
			n++
		}
		inWord = word
	}
	return n
}

type guarding struct {
	f      *sourceFile
	levels []level
	runs   int // sum of level.run
	found  *Diagnostic
}

func (g *guarding) refuse(sp span, format string, args ...any) {
	d := g.f.at(sp, fmt.Sprintf(format, args...))
	g.found = &d
}

func (g *guarding) token(t *hclsyntax.Token) {
	sp := span{t.Range.Start.Byte, t.Range.End.Byte}
	top := &g.levels[len(g.levels)-1]
	switch t.Type {
	case hclsyntax.TokenOBrace:
		g.push(sp, hclsyntax.TokenCBrace)
	case hclsyntax.TokenOParen:
		g.operator(sp)
		g.push(sp, hclsyntax.TokenCParen)
	case hclsyntax.TokenOBrack: // x[a][b][c] nests to the left
		g.operator(sp)
		g.push(sp, hclsyntax.TokenCBrack)
	case hclsyntax.TokenOQuote:
		g.push(sp, hclsyntax.TokenCQuote)
	case hclsyntax.TokenOHeredoc:
		g.push(sp, hclsyntax.TokenCHeredoc)
	case hclsyntax.TokenTemplateInterp:
		g.push(sp, hclsyntax.TokenTemplateSeqEnd)
	case hclsyntax.TokenTemplateControl:
		if top.directed++; top.directed > maxDirected {
			g.refuse(sp, "more than %d %%{ } directives in one template", maxDirected)
			return
		}
		g.push(sp, hclsyntax.TokenTemplateSeqEnd)
	case hclsyntax.TokenCBrace, hclsyntax.TokenCParen, hclsyntax.TokenCBrack, hclsyntax.TokenCQuote,
		hclsyntax.TokenCHeredoc, hclsyntax.TokenTemplateSeqEnd:
		// A closer that does not fit is an error that the parser will
		// report; here it must not make the depth look smaller.
		if top.closer == t.Type {
			g.runs -= top.run
			g.levels = g.levels[:len(g.levels)-1]
		}
	case hclsyntax.TokenComma:
		g.reset(top)
	case hclsyntax.TokenNewline:
		if top.newlines {
			g.reset(top)
		}
	case hclsyntax.TokenIdent, hclsyntax.TokenNumberLit, hclsyntax.TokenStringLit, hclsyntax.TokenQuotedLit,
		hclsyntax.TokenComment, hclsyntax.TokenEOF, hclsyntax.TokenEqual:
	default:
		g.operator(sp)
	}
}

func (g *guarding) push(sp span, closer hclsyntax.TokenType) {
	if len(g.levels) > maxDepth {
		g.refuse(sp, "brackets, quotes and templates are nested more than %d deep", maxDepth)
		return
	}
	g.levels = append(g.levels, level{closer: closer, newlines: closer == hclsyntax.TokenCBrace})
}

func (g *guarding) reset(top *level) {
	g.runs -= top.run
	top.run = 0
}

func (g *guarding) operator(sp span) {
	top := &g.levels[len(g.levels)-1]
	top.run++
	g.runs++
	if top.run > maxRun || g.runs > maxRuns {
		g.refuse(sp, "more than %d operators in one expression", maxRun)
	}
}
