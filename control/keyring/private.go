package keyring

import (
	"bytes"
	"context"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
)

// agentPrefix begins the name of a key that the ssh-agent has.
const agentPrefix = "agent:"

// Private is a user's own key. As a signer it never makes the signatures with
// SHA-1 that plain ssh.Signers of RSA keys make.
type Private struct {
	// Name is that of its file without its extension, as old packets give it and
	// as the login of SSH; for a key of the agent the name it was asked for by.
	Name string
	ssh.Signer
	// Warning is what its owner should know: others can read the file.
	Warning string

	// raw is the key itself; nil where only the agent has it.
	raw any
}

var _ ssh.MultiAlgorithmSigner = (*Private)(nil)

// Passphrase returns the passphrase of the file; it is called only where one is
// needed, at most once for each OpenPrivate.
type Passphrase func(file string) ([]byte, error)

// OpenPrivate reads what stands after `with`: a file (PKCS#1, PKCS#8, SEC 1 or
// OpenSSH format; RSA of 2,048 bits or more, Ed25519, ECDSA), or agent:NAME, a
// key of the ssh-agent at $SSH_AUTH_SOCK whose comment, the last part of whose
// comment without .pem, or whose fingerprint is NAME. The agent's connection is
// closed when ctx ends. The errors are one line and name the file.
func OpenPrivate(ctx context.Context, with string, passphrase Passphrase) (*Private, error) {
	if name, ok := strings.CutPrefix(with, agentPrefix); ok {
		return openAgent(ctx, name)
	}
	if with == "" {
		return nil, errors.New("the key has no name: write with FILE or with agent:NAME")
	}
	text, mode, err := readPrivate(with)
	if err != nil {
		return nil, fmt.Errorf("cannot read the key %s: %w", with, reasonOf(err))
	}
	raw, err := parsePrivate(with, text, passphrase)
	if err != nil {
		return nil, fmt.Errorf("the key %s %w", with, err)
	}
	signer, err := newSigner(raw)
	if err != nil {
		return nil, fmt.Errorf("the key %s cannot be used: %w", with, err)
	}
	p := &Private{Name: stem(with), Signer: signer, raw: raw}
	if mode.Perm()&0o077 != 0 {
		p.Warning = fmt.Sprintf("the key %s is open to others than its owner (mode %04o): chmod 600 %s", with, mode.Perm(), quote(with))
	}
	return p, nil
}

// RSA is the key as package crypto/rsa has it, which old packets need; false for
// other kinds and for keys of the agent.
func (p *Private) RSA() (*rsa.PrivateKey, bool) {
	key, ok := p.raw.(*rsa.PrivateKey)
	return key, ok
}

// Algorithms are those of its signatures, the best first.
func (p *Private) Algorithms() []string {
	if multi, ok := p.Signer.(ssh.MultiAlgorithmSigner); ok {
		return multi.Algorithms()
	}
	return nil
}

// SignWithAlgorithm signs with one of Algorithms.
func (p *Private) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	multi, ok := p.Signer.(ssh.MultiAlgorithmSigner)
	if !ok {
		return nil, fmt.Errorf("the key %s cannot choose how it signs", p.Name)
	}
	return multi.SignWithAlgorithm(rand, data, algorithm)
}

// stem is the name of supervisor-rs's client for a file.
func stem(path string) string {
	base := filepath.Base(path)
	if name := strings.TrimSuffix(base, filepath.Ext(base)); name != "" {
		return name
	}
	return base
}

