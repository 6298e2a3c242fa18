package schema

import (
	"bytes"
	"encoding/json"
)

// node is a schema; the members are in the order in which they are written.
type node struct {
	Schema      string `json:"$schema,omitempty"`
	Comment     string `json:"$comment,omitempty"`
	Title       string `json:"title,omitempty"`
	Description string `json:"description,omitempty"`
	Ref         string `json:"$ref,omitempty"`
	// Type is a string or a list of them.
	Type             any      `json:"type,omitempty"`
	Enum             []string `json:"enum,omitempty"`
	Minimum          *int     `json:"minimum,omitempty"`
	ExclusiveMinimum *int     `json:"exclusiveMinimum,omitempty"`
	Maximum          *int     `json:"maximum,omitempty"`
	MaxLength        int      `json:"maxLength,omitempty"`
	Pattern          string   `json:"pattern,omitempty"`
	// PatternMessage is for editors: what is legal, in words.
	PatternMessage string     `json:"patternErrorMessage,omitempty"`
	Not            *node      `json:"not,omitempty"`
	MinItems       int        `json:"minItems,omitempty"`
	Items          *node      `json:"items,omitempty"`
	Required       []string   `json:"required,omitempty"`
	Properties     properties `json:"properties,omitzero"`
	PropertyNames  *node      `json:"propertyNames,omitempty"`
	// AdditionalProperties is false or a *node.
	AdditionalProperties any        `json:"additionalProperties,omitempty"`
	AnyOf                []*node    `json:"anyOf,omitempty"`
	OneOf                []*node    `json:"oneOf,omitempty"`
	Default              any        `json:"default,omitempty"`
	Examples             []any      `json:"examples,omitempty"`
	Defs                 properties `json:"$defs,omitempty"`
}

// properties are schemas by name, in an order.
type properties []property

type property struct {
	name string
	node *node
}

// MarshalJSON keeps the order: editors offer the keys in it.
func (p properties) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, one := range p {
		if i > 0 {
			b.WriteByte(',')
		}
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(one.name); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := e.Encode(one.node); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}
