package legacy

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// Seal makes the packet of a command for a server in encrypt mode:
// NAME;SIGNATURE, where the signature is that of RSA PKCS#1 v1.5 over the bare
// command, without a digest. It is the same each time, so whoever has seen it
// can send it again, and the command in it is no secret: anybody who has the
// public key can read it.
func Seal(name string, key *rsa.PrivateKey, command string) ([]byte, error) {
	switch {
	case name == "" || strings.Contains(name, ";"):
		return nil, fmt.Errorf("a key of the name %q cannot be used in an old packet, the name must not be empty and have no semicolon", name)
	case command == "":
		return nil, errors.New("an old packet cannot have an empty command")
	}
	if most := key.Size() - overhead; len(command) > most {
		return nil, fmt.Errorf("the command is too long for an old packet with this key: it has %d bytes, the limit is %d", len(command), most)
	}
	signature, err := rsa.SignPKCS1v15(nil, key, crypto.Hash(0), []byte(command))
	if err != nil {
		return nil, fmt.Errorf("cannot make an old packet: %w", err)
	}
	return append([]byte(name+";"), signature...), nil
}

// Split takes a packet apart into the name of its key and its body. The errors
// are answers.
func Split(packet []byte) (name string, body []byte, err error) {
	if len(packet) > MaxPacket {
		return "", nil, errTooLong
	}
	before, body, found := bytes.Cut(packet, []byte(";"))
	switch {
	case !found:
		return "", nil, errNoPacket
	case len(before) == 0 || len(body) == 0:
		return "", nil, errEmptyPart
	}
	return string(before), body, nil
}

// Open returns the command in the body of a packet, which only the owner of the
// private half of the key can have made. Without a key, which is an error, it
// works as long as with one, so that the time does not tell which keys there
// are.
func Open(public *rsa.PublicKey, body []byte) (command []byte, err error) {
	signature := new(big.Int).SetBytes(body)
	switch {
	case public == nil:
		_ = power(signature, standIn(len(body)))
		return nil, errNoKey
	case len(body) != public.Size():
		_ = power(signature, standIn(len(body)))
		return nil, fmt.Errorf("the packet's body has %d bytes, with this key it has %d", len(body), public.Size())
	}
	padded := power(signature, public)
	if signature.Cmp(public.N) >= 0 {
		return nil, errOtherKey
	}
	return unpad(padded.FillBytes(make([]byte, len(body))))
}

func power(signature *big.Int, public *rsa.PublicKey) *big.Int {
	return new(big.Int).Exp(signature, big.NewInt(int64(public.E)), public.N)
}

// standIn is no key, but takes as long as one with a body of that size.
func standIn(size int) *rsa.PublicKey {
	one := big.NewInt(1)
	modulus := new(big.Int).Lsh(one, uint(8*min(size, maxBody)))
	return &rsa.PublicKey{N: modulus.Sub(modulus, one), E: 65537}
}

// The padding of type 1 (RFC 8017, 9.2) is 0, 1, eight or more times 255, and 0.
const (
	minPadding = 8
	overhead   = 3 + minPadding
)

var (
	errTooLong   = fmt.Errorf("the request is too long, the limit is %d bytes", MaxPacket)
	errNoPacket  = answerError("Cannot parse encrypt data")
	errEmptyPart = answerError("Keyname or command is empty")
	errNoKey     = errors.New("there is no key to open the packet with")
	errOtherKey  = errors.New("the packet was not made with this key")
)

// answerError is an error in the words of supervisor-rs.
type answerError string

func (e answerError) Error() string { return string(e) }

func unpad(padded []byte) ([]byte, error) {
	rest, ok := bytes.CutPrefix(padded, []byte{0, 1})
	if !ok {
		return nil, errOtherKey
	}
	// Not bytes.TrimLeft, to which all bytes that are no UTF-8 are the same.
	fillers := 0
	for fillers < len(rest) && rest[fillers] == 0xff {
		fillers++
	}
	if fillers < minPadding || fillers == len(rest) || rest[fillers] != 0 {
		return nil, errOtherKey
	}
	return rest[fillers+1:], nil
}
