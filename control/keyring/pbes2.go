package keyring

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"hash"
)

// encryptedPKCS8 is the PEM type of what OpenSSL 3 writes for an encrypted key.
const encryptedPKCS8 = "ENCRYPTED PRIVATE KEY"

// maxIterations bounds the time that a file can take, to a few seconds. OpenSSL
// writes 2,048, password managers up to a million.
const maxIterations = 5_000_000

// The object identifiers of RFC 8018, appendix C, and of NIST's AES.
var (
	oidPBES2  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
)

type pbes2Info struct {
	Algorithm pkix.AlgorithmIdentifier
	Encrypted []byte
}

type pbes2Params struct {
	Derivation pkix.AlgorithmIdentifier
	Cipher     pkix.AlgorithmIdentifier
}

type pbkdf2Params struct {
	Salt       []byte
	Iterations int
	KeyLength  int                      `asn1:"optional"`
	PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
}

// errForeignCipher: there are older and rarer ways to encrypt a key.
var errForeignCipher = errors.New("is encrypted in a way that is not understood, convert it: openssl pkcs8 -topk8 -v2 aes-256-cbc -in KEY -out NEW")

// decryptPKCS8 opens an EncryptedPrivateKeyInfo (RFC 5208) of PBES2 with PBKDF2
// (RFC 8018). The errors go on from the file's name.
func decryptPKCS8(der, phrase []byte) (any, error) {
	var info pbes2Info
	if rest, err := asn1.Unmarshal(der, &info); err != nil || len(rest) > 0 {
		return nil, errors.New("is broken: it is no EncryptedPrivateKeyInfo")
	}
	var params pbes2Params
	if !info.Algorithm.Algorithm.Equal(oidPBES2) || !unmarshal(info.Algorithm, &params) || !params.Derivation.Algorithm.Equal(oidPBKDF2) {
		return nil, errForeignCipher
	}
	newCipher, keyLength, ok := cipherOf(params.Cipher)
	var iv []byte
	if !ok || !unmarshal(params.Cipher, &iv) {
		return nil, errForeignCipher
	}
	key, err := derive(params.Derivation, phrase, keyLength)
	if err != nil {
		return nil, err
	}
	block, err := newCipher(key)
	if err != nil {
		return nil, fmt.Errorf("cannot be opened: %w", err)
	}
	size := block.BlockSize()
	if len(iv) != size || len(info.Encrypted) == 0 || len(info.Encrypted)%size != 0 {
		return nil, errors.New("is broken: the lengths of its encrypted parts do not fit")
	}
	plain := make([]byte, len(info.Encrypted))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, info.Encrypted)
	plain, ok = unpad(plain, size)
	if !ok {
		return nil, errWrongPassphrase
	}
	raw, err := x509.ParsePKCS8PrivateKey(plain)
	if err != nil {
		return nil, errWrongPassphrase
	}
	return raw, nil
}

// unmarshal reads the parameters of an algorithm.
func unmarshal(a pkix.AlgorithmIdentifier, into any) bool {
	rest, err := asn1.Unmarshal(a.Parameters.FullBytes, into)
	return err == nil && len(rest) == 0
}

func cipherOf(a pkix.AlgorithmIdentifier) (newCipher func([]byte) (cipher.Block, error), keyLength int, ok bool) {
	switch a.Algorithm.String() {
	case "2.16.840.1.101.3.4.1.2":
		return aes.NewCipher, 16, true
	case "2.16.840.1.101.3.4.1.22":
		return aes.NewCipher, 24, true
	case "2.16.840.1.101.3.4.1.42":
		return aes.NewCipher, 32, true
	case "1.2.840.113549.3.7":
		return des.NewTripleDESCipher, 24, true
	}
	return nil, 0, false
}

func derive(a pkix.AlgorithmIdentifier, phrase []byte, keyLength int) ([]byte, error) {
	var params pbkdf2Params
	if !unmarshal(a, &params) {
		return nil, errForeignCipher
	}
	newHash, ok := hashOf(params.PRF)
	if !ok || params.KeyLength != 0 && params.KeyLength != keyLength {
		return nil, errForeignCipher
	}
	if params.Iterations < 1 || params.Iterations > maxIterations {
		return nil, fmt.Errorf("asks for %d iterations of its passphrase, at most %d are made", params.Iterations, maxIterations)
	}
	key, err := pbkdf2.Key(newHash, string(phrase), params.Salt, params.Iterations, keyLength)
	if err != nil {
		return nil, fmt.Errorf("cannot be opened: %w", err)
	}
	return key, nil
}

func hashOf(prf pkix.AlgorithmIdentifier) (func() hash.Hash, bool) {
	switch prf.Algorithm.String() {
	case "", "1.2.840.113549.2.7":
		// The default of RFC 8018, and of OpenSSL before 1.1.
		return sha1.New, true
	case "1.2.840.113549.2.9":
		return sha256.New, true
	case "1.2.840.113549.2.10":
		return sha512.New384, true
	case "1.2.840.113549.2.11":
		return sha512.New, true
	}
	return nil, false
}

// unpad takes the padding of RFC 8018, 6.1.1, away; it is wrong almost always
// when the passphrase is.
func unpad(plain []byte, size int) ([]byte, bool) {
	n := int(plain[len(plain)-1])
	if n == 0 || n > size || n > len(plain) {
		return nil, false
	}
	body, padding := plain[:len(plain)-n], plain[len(plain)-n:]
	return body, bytes.Equal(padding, bytes.Repeat([]byte{byte(n)}, n))
}
