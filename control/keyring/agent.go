package keyring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// agentTimeout is how long an agent has to list its keys. A signature has no
// limit but its context's: the agent may ask its user first.
const agentTimeout = 5 * time.Second

// openAgent finds the agent's key that the name means.
func openAgent(ctx context.Context, name string) (*Private, error) {
	if name == "" {
		return nil, errors.New("agent: names no key, write agent:NAME with a comment or a fingerprint of `ssh-add -l`")
	}
	socket := os.Getenv("SSH_AUTH_SOCK")
	if socket == "" {
		return nil, fmt.Errorf("agent:%s needs an ssh-agent, and SSH_AUTH_SOCK is not set: eval $(ssh-agent) && ssh-add KEY", name)
	}
	dialer := net.Dialer{Timeout: agentTimeout}
	conn, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("cannot reach the ssh-agent of SSH_AUTH_SOCK: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	signer, err := pickFromAgent(conn, name)
	if err != nil {
		stop()
		_ = conn.Close()
		return nil, err
	}
	return &Private{Name: name, Signer: signer}, nil
}

func pickFromAgent(conn net.Conn, name string) (ssh.MultiAlgorithmSigner, error) {
	if err := conn.SetDeadline(time.Now().Add(agentTimeout)); err != nil {
		return nil, fmt.Errorf("cannot ask the ssh-agent: %w", err)
	}
	client := agent.NewClient(conn)
	begun := time.Now()
	keys, err := client.List()
	switch {
	case err != nil && time.Since(begun) >= agentTimeout:
		// The library's error does not wrap that of the connection.
		return nil, fmt.Errorf("the ssh-agent of SSH_AUTH_SOCK does not list its keys: no answer within %v", agentTimeout)
	case err != nil:
		return nil, fmt.Errorf("cannot list the keys of the ssh-agent: %w", err)
	}
	_ = conn.SetDeadline(time.Time{})
	key, err := pick(keys, name)
	if err != nil {
		return nil, err
	}
	public, err := ssh.ParsePublicKey(key.Blob)
	if err != nil {
		return nil, fmt.Errorf("the ssh-agent's key %s cannot be used: %w", describe(key), err)
	}
	if err := checkKind(public); err != nil {
		return nil, fmt.Errorf("the ssh-agent's key %s cannot be used: %w", describe(key), err)
	}
	return restrict(&agentSigner{client: client, public: public})
}

// pick finds the key of a name. What says more about a key comes first: a
// fingerprint, then a whole comment, then the end of one.
func pick(keys []*agent.Key, name string) (*agent.Key, error) {
	var plain []*agent.Key
	for _, key := range keys {
		// ssh-add adds a key's certificate beside it, under the same comment.
		if !strings.Contains(key.Format, "-cert-v") {
			plain = append(plain, key)
		}
	}
	for _, means := range []func(*agent.Key) bool{
		func(k *agent.Key) bool { return ssh.FingerprintSHA256(k) == name },
		func(k *agent.Key) bool { return k.Comment == name },
		func(k *agent.Key) bool { return strings.TrimSuffix(path.Base(k.Comment), extPEM) == name },
	} {
		var found []*agent.Key
		for _, key := range plain {
			if means(key) {
				found = append(found, key)
			}
		}
		switch len(found) {
		case 0:
			continue
		case 1:
			return found[0], nil
		}
		return nil, fmt.Errorf("agent:%s may mean any of %s, give its fingerprint: agent:SHA256:…", name, describeAll(found))
	}
	if len(plain) == 0 {
		return nil, fmt.Errorf("the ssh-agent has no key %q, it has none at all: ssh-add KEY", name)
	}
	return nil, fmt.Errorf("the ssh-agent has no key %q, it has %s", name, describeAll(plain))
}

func describeAll(keys []*agent.Key) string {
	const most = 20
	var all []string
	for i, key := range keys {
		if i == most {
			all = append(all, fmt.Sprintf("%d more", len(keys)-most))
			break
		}
		all = append(all, describe(key))
	}
	return strings.Join(all, ", ")
}

// describe quotes the comment, which anybody may have written.
func describe(key *agent.Key) string {
	return fmt.Sprintf("%q (%s)", key.Comment, ssh.FingerprintSHA256(key))
}

// agentSigner has the agent sign. That of x/crypto is had only for all keys at
// once, and not at all when one of them is of a kind it does not know.
type agentSigner struct {
	client agent.ExtendedAgent
	public ssh.PublicKey
}

var _ ssh.AlgorithmSigner = (*agentSigner)(nil)

func (s *agentSigner) PublicKey() ssh.PublicKey { return s.public }

func (s *agentSigner) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	if s.public.Type() == ssh.KeyAlgoRSA {
		return s.SignWithAlgorithm(rand, data, ssh.KeyAlgoRSASHA512)
	}
	return s.client.Sign(s.public, data)
}

func (s *agentSigner) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	switch algorithm {
	case ssh.KeyAlgoRSASHA256:
		return s.client.SignWithFlags(s.public, data, agent.SignatureFlagRsaSha256)
	case ssh.KeyAlgoRSASHA512:
		return s.client.SignWithFlags(s.public, data, agent.SignatureFlagRsaSha512)
	case ssh.KeyAlgoRSA:
		return nil, errors.New("signatures with SHA-1 are not made")
	}
	return s.client.Sign(s.public, data)
}
