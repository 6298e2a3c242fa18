package legacy

import (
	"strings"
	"testing"

	"kita/spec"
)

func TestPending(t *testing.T) {
	known := func(name string) (exact, longer bool) {
		switch name {
		case "web", "web2", "alpha":
			return true, false
		case "w", "we", "a", "al", "alph":
			return false, true
		}
		return false, false
	}
	// The body of a key of 2,048 bits, whose last byte may be anything.
	body := strings.Repeat("x", 255) + "\x00"
	tests := []struct {
		packet  string
		encrypt bool
		want    Wait
	}{
		{packet: "", want: Partial},
		{packet: "  ", want: Partial},
		{packet: "s", want: Partial},
		{packet: "sta", want: Partial},
		{packet: "tryst", want: Partial},
		{packet: "sta x", want: Likely},
		{packet: "start", want: Unlikely},
		{packet: "start ", want: Unlikely},
		{packet: "start we", want: Unlikely},
		{packet: "start we ", want: Likely},
		{packet: "start web", want: Likely},
		{packet: "start nobody", want: Likely},
		{packet: "stop a", want: Unlikely},
		{packet: "stop al", want: Unlikely},
		{packet: "stop all", want: Likely},
		{packet: "start web on", want: Unlikely},
		{packet: "start web on x", want: Likely},
		{packet: "check", want: Likely},
		{packet: "check on", want: Unlikely},
		{packet: "check web wi", want: Unlikely},
		{packet: "kill", want: Likely},
		{packet: "start web\n", want: Complete},
		{packet: "\n", want: Complete},
		{packet: "start web\x00\x00", want: Likely},
		{packet: "sta\x00", want: Likely},
		{packet: "garbage", want: Likely},
		{packet: "sta\xff", want: Likely},
		{packet: "ops", encrypt: true, want: Unlikely},
		{packet: "ops;", encrypt: true, want: Unlikely},
		{packet: "ops;\n\x00", encrypt: true, want: Likely},
		{packet: "ops;" + body[:255], encrypt: true, want: Likely},
		{packet: "ops;" + body, encrypt: true, want: Complete},
		{packet: "ops;" + body + "\x00", encrypt: true, want: Likely},
		{packet: "nobody;" + body, encrypt: true, want: Likely},
		{packet: "ops;" + strings.Replace(body, "x", "y", 1), encrypt: true, want: Likely},
		{packet: ";" + body, encrypt: true, want: Likely},
	}
	for _, tt := range tests {
		var opens func(name string, body []byte) bool
		if tt.encrypt {
			opens = func(name string, text []byte) bool { return name == "ops" && string(text) == body }
		}
		if got := Pending([]byte(tt.packet), opens, known); got != tt.want {
			t.Errorf("Pending(%q, %v) = %v, want %v", tt.packet, tt.encrypt, got, tt.want)
		}
	}
}

// The list of operations is the reverse of a switch elsewhere.
func TestOperationsAreTheVerbs(t *testing.T) {
	for _, op := range operations {
		if _, ok := spec.ParseVerb(op); !ok {
			t.Errorf("%q is no verb", op)
		}
	}
	if len(operations) != 20 {
		t.Errorf("%d operations, the table of commands has 20 spellings", len(operations))
	}
}
