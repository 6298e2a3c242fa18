package keyring

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"
)

// The sizes of RSA keys that are used. Below the first a key can be broken;
// beyond the second checking one signature costs a server too much.
const (
	minRSABits = 2048
	maxRSABits = 16384
)

// RSA is the key as package crypto/rsa has it; false for other kinds.
func (k Key) RSA() (*rsa.PublicKey, bool) { return rsaOf(k.Public) }

func rsaOf(public ssh.PublicKey) (*rsa.PublicKey, bool) {
	holder, ok := public.(ssh.CryptoPublicKey)
	if !ok {
		return nil, false
	}
	key, ok := holder.CryptoPublicKey().(*rsa.PublicKey)
	return key, ok
}

// checkKind says why a key must not be used, however it came.
func checkKind(public ssh.PublicKey) error {
	switch kind := public.Type(); kind {
	case ssh.KeyAlgoRSA:
		key, ok := rsaOf(public)
		if !ok {
			return errors.New("it is no RSA key, though it says so")
		}
		return checkRSA(key)
	case ssh.KeyAlgoED25519, ssh.KeyAlgoSKED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521:
		return nil
	default:
		return fmt.Errorf("a key of the kind %s cannot be used, make one of RSA, Ed25519 or ECDSA", kind)
	}
}

func checkRSA(key *rsa.PublicKey) error {
	switch bits := key.N.BitLen(); {
	case bits < minRSABits:
		return fmt.Errorf("an RSA key of %d bits is too weak, make one of %d or more", bits, minRSABits)
	case bits > maxRSABits:
		return fmt.Errorf("an RSA key of %d bits is too long, make one of at most %d", bits, maxRSABits)
	case key.E < 3 || key.E%2 == 0:
		return fmt.Errorf("an RSA key with the exponent %d proves nothing, make another", key.E)
	}
	return nil
}

// algorithmsOf are the algorithms to sign with a key, the best first.
func algorithmsOf(public ssh.PublicKey) []string {
	if public.Type() == ssh.KeyAlgoRSA {
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return []string{public.Type()}
}

// kindName names the kind of a key as ssh-keygen does.
func kindName(public ssh.PublicKey) string {
	switch public.Type() {
	case ssh.KeyAlgoRSA:
		return "RSA"
	case ssh.KeyAlgoED25519:
		return "ED25519"
	case ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521:
		return "ECDSA"
	}
	return public.Type()
}

// parsePublic reads the contents of a file with the extension .pem or .pub. The
// key comes with an error where it is a whole one that must not be used.
func parsePublic(extension string, text []byte) (ssh.PublicKey, error) {
	parse := parsePublicPEM
	if extension == extOpenSSH {
		parse = parseAuthorizedLine
	}
	public, err := parse(text)
	if err != nil {
		return nil, err
	}
	return public, checkKind(public)
}

func parsePublicPEM(text []byte) (ssh.PublicKey, error) {
	block, rest := pem.Decode(text)
	if block == nil {
		if _, err := parseAuthorizedLine(text); err == nil {
			return nil, errors.New("holds a key in the format of OpenSSH, name the file .pub")
		}
		return nil, errors.New("holds no key in PEM format")
	}
	if next, _ := pem.Decode(rest); next != nil {
		return nil, errors.New("holds more than one key, give each a file of its own")
	}
	var key any
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	default:
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return nil, errors.New("holds a private key, only its public half belongs on a server: openssl pkey -in PRIVATE -pubout")
		}
		return nil, fmt.Errorf("holds a %s, not a PUBLIC KEY", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("holds a broken key: %w", err)
	}
	public, err := ssh.NewPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("holds a key of a kind that cannot be used (%T), make one of RSA, Ed25519 or ECDSA", key)
	}
	return public, nil
}

// parseAuthorizedLine reads the one line of an OpenSSH public key. The parser of
// x/crypto passes over lines it cannot read; here they are errors.
func parseAuthorizedLine(text []byte) (ssh.PublicKey, error) {
	var lines [][]byte
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	switch {
	case len(lines) == 0:
		return nil, errors.New("holds no key")
	case bytes.HasPrefix(lines[0], []byte("-----BEGIN ")):
		return nil, errors.New("holds a key in PEM format, name the file .pem")
	case bytes.HasPrefix(lines[0], []byte("---- BEGIN SSH2 ")):
		return nil, errors.New("holds a key in the format of RFC 4716, convert it: ssh-keygen -i -f FILE")
	case len(lines) > 1:
		return nil, errors.New("holds more than one line, give each key a file of its own")
	}
	public, _, options, _, err := ssh.ParseAuthorizedKey(lines[0])
	switch {
	case err != nil:
		return nil, errors.New("holds no key in the format of OpenSSH")
	case len(options) > 0:
		return nil, fmt.Errorf("has options (%s), which are not carried out: take them away, and say in access of server.yml what the key may do", strings.Join(options, ","))
	}
	return public, nil
}
