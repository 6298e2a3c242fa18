package spec

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// spot is a place in a file where a key can stand.
type spot struct {
	file string
	path string
	key  Key
	// around puts a line for the key there, and with it what the file needs
	// besides.
	around func(line string) string
}

// needs are lines without which a key means nothing.
var needs = map[string]string{
	"on_full": "format: text", "starts": "within: 1m", "within": "starts: 5", "soft": "hard: unlimited", "hard": "soft: 0", "max": "initial: 1ns",
}

// spots are all keys of all files, wherever they can stand.
func spots() []spot {
	var all []spot
	var add func(file, path string, keys []Key, oneOf []string, around func(string) string)
	add = func(file, path string, keys []Key, oneOf []string, around func(string) string) {
		for _, k := range keys {
			here := func(line string) string {
				lines := []string{line}
				if need := needs[k.Name]; need != "" {
					lines = append(lines, need)
				} else {
					for _, other := range keys {
						if other.Required && other.Name != k.Name {
							lines = append(lines, other.Example)
						}
					}
				}
				if len(oneOf) > 0 && !slices.Contains(oneOf, k.Name) {
					lines = append(lines, oneOf[0]+": start")
				}
				return around(strings.Join(lines, ", "))
			}
			name := path + k.Name
			all = append(all, spot{file, name, k, here})
			within := func(before, after string) func(string) string {
				return func(lines string) string { return here(k.Name + ": " + before + lines + after) }
			}
			add(file, name+".", k.Keys, k.OneOf, within("{", "}"))
			if k.Element != nil {
				add(file, name+"[].", k.Element.Keys, k.Element.OneOf, within("[{", "}]"))
			}
			if k.Value != nil {
				add(file, name+".*.", k.Value.Keys, k.Value.OneOf, within("{x: {", "}}"))
			}
		}
	}
	block := func(lines string) string { return "{" + lines + "}" }
	add("server.yml", "", ServerKeys(), nil, block)
	add("web.yml", "", ChildKeys(), nil, func(lines string) string { return block(lines + ", output_dir: /o") })
	add("hosts.yml", "", HostsKeys(), nil, block)
	for i, s := range all {
		if s.path == "output_dir" && s.file == "web.yml" {
			all[i].around = func(line string) string { return block("command: x, " + line) }
		}
	}
	return all
}

// read is what the file's parser says of it.
func (s spot) read(line string) error {
	text := []byte(s.around(line))
	var err error
	switch s.file {
	case "server.yml":
		_, err = ParseServer("/s/server.yml", text)
	case "hosts.yml":
		_, err = ParseHosts("/s/hosts.yml", text)
	default:
		_, err = ParseChild("/lp", "/lp/web.yml", text, nil)
	}
	return err
}

func TestKeysDescribeThemselves(t *testing.T) {
	for _, s := range spots() {
		k, at := s.key, s.file+": "+s.path
		check := func(ok bool, what string) {
			if !ok {
				t.Errorf("%s: %s", at, what)
			}
		}
		check(strings.HasPrefix(k.Example, k.Name+": "), "the example is of another key")
		check(k.Doc != "" && len(k.Doc) <= 120 && !strings.Contains(k.Doc, "\n"), "doc is one line")
		check(!strings.HasSuffix(k.Doc, ".") && !strings.HasSuffix(k.More, "."), "no full stop at the end")
		check(!strings.Contains(k.Doc+k.More+k.Default, "|"), "a bar would end the cell of a table")
		check(k.More == "" || strings.ToUpper(k.More[:1]) == k.More[:1], "more is sentences")
		check(!k.Required || k.Default == "", "what is required has no default")
		check(k.has(Scalar) == (k.Kind != ""), "a scalar has a kind")
		check(k.has(List) == (k.Element != nil), "a list has elements")
		check(!k.has(Mapping) || (k.Keys != nil) != (k.Value != nil), "a mapping has keys, or values")
		check((k.Kind == KindChoice || k.Kind == KindVerb || k.Kind == KindBoolean) == (len(k.Values) > 0), "choices have values")
		check(k.Type() != "" && !strings.Contains(k.Type(), "%!"), "it has a type")
	}
}

// What the keys say is legal is, and what they say is not is refused: else what is
// made of them would send people astray.
func TestKeysAreWhatTheParserTakes(t *testing.T) {
	legal := 0
	for _, s := range spots() {
		k := s.key
		takes := func(line string) {
			legal++
			if err := s.read(line); err != nil {
				t.Errorf("%s\nrefused: %v", s.around(line), err)
			}
		}
		refuses := func(value string) {
			if err := s.read(k.Name + ": " + value); err == nil {
				t.Errorf("%s: %s: %s is legal", s.file, s.path, value)
			}
		}
		takes(k.Example)
		if text, ok := k.Literal(); ok {
			takes(k.Name + ": " + text)
		}
		for _, word := range slices.Concat(k.Values, k.Words) {
			takes(k.Name + ": " + word)
		}
		if k.Least != "" {
			takes(k.Name + ": " + k.Least)
			refuses("0")
		}
		switch {
		case k.Max != 0:
			takes(fmt.Sprintf("%s: %d", k.Name, k.Min))
			takes(fmt.Sprintf("%s: %d", k.Name, k.Max))
			refuses(strconv.Itoa(k.Max + 1))
			refuses(strconv.Itoa(k.Min - 1))
		case k.Min != 0:
			refuses(strconv.Itoa(k.Min - 1))
		}
		refuses("~")
		if !k.has(List) {
			refuses("[]")
		} else if k.MinItems > 0 {
			refuses("[]")
		} else {
			takes(k.Name + ": []")
		}
		switch k.Kind {
		case "", KindDuration, KindSize, KindInteger, KindNumber, KindCount, KindProcessors, KindOctal, KindSignal, KindChoice, KindVerb,
			KindBoolean, KindAddress, KindHostPort, KindHook, KindURLPath:
			refuses("nonsense")
		}
		if !k.has(Mapping) {
			refuses("{}")
		} else if k.Keys != nil {
			refuses("{nonsense: 1}")
		}
	}
	if legal < 300 {
		t.Errorf("only %d legal lines were tried", legal)
	}
}
