package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode"

	"sigs.k8s.io/yaml"

	"kita/control"
	"kita/control/fleet"
	"kita/control/keyring"
	"kita/control/tunnel"
	"kita/spec"
)

// failure is what stands for a host's answer when there is none, in the JSON of every
// command.
type failure struct {
	Error     string          `json:"error"`
	Code      spec.Code       `json:"code"`
	LastLines *spec.LastLines `json:"last_lines,omitempty"`
}

func failureOf(err error) failure {
	var (
		refusal     *spec.Refusal
		unreachable *control.Unreachable
		not         *fleet.NotAsked
		keyRefused  *tunnel.KeyRefused
		hostKey     *keyring.HostKeyError
		old         *oldAnswer
	)
	switch {
	case errors.As(err, &old) && old.status == exitNotRunning:
		return failure{Error: err.Error(), Code: "not-running"}
	case errors.As(err, &not):
		return failure{Error: err.Error(), Code: "not-asked"}
	case errors.Is(err, errCtrlC), errors.Is(err, errInterrupted):
		return failure{Error: err.Error(), Code: "interrupted"}
	case errors.As(err, &refusal):
		return failure{Error: err.Error(), Code: refusal.Code, LastLines: refusal.LastLines}
	case errors.As(err, &unreachable):
		return failure{Error: err.Error(), Code: "unreachable"}
	case errors.As(err, &keyRefused):
		return failure{Error: err.Error(), Code: "key-refused"}
	case errors.As(err, &hostKey):
		return failure{Error: err.Error(), Code: "host-key"}
	}
	return failure{Error: err.Error(), Code: "failed"}
}

// failureLine stands in a stream of objects for what h does not tell, with the host as
// other objects of the stream have it; nil where no JSON is asked for.
func failureLine(r request, h fleet.Host, err error) []byte {
	if r.format != formatJSON {
		return nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	// Nothing of it can fail to be encoded.
	_ = e.Encode(struct {
		Host string `json:"host,omitempty"`
		failure
	}{label(r, h), failureOf(err)})
	return escapeOdd(b.Bytes())
}

// encoder prints answers as JSON or YAML: that of one host as it is, those of
// several as one mapping, keyed by host, in the order in which they are added.
// What stands for an answer is printed in its place.
type encoder struct {
	w      io.Writer
	format format
	keyed  bool
	begun  bool
	// left are the hosts whose answers are still to be added: a comma stands in
	// the line of what it follows, so that no line is left open meanwhile.
	left int
}

func newEncoder(w io.Writer, r request) *encoder {
	return &encoder{w: w, format: r.format, keyed: r.many, left: len(r.hosts)}
}

// encode is how the answer of h is printed, or what stands for it when there is
// err.
func (e *encoder) encode(h fleet.Host, answer any, err error) ([]byte, error) {
	switch {
	case !e.keyed && err != nil:
		return encode(e.format, failureOf(err), "")
	case !e.keyed:
		return encode(e.format, answer, "")
	case err != nil:
		answer = failureOf(err)
	}
	if e.format == formatYAML {
		// One mapping, written key by key so that it keeps its order.
		return encode(e.format, map[string]any{h.String(): answer}, "")
	}
	key, _ := json.Marshal(h.String())
	value, err := encode(e.format, answer, "  ")
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "  %s: %s", key, bytes.TrimSuffix(value, []byte("\n"))), nil
}

// add prints what encode has made.
func (e *encoder) add(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	if e.keyed && e.format == formatJSON {
		before, after := "", ",\n"
		if !e.begun {
			before = "{\n"
		}
		if e.left--; e.left == 0 {
			after = "\n"
		}
		e.begun = true
		text = slices.Concat([]byte(before), text, []byte(after))
	}
	_, err := e.w.Write(text)
	return err
}

// end completes what was printed.
func (e *encoder) end() error {
	if !e.begun {
		return nil
	}
	_, err := io.WriteString(e.w, "}\n")
	return err
}

// encode is v as JSON or YAML. Its strings come from the host that was asked and
// can hold anything, what a terminal acts on and what YAML cannot hold too.
func encode(f format, v any, prefix string) ([]byte, error) {
	text, err := json.MarshalIndent(v, prefix, "  ")
	if err != nil {
		return nil, fmt.Errorf("its answer cannot be shown: %w", err)
	}
	text = escapeOdd(text)
	if f == formatJSON {
		return append(text, '\n'), nil
	}
	if text, err = yaml.JSONToYAML(text); err != nil {
		return nil, fmt.Errorf("its answer cannot be shown as YAML, ask with -o json: %w", err)
	}
	return text, nil
}

// escapeOdd writes those runes of a JSON text as \uXXXX that encoding/json leaves
// as they are, and that no terminal shows or YAML refuses. There are none beyond
// 16 bits that do harm.
func escapeOdd(text []byte) []byte {
	odd := func(r rune) bool { return r >= unicode.MaxASCII && r <= 0xffff && isOdd(r) }
	if bytes.IndexFunc(text, odd) < 0 {
		return text
	}
	var b bytes.Buffer
	for _, r := range string(text) {
		if odd(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.Bytes()
}
