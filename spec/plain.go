package spec

import (
	"regexp"
	"strings"
	"sync"
)

var markdownLink = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`\[([^\]]+)\]\(([^)]+)\)`)
})

// Plain is a text of a Key for a terminal, and for editors. A link becomes its words
// and the document, emphasis goes; what stands in a file keeps its `marks`.
func Plain(text string) string {
	text = markdownLink().ReplaceAllString(text, "$1 (docs/$2)")
	var b strings.Builder
	code := false
	for _, r := range text {
		if r == '`' {
			code = !code
		}
		if r != '*' || code {
			b.WriteRune(r)
		}
	}
	return b.String()
}
