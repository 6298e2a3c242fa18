package keyring

import (
	"net"
	"testing"
	"testing/synctest"
)

// TestAnAgentThatHangs is told as one, in words.
func TestAnAgentThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer ours.Close()
		defer theirs.Close()
		_, err := pickFromAgent(ours, "ops")
		if err == nil || err.Error() != "the ssh-agent of SSH_AUTH_SOCK does not list its keys: no answer within 5s" {
			t.Errorf("%v", err)
		}
	})
}
