package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"sigs.k8s.io/yaml"

	"kita/control"
	"kita/control/fleet"
	"kita/control/keyring"
	"kita/control/tunnel"
	"kita/spec"
)

// failure is what stands for a host's answer when there is none.
type failure struct {
	Error string    `json:"error"`
	Code  spec.Code `json:"code"`
}

func failureOf(err error) failure {
	var (
		refusal     *spec.Refusal
		unreachable *control.Unreachable
		not         *fleet.NotAsked
		keyRefused  *tunnel.KeyRefused
		hostKey     *keyring.HostKeyError
	)
	switch {
	case errors.As(err, &not):
		return failure{err.Error(), "not-asked"}
	case errors.Is(err, errCtrlC):
		return failure{err.Error(), "interrupted"}
	case errors.As(err, &refusal):
		return failure{err.Error(), refusal.Code}
	case errors.As(err, &unreachable):
		return failure{err.Error(), "unreachable"}
	case errors.As(err, &keyRefused):
		return failure{err.Error(), "key-refused"}
	case errors.As(err, &hostKey):
		return failure{err.Error(), "host-key"}
	}
	return failure{err.Error(), "failed"}
}

// encoder prints answers as JSON or YAML: that of one host as it is, those of
// several as one mapping, keyed by host, in the order in which they are added.
// The one host without an answer prints nothing, its error goes to stderr.
type encoder struct {
	w      io.Writer
	format format
	keyed  bool
	begun  bool
}

func newEncoder(w io.Writer, r request) *encoder {
	return &encoder{w: w, format: r.format, keyed: r.many}
}

// add prints the answer of h, or what stands for it when there is err.
func (e *encoder) add(h fleet.Host, answer any, err error) error {
	switch {
	case !e.keyed && err != nil:
		return nil
	case !e.keyed:
		return encode(e.w, e.format, answer)
	case err != nil:
		answer = failureOf(err)
	}
	if e.format == formatYAML {
		// One mapping, written key by key so that it keeps its order.
		return encode(e.w, e.format, map[string]any{h.String(): answer})
	}
	key, _ := json.Marshal(h.String())
	value, err := json.MarshalIndent(answer, "  ", "  ")
	if err != nil {
		return fmt.Errorf("encode the answer of %s: %w", h, err)
	}
	before := map[bool]string{false: "{", true: ","}[e.begun]
	e.begun = true
	_, err = fmt.Fprintf(e.w, "%s\n  %s: %s", before, key, value)
	return err
}

// end completes what was printed.
func (e *encoder) end() error {
	if !e.begun {
		return nil
	}
	_, err := io.WriteString(e.w, "\n}\n")
	return err
}

func encode(w io.Writer, f format, v any) error {
	var (
		text []byte
		err  error
	)
	if f == formatYAML {
		text, err = yaml.Marshal(v)
	} else if text, err = json.MarshalIndent(v, "", "  "); err == nil {
		text = append(text, '\n')
	}
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	_, err = w.Write(text)
	return err
}
