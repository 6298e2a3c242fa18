package output

import "sync"

// crew does tasks one after the other, several at once at most. Its goroutines
// are there only while there is something to do.
type crew struct {
	most    int
	running *sync.WaitGroup // of the owner, who waits for it

	mu sync.Mutex
	// tasks and workers are guarded by mu.
	tasks   []func()
	workers int
}

// do has the task done, and returns at once.
func (c *crew) do(task func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tasks = append(c.tasks, task)
	if c.workers < c.most {
		c.workers++
		c.running.Go(c.work)
	}
}

func (c *crew) work() {
	for {
		c.mu.Lock()
		if len(c.tasks) == 0 {
			c.workers--
			c.mu.Unlock()
			return
		}
		task := c.tasks[0]
		c.tasks = c.tasks[1:]
		c.mu.Unlock()
		task()
	}
}
