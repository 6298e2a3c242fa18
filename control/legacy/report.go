package legacy

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"kita/spec"
)

const ruler = "=======================\n"

// check is the header and a block for each child that runs, or for that of the
// name asked for.
func check(views []spec.View, name string, loc *time.Location) string {
	var b strings.Builder
	b.WriteString("==Check Results Below==\n")
	for _, v := range views {
		if v.Status.Alive() && (name == "" || name == spec.All || name == v.Name) {
			writeBlock(&b, v, loc)
		}
	}
	return b.String()
}

func writeBlock(b *strings.Builder, v spec.View, loc *time.Location) {
	p := v.Status.Process
	// What the process was started with, not what its file says now.
	c := p.Config
	if c == nil {
		c = &spec.Child{}
	}
	fmt.Fprintf(b, "child name: %s\n", v.Name)
	fmt.Fprintf(b, "processing id: %d\n", p.PID)
	b.WriteString("config detail:\n")
	fmt.Fprintf(b, "  config location is: %s\n", c.LoadPath)
	fmt.Fprintf(b, "  command is: %s\n", c.CommandLine)
	fmt.Fprintf(b, "  stdout is: %s\n", stream(c.Stdout))
	fmt.Fprintf(b, "  stderr is: %s\n", stream(c.Stderr))
	fmt.Fprintf(b, "  child id is: %d\n", p.PID)
	fmt.Fprintf(b, "  start time: \"%s\"\n", p.StartedAt.In(loc).Format(time.DateTime))
	if c.Repeat == nil {
		b.WriteString("  repeat is: false\n")
	} else {
		fmt.Fprintf(b, "  repeat is: action is %s, interval is %s seconds\n", c.Repeat.Action, seconds(c.Repeat.Every.D()))
	}
	b.WriteString("  hooks are:\n")
	writeHooks(b, c)
	b.WriteString(ruler)
}

// writeHooks ends with an empty line only where there is a hook.
func writeHooks(b *strings.Builder, c *spec.Child) {
	if c.Prehook == nil && c.Posthook == nil {
		b.WriteString("    none\n")
		return
	}
	if c.Prehook != nil {
		fmt.Fprintf(b, "    prehook: %s\n", c.Prehook)
	}
	if c.Posthook != nil {
		fmt.Fprintf(b, "    posthook: %s\n", c.Posthook)
	}
	b.WriteString("\n")
}

func stream(s *spec.Stream) string {
	if s == nil {
		return "none"
	}
	return fmt.Sprintf("path: %s, mode: %s", s.Path, s.Mode)
}

func info(i spec.Info, name string) string {
	var b strings.Builder
	b.WriteString("==Server Info Below==\n")
	if name == "" || name == spec.All {
		fmt.Fprintf(&b, "Server config path:\n%s\n", i.ConfigFile)
		b.WriteString("Children are running (use 'check' command to see child detail):\n[")
		for _, running := range i.Running {
			b.WriteString(running + " ")
		}
		mode := "off"
		if i.Encrypt {
			mode = "on"
		}
		fmt.Fprintf(&b, "]\nServer configs:\nLoad paths: %s\nEncrypt mode: \"%s\"\n", debugStrings(i.LoadPaths), mode)
	}
	b.WriteString(ruler)
	return b.String()
}

// debugStrings is a list as Rust's `{:?}` has it: ["/srv/children", "/x"].
func debugStrings(list []string) string {
	quoted := make([]string, len(list))
	for i, s := range list {
		quoted[i] = debugString(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// debugString follows str's Debug in Rust's core::fmt: a short escape for
// these seven, \u{...} for what cannot be printed, everything else as it is.
func debugString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch r {
		case '"':
			b.WriteString(`\"`)
		case '\\':
			b.WriteString(`\\`)
		case '\n':
			b.WriteString(`\n`)
		case '\r':
			b.WriteString(`\r`)
		case '\t':
			b.WriteString(`\t`)
		case 0:
			b.WriteString(`\0`)
		default:
			if unicode.IsPrint(r) {
				b.WriteRune(r)
			} else {
				b.WriteString(`\u{` + strconv.FormatInt(int64(r), 16) + `}`)
			}
		}
	}
	b.WriteByte('"')
	return b.String()
}
