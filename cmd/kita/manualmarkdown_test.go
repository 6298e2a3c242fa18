package main

import (
	"fmt"
	"strings"
)

const referenceHead = `# Commands, one by one

<!-- written by make generate from what the commands say of themselves -->

Each has this as ` + "`--help`" + ` and as a manual page, ` + "`man kita-restart`" + ` for one. [Commands](commands.md) tells how they belong together.
supervisor-rs's spellings, ` + "`TryStart`" + ` and the like, work as well.

`

// markdown writes all commands as one page.
func markdown(all []entry) string {
	var b strings.Builder
	b.WriteString(referenceHead + "| command | |\n|---|---|\n")
	for _, e := range all {
		fmt.Fprintf(&b, "| [%s](#%s) | %s |\n", e.path, anchor(e.path), tableCell(e.short))
	}
	for _, e := range all {
		fmt.Fprintf(&b, "\n## %s\n\n    %s\n", e.path, e.use)
		text := e.text
		if len(text) == 0 {
			text = []block{{lines: []string{e.short + "."}}}
		}
		for _, block := range text {
			if block.verbatim {
				fmt.Fprintf(&b, "\n    %s\n", strings.Join(block.lines, "\n    "))
				continue
			}
			fmt.Fprintf(&b, "\n%s\n", flowing(strings.Join(block.lines, " ")))
		}
		if len(e.aliases) > 0 {
			fmt.Fprintf(&b, "\nAlso called %s.\n", strings.Join(e.aliases, ", "))
		}
		if len(e.options) > 0 {
			b.WriteString("\n| flag | |\n|---|---|\n")
		}
		for _, o := range e.options {
			name := "`--" + strings.TrimRight(o.long+" "+o.value, " ") + "`"
			if o.short != "" {
				name = "`-" + o.short + "`, " + name
			}
			fmt.Fprintf(&b, "| %s | %s |\n", name, tableCell(o.usage))
		}
		if e.status != "" {
			fmt.Fprintf(&b, "\nExit status: %s\n", e.status)
		}
	}
	return b.String()
}

// anchor is what a heading is linked by.
func anchor(path string) string { return strings.ReplaceAll(path, " ", "-") }

// flowing is text in which nothing is taken for markup.
func flowing(text string) string {
	return strings.NewReplacer("<", "&lt;", "*", `\*`, "_", `\_`).Replace(text)
}

func tableCell(text string) string { return strings.ReplaceAll(flowing(text), "|", `\|`) }
