package legacy_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"kita/control/legacy"
)

// vectors are packets that the client of supervisor-rs 0.8.5 really sent.
type vectors struct {
	PublicKeys map[string]string `json:"public_keys"`
	Packets    []struct {
		Key     string `json:"key"`
		Command string `json:"command"`
		Hex     string `json:"packet_hex"`
	} `json:"packets"`
}

func readVectors(t testing.TB) vectors {
	t.Helper()
	text, err := os.ReadFile("testdata/packets.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v vectors) public(t testing.TB, name string) *rsa.PublicKey {
	t.Helper()
	block, _ := pem.Decode([]byte(v.PublicKeys[name]))
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key.(*rsa.PublicKey)
}

func TestPacketsOfTheOldClientOpen(t *testing.T) {
	v := readVectors(t)
	endsInZero := false
	for _, p := range v.Packets {
		packet, err := hex.DecodeString(p.Hex)
		if err != nil {
			t.Fatal(err)
		}
		endsInZero = endsInZero || packet[len(packet)-1] == 0
		name, body, err := legacy.Split(packet)
		if err != nil || name != p.Key {
			t.Fatalf("%s: %q, %v", p.Command, name, err)
		}
		command, err := legacy.Open(v.public(t, name), body)
		if err != nil || string(command) != p.Command {
			t.Errorf("%s: %q, %v", p.Command, command, err)
		}
		for other := range v.PublicKeys {
			if _, err := legacy.Open(v.public(t, other), body); (err == nil) != (other == name) {
				t.Errorf("%s of %s with %s: %v", p.Command, name, other, err)
			}
		}
	}
	if len(v.Packets) < 20 || !endsInZero {
		t.Errorf("%d packets, one that ends in 0: %v", len(v.Packets), endsInZero)
	}
}

func openssl(t *testing.T, input []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "openssl", args...)
	cmd.Stdin = bytes.NewReader(input)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return out
}

func TestPacketsAreThoseOfOpenSSL(t *testing.T) {
	for _, bits := range []int{2048, 2056, 3072} {
		file := filepath.Join(t.TempDir(), "ops.pem")
		openssl(t, nil, "genrsa", "-out", file, fmt.Sprint(bits))
		key := readKey(t, file)
		sign := func(command string) []byte {
			return openssl(t, []byte(command), "pkeyutl", "-sign", "-inkey", file, "-pkeyopt", "rsa_padding_mode:pkcs1")
		}
		// Without -rawin, which hashes, pkeyutl takes 64 bytes at most.
		commands := []string{"check", "start web", "stop é", "x", strings.Repeat("y", 64)}
		if bits == 2048 {
			commands = append(commands, endingInZero(t, key))
		}
		for _, command := range commands {
			packet, err := legacy.Seal("ops", key, command)
			if err != nil {
				t.Fatal(err)
			}
			if want := append([]byte("ops;"), sign(command)...); !bytes.Equal(packet, want) {
				t.Errorf("%d bits, %q: %x, want %x", bits, command, packet, want)
			}
			if got, err := legacy.Open(&key.PublicKey, packet[len("ops;"):]); err != nil || string(got) != command {
				t.Errorf("%d bits: %q opens as %q, %v", bits, command, got, err)
			}
		}
	}
}

func readKey(t *testing.T, file string) *rsa.PrivateKey {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key.(*rsa.PrivateKey)
}

// endingInZero finds a command whose packet ends in a 0, which the old server
// took for padding.
func endingInZero(t *testing.T, key *rsa.PrivateKey) string {
	t.Helper()
	for i := range 10_000 {
		command := fmt.Sprintf("check n%d", i)
		packet, err := legacy.Seal("ops", key, command)
		if err != nil {
			t.Fatal(err)
		}
		if packet[len(packet)-1] == 0 {
			return command
		}
	}
	t.Fatal("no command's packet ends in 0")
	return ""
}

func newKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestSealRefuses(t *testing.T) {
	key := newKey(t)
	for _, tt := range []struct{ name, command, want string }{
		{"", "check", "the name must not be empty"},
		{"a;b", "check", "no semicolon"},
		{"ops", "", "empty command"},
		{"ops", strings.Repeat("x", 246), "it has 246 bytes, the limit is 245"},
	} {
		if _, err := legacy.Seal(tt.name, key, tt.command); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q, %.9q: %v, want %q", tt.name, tt.command, err, tt.want)
		}
	}
}

// raw is the private operation on bytes padded by the test.
func raw(key *rsa.PrivateKey, padded []byte) []byte {
	m := new(big.Int).SetBytes(padded)
	return m.Exp(m, key.D, key.N).FillBytes(make([]byte, key.Size()))
}

