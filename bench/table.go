//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// String is a result in one line, for the one who waits.
func (r result) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-34s %s", label(r.Name, r.N), r.Kita.text(r.Unit))
	if r.Floor != nil {
		fmt.Fprintf(&b, ", floor %s, ratio %s", r.Floor.text(r.Unit), number(r.Ratio))
	}
	if r.Met != nil {
		fmt.Fprintf(&b, ", goal %s: %s", r.Goal, verdict(*r.Met))
	}
	return b.String()
}

func (s *summary) text(unit string) string {
	if s == nil {
		return "–"
	}
	if s.Count == 1 {
		return strings.TrimSpace(number(s.Value) + " " + unit)
	}
	return fmt.Sprintf("%s (%s–%s)", strings.TrimSpace(number(s.Value)+" "+unit), number(s.Min), number(s.Max))
}

func verdict(met bool) string {
	if met {
		return "met"
	}
	return "not met"
}

// printTable writes the results as a Markdown table.
func printTable(out io.Writer, results []result) error {
	var b strings.Builder
	b.WriteString("| figure | N | kita | floor | ratio | goal | |\n|---|---|---|---|---|---|---|\n")
	for _, r := range results {
		n, floor, ratio, met := "", "", "", ""
		if r.N > 0 {
			n = fmt.Sprint(r.N)
		}
		if r.Floor != nil {
			floor, ratio = r.Floor.text(r.Unit), number(r.Ratio)
		}
		if r.Met != nil {
			met = verdict(*r.Met)
		}
		name := r.Name
		if r.Note != "" {
			name += " (" + r.Note + ")"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", name, n, r.Kita.text(r.Unit), floor, ratio, r.Goal, met)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// printJSON writes the machine and the results.
func printJSON(out io.Writer, m machine, all measured) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(struct {
		Machine machine      `json:"machine"`
		Figures []result     `json:"figures"`
		Peers   []peerResult `json:"peers,omitempty"`
	}{m, all.figures, all.peers})
}