func readPrivate(path string) ([]byte, os.FileMode, error) {
	// Looked at first: opening a FIFO would wait for somebody who writes it.
	if info, err := os.Stat(path); err != nil {
		return nil, 0, err
	} else if !info.Mode().IsRegular() {
		return nil, 0, errors.New("it is no regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err == nil && len(text) > maxKeyFile {
		err = fmt.Errorf("it is longer than %d bytes, a key is not", maxKeyFile)
	}
	return text, info.Mode(), err
}

// parsePrivate returns the key of a file. The errors go on from the file's name.
func parsePrivate(path string, text []byte, passphrase Passphrase) (any, error) {
	block := privateBlock(text)
	if block == nil {
		return nil, notPrivate(text)
	}
	if block.Type == encryptedPKCS8 {
		return parseEncrypted(path, passphrase, func(phrase []byte) (any, error) { return decryptPKCS8(block.Bytes, phrase) })
	}
	alone := pem.EncodeToMemory(block)
	raw, err := ssh.ParseRawPrivateKey(alone)
	var missing *ssh.PassphraseMissingError
	if errors.As(err, &missing) {
		if rounds := roundsOf(block); rounds > maxRounds {
			return nil, fmt.Errorf("asks for %d rounds of its passphrase, at most %d are made: ssh-keygen -p -a 16 -f KEY", rounds, maxRounds)
		}
		return parseEncrypted(path, passphrase, func(phrase []byte) (any, error) {
			raw, err := ssh.ParseRawPrivateKeyWithPassphrase(alone, phrase)
			if err != nil {
				// The format of PEM cannot tell a wrong passphrase from a broken
				// file for certain.
				return nil, errWrongPassphrase
			}
			return raw, nil
		})
	}
	if err != nil {
		return nil, fmt.Errorf("is broken, or of a kind that cannot be read: %w", err)
	}
	return raw, nil
}

// maxRounds bounds the time that a key of OpenSSH can take, to about ten seconds.
// ssh-keygen makes 16 or 24 of its rounds.
const maxRounds = 2000

// roundsOf reads how often the passphrase of a key of OpenSSH is hashed, as its
// PROTOCOL.key has it; 0 for other formats.
func roundsOf(block *pem.Block) uint32 {
	var key struct {
		Cipher, Derivation, Options string
		Rest                        []byte `ssh:"rest"`
	}
	var bcrypt struct {
		Salt   string
		Rounds uint32
	}
	body, ok := bytes.CutPrefix(block.Bytes, []byte("openssh-key-v1\x00"))
	if !ok || ssh.Unmarshal(body, &key) != nil || ssh.Unmarshal([]byte(key.Options), &bcrypt) != nil {
		return 0
	}
	return bcrypt.Rounds
}

var errWrongPassphrase = errors.New("cannot be opened: the passphrase is wrong")

func parseEncrypted(path string, passphrase Passphrase, open func(phrase []byte) (any, error)) (any, error) {
	if passphrase == nil {
		return nil, errors.New("is encrypted, and there is nobody to ask for its passphrase")
	}
	phrase, err := passphrase(path)
	if err != nil {
		return nil, fmt.Errorf("is encrypted: %w", err)
	}
	return open(phrase)
}

// privateBlock is the first private key in PEM; openssl writes the parameters of
// a curve before it.
func privateBlock(text []byte) *pem.Block {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return nil
		}
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return block
		}
		text = rest
	}
}

// notPrivate says what a file holds that has no private key.
func notPrivate(text []byte) error {
	if block, _ := pem.Decode(text); block != nil {
		if strings.HasSuffix(block.Type, "PUBLIC KEY") {
			return errors.New("is a public key, give the private one")
		}
		return fmt.Errorf("is no private key, it holds a %s", block.Type)
	}
	if _, err := parseAuthorizedLine(text); err == nil {
		return errors.New("is a public key, give the private one")
	}
	if strings.HasPrefix(string(text), "PuTTY-User-Key-File-") {
		return errors.New("is one of PuTTY, convert it: puttygen KEY -O private-openssh -o NEW")
	}
	return errors.New("is no private key in PEM or OpenSSH format")
}

// newSigner makes the signer of a key, if it is one that may be used.
func newSigner(raw any) (ssh.MultiAlgorithmSigner, error) {
	signer, err := ssh.NewSignerFromKey(raw)
	if err != nil {
		return nil, errors.New("it is of a kind that cannot be used, make one of RSA, Ed25519 or ECDSA")
	}
	if err := checkKind(signer.PublicKey()); err != nil {
		return nil, err
	}
	able, ok := signer.(ssh.AlgorithmSigner)
	if !ok {
		return nil, errors.New("it cannot choose how it signs")
	}
	return restrict(able)
}

// restrict keeps a signer from SHA-1, with which RSA keys would sign by default.
func restrict(signer ssh.AlgorithmSigner) (ssh.MultiAlgorithmSigner, error) {
	return ssh.NewSignerWithAlgorithms(signer, algorithmsOf(signer.PublicKey()))
}
