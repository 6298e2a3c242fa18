package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"sigs.k8s.io/yaml"

	"kita/control"
	"kita/control/fleet"
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
	)
	switch {
	case errors.As(err, &refusal):
		return failure{err.Error(), refusal.Code}
	case errors.As(err, &unreachable):
		return failure{err.Error(), "unreachable"}
	}
	return failure{err.Error(), "failed"}
}

// writeResults prints answers as JSON or YAML: that of one host as it is,
// those of several as one mapping, keyed by host, in the order asked. The one
// host without an answer prints nothing, its error goes to stderr.
func writeResults[T any](w io.Writer, f format, results []fleet.Result[T]) error {
	if len(results) == 1 {
		if results[0].Err != nil {
			return nil
		}
		return encode(w, f, results[0].Value)
	}
	answers := make([]any, len(results))
	for i, r := range results {
		answers[i] = r.Value
		if r.Err != nil {
			answers[i] = failureOf(r.Err)
		}
	}
	if f == formatYAML {
		// One mapping, written key by key so that it keeps its order.
		for i, r := range results {
			if err := encode(w, f, map[string]any{r.Host.String(): answers[i]}); err != nil {
				return err
			}
		}
		return nil
	}
	var b bytes.Buffer
	for i, r := range results {
		key, _ := json.Marshal(r.Host.String())
		value, err := json.Marshal(answers[i])
		if err != nil {
			return fmt.Errorf("encode the answer of %s: %w", r.Host, err)
		}
		b.WriteString(map[bool]string{true: "{", false: ","}[i == 0])
		b.Write(key)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return encode(w, f, json.RawMessage(b.Bytes()))
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
