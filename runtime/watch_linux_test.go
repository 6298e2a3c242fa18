package runtime

import "testing"

// TestAProcessIsClosedWhileSomebodyBeginsToWait has both meet at every step.
func TestAProcessIsClosedWhileSomebodyBeginsToWait(t *testing.T) {
	for range 20_000 {
		p := &process{}
		go p.close()
		<-p.ending()
	}
}
