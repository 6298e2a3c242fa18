package main

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"kita/spec"
)

// explainText is what people read of fields.
func explainText(fields []spec.Field) string {
	var parts []string
	for _, f := range fields {
		parts = append(parts, fieldText(f))
	}
	return strings.Join(parts, "\n")
}

const (
	explainWidth = 80
	headWidth    = 10
)

func fieldText(f spec.Field) string {
	var b strings.Builder
	head := func(name, text string) {
		if text != "" {
			b.WriteString(folded(fmt.Sprintf("%-*s", headWidth, name+":"), text))
		}
	}
	head("FILE", f.File.File+", "+spec.Plain(f.File.Doc))
	if f.Path != "" {
		head("FIELD", f.Path)
		typeText := f.Key.Type()
		if how := f.Key.Kind.Grammar(); how != "" {
			typeText += " (" + spec.Plain(how) + ")"
		}
		head("TYPE", typeText)
		if f.Key.Required {
			head("DEFAULT", "none, it is required")
		} else {
			head("DEFAULT", defaultText(f.Key))
		}
		head("ALSO", strings.Join(alsoAt(f), ", "))
		b.WriteString("\n" + folded("", capital(spec.Plain(sentences(f.Key)))))
	} else if f.File.More != "" {
		b.WriteString("\n" + folded("", spec.Plain(f.File.More)+"."))
	}
	b.WriteString("\nEXAMPLE:\n")
	for line := range strings.SplitSeq(f.Example(), "\n") {
		b.WriteString("  " + line + "\n")
	}
	if below := f.Fields(); len(below) > 0 {
		b.WriteString("\nFIELDS:\n")
		writeFields(&b, below)
	}
	return b.String()
}

func defaultText(k spec.Key) string {
	if text, ok := k.Literal(); ok {
		return text
	}
	return spec.Plain(k.Default)
}

// writeFields has two lines for each: what it is called and holds, and what for.
func writeFields(b *strings.Builder, fields []spec.Field) {
	width := 0
	for _, f := range fields {
		width = max(width, len(f.Key.Name))
	}
	for _, f := range fields {
		about := f.Key.Type()
		if f.Key.Required {
			about += ", required"
		}
		b.WriteString(folded(fmt.Sprintf("  %-*s  ", width, f.Key.Name), "<"+about+">"))
		b.WriteString(folded(strings.Repeat(" ", width+4), spec.Plain(f.Key.Doc)))
	}
}

// folded is text after head, in lines that begin where it ends.
func folded(head, text string) string {
	indent := strings.Repeat(" ", utf8.RuneCountInString(head))
	var b strings.Builder
	line := head
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
			line += word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > explainWidth:
			b.WriteString(line + "\n")
			line = indent + word
		default:
			line += " " + word
		}
	}
	b.WriteString(strings.TrimRight(line, " ") + "\n")
	return b.String()
}

// capital begins a sentence with a capital, unless it begins with a word of a file.
func capital(text string) string {
	first, _, _ := strings.Cut(text, " ")
	if text == "" || strings.ContainsAny(first, "_./`") {
		return text
	}
	return strings.ToUpper(text[:1]) + text[1:]
}