func TestOpenIsStrictAboutThePadding(t *testing.T) {
	key := newKey(t)
	pad := func(head string, filler byte, fillers int, rest string) []byte {
		padded := append([]byte(head), bytes.Repeat([]byte{filler}, fillers)...)
		return append(padded, rest...)
	}
	fill := 256 - 2 - len("\x00check")
	tests := []struct {
		name   string
		padded []byte
		ok     bool
	}{
		{"longest command", pad("\x00\x01", 0xff, 8, "\x00"+strings.Repeat("x", 245)), true},
		{"right", pad("\x00\x01", 0xff, fill, "\x00check"), true},
		{"empty command", pad("\x00\x01", 0xff, 253, "\x00"), true},
		{"seven fillers", pad("\x00\x01", 0xff, 7, "\x00"+strings.Repeat("x", 246)), false},
		{"no fillers", pad("\x00\x01", 0xff, 0, "\x00"+strings.Repeat("x", 253)), false},
		{"type 2", pad("\x00\x02", 0xff, fill, "\x00check"), false},
		{"type 0", pad("\x00\x00", 0xff, fill, "\x00check"), false},
		{"other fillers", pad("\x00\x01", 0xfe, fill, "\x00check"), false},
		{"a filler amiss", append(pad("\x00\x01", 0xff, fill-1, "\xfe"), "\x00check"...), false},
		{"no end", pad("\x00\x01", 0xff, 254, ""), false},
		{"end amiss", pad("\x00\x01", 0xff, fill, "\x01check"), false},
		{"a first byte", pad("\x01\x01", 0xff, fill, "\x00check"), false},
	}
	for _, tt := range tests {
		command, err := legacy.Open(&key.PublicKey, raw(key, tt.padded))
		if (err == nil) != tt.ok {
			t.Errorf("%s: %q, %v", tt.name, command, err)
		}
	}
	for _, body := range [][]byte{nil, {0}, make([]byte, 255), make([]byte, 256), make([]byte, 257), bytes.Repeat([]byte{0xff}, 256), key.N.Bytes()} {
		if command, err := legacy.Open(&key.PublicKey, body); err == nil {
			t.Errorf("%d bytes open as %q", len(body), command)
		}
		if command, err := legacy.Open(nil, body); err == nil {
			t.Errorf("without a key %d bytes open as %q", len(body), command)
		}
	}
	// A 0 in front is no other spelling of the same packet.
	packet, err := legacy.Seal("ops", key, "check")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := legacy.Open(&key.PublicKey, append([]byte{0}, packet[4:]...)); err == nil {
		t.Error("a longer body opens")
	}
}

func TestOpenedPacketsAreAnswered(t *testing.T) {
	const line = "Running on encrypt mode, need to dencrypt your command.\n"
	open := func(name string, body []byte) ([]byte, string, error) {
		if name != "ops" {
			return nil, "", fmt.Errorf("secret")
		}
		return body, "old:ops@10.0.0.7", nil
	}
	for packet, want := range map[string]string{
		"ops;stop a":   line + "stop a success",
		"ops;stop b":   line + "b not exsit, cannot stop",
		"ops;garbage":  line + "no legal operations input",
		"ops;kill":     line + "I am dying. last error: \n",
		"ops;check x":  line + "==Check Results Below==\n",
		"ann;stop a":   line + "Cannot found 'ann' file in keys path",
		"\xff;stop a":  line + "Cannot found '\uFFFD' file in keys path",
		"stop a":       line + "Cannot parse encrypt data",
		";stop a":      line + "Keyname or command is empty",
		"ops;":         line + "Keyname or command is empty",
		"ops;start; b": line + "no legal operations input",
	} {
		s := fleetOfFour()
		answer, kill := legacy.Answer(t.Context(), s, []byte(packet), legacy.Options{Encrypt: true, Open: open, By: "nobody"})
		if string(answer) != want || kill != (packet == "ops;kill") {
			t.Errorf("%q: answer %q, kill %v", packet, answer, kill)
		}
		for _, c := range s.Commands() {
			if c.By != "old:ops@10.0.0.7" {
				t.Errorf("%q is by %s", packet, c.By)
			}
		}
	}
}

func FuzzPacket(f *testing.F) {
	v := readVectors(f)
	for _, p := range v.Packets {
		packet, err := hex.DecodeString(p.Hex)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packet)
	}
	f.Add([]byte("ops;"))
	f.Add([]byte(";x"))
	public := map[string]*rsa.PublicKey{"k2048": v.public(f, "k2048"), "k4096": v.public(f, "k4096")}
	signed := map[string]bool{}
	for _, p := range v.Packets {
		signed[p.Key+" "+p.Command] = true
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		name, body, err := legacy.Split(packet)
		if err != nil {
			return
		}
		if name == "" || len(body) == 0 {
			t.Errorf("%q splits into nothing", packet)
		}
		for keyName, key := range public {
			command, err := legacy.Open(key, body)
			if err == nil && !signed[keyName+" "+string(command)] {
				t.Errorf("%q opens with %s, and nobody signed it", command, keyName)
			}
		}
	})
}

// BenchmarkOpen shows that a packet takes as long whether its key exists or not.
func BenchmarkOpen(b *testing.B) {
	public := func(size int) *rsa.PublicKey {
		n := new(big.Int).SetBytes(bytes.Repeat([]byte{0xa5}, size))
		return &rsa.PublicKey{N: n, E: 65537}
	}
	body := bytes.Repeat([]byte{0x5a}, 512)
	for name, key := range map[string]*rsa.PublicKey{"another key": public(512), "another size": public(256), "no key": nil} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := legacy.Open(key, body); err == nil {
					b.Fatal("it opens")
				}
			}
		})
	}
}
