package pump

import (
	"os"
	"path/filepath"
)

// Renew replaces a pump that a later server would not find, as somebody has removed
// its files from the run directory. It goes on with what that one leaves: the FIFOs
// have no names any more, but are open here.
func (c *Client) Renew() {
	c.connecting.Lock()
	defer c.connecting.Unlock()
	p := c.current()
	if p == nil || c.isFound(p) {
		return
	}
	c.log.Warn("the files of the pump were removed, another one takes over", "pid", p.pid)
	c.endPump(p)
	if err := c.connect(c.needed()); err != nil {
		c.log.Error("there is no pump, another try follows", "err", err)
		c.connectLater()
	}
}

// isFound tells whether a server that begins now would find p.
func (c *Client) isFound(p *peer) bool {
	log, err := os.OpenFile(c.logPath(), os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer log.Close()
	pid, err := lockedBy(log)
	if err != nil || pid != p.pid {
		return false
	}
	_, err = os.Lstat(filepath.Join(c.o.RunDir, socketName))
	return err == nil
}
