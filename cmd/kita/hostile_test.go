package main

import (
	"bytes"
	"context"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	"kita/control/controltest"
	"kita/control/fleet"
	"kita/spec"
)

// evil begins a colour, once as ESC and once as the one rune that means the same.
const evil = "\x1b[31m\u009b31m"

// poison puts evil into every text of v.
func poison(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(v.String() + evil)
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		poison(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && v.Type() != reflect.TypeFor[time.Time]() {
				poison(v.Field(i))
			}
		}
	case reflect.Slice:
		if v.Len() == 0 {
			v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		}
		for i := range v.Len() {
			poison(v.Index(i))
		}
	default:
	}
}

// TestNothingOfAHostActsOnTheTerminal: whatever text it is in.
func TestNothingOfAHostActsOnTheTerminal(t *testing.T) {
	p := &program{now: func() time.Time { return controltest.Started }}
	var (
		views = exampleViews()
		info  spec.Info
		b     bytes.Buffer
	)
	poison(reflect.ValueOf(&views).Elem())
	poison(reflect.ValueOf(&info).Elem())
	for _, v := range views {
		if err := p.writeDetail(&b, detail{view: v}, ""); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{p.writeTable(&b, views, false, ""), p.writeTable(&b, views, true, ""), p.writeInfo(&b, info, "")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := writeOldAnswer(&b, fleet.Local, "child name: web\n\tpid 7 "+evil+"\r\n"); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "\n\tpid 7 \\x1b[31m\\u009b31m\\r\n") {
		t.Errorf("an old answer is %q", b.String())
	}
	for line := range strings.Lines(b.String()) {
		if strings.ContainsFunc(line, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }) {
			t.Errorf("%q", line)
		}
	}
}

// TestNoLineOfAHostLooksLikeKitas: neither in what it refuses nor in what it
// warns of.
func TestNoLineOfAHostLooksLikeKitas(t *testing.T) {
	const text = "one\nkita: 127.0.0.1: all is well"
	svc := controltest.New(controltest.Child("web"))
	svc.InfoValue = spec.Info{Problems: []string{text}}
	svc.DoFunc = func(context.Context, spec.Command) (spec.Outcome, error) {
		return spec.Outcome{}, spec.Refuse(spec.InvalidFile, "", "", text)
	}
	server := serveFake(t, svc).socket
	for _, tt := range []struct{ args, want string }{
		{"start web", "kita: one\nkita:   kita: 127.0.0.1: all is well\n"},
		{"check", "kita: warning: one\nkita:   kita: 127.0.0.1: all is well\n"},
	} {
		if _, _, stderr := kita(server, strings.Fields(tt.args)...); stderr != tt.want {
			t.Errorf("%s: %q, want %q", tt.args, stderr, tt.want)
		}
	}
}
