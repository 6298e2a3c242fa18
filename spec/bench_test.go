package spec

import (
	"fmt"
	"path/filepath"
	"testing"
)

const crowd = 10000

func crowdOf(b *testing.B) (*Catalogue, string) {
	b.Helper()
	dir := b.TempDir()
	for i := range crowd {
		write(b, filepath.Join(dir, fmt.Sprintf("c%05d.yml", i)), "command: ./stamp\nrestart: always\n")
	}
	c := NewCatalogue()
	c.SetPaths([]string{dir}, nil)
	return c, dir
}

// BenchmarkRefreshCold reads 10,000 files for the first time.
func BenchmarkRefreshCold(b *testing.B) {
	_, dir := crowdOf(b)
	b.ReportAllocs()
	for b.Loop() {
		c := NewCatalogue()
		c.SetPaths([]string{dir}, nil)
		c.Refresh()
	}
}

// BenchmarkRefresh looks at 10,000 files that have not changed.
func BenchmarkRefresh(b *testing.B) {
	c, _ := crowdOf(b)
	c.Refresh()
	b.ReportAllocs()
	for b.Loop() {
		c.Refresh()
	}
}

// BenchmarkFresh is a command's look at its file among 10,000.
func BenchmarkFresh(b *testing.B) {
	c, _ := crowdOf(b)
	c.Refresh()
	b.ReportAllocs()
	for b.Loop() {
		c.Fresh("c05000")
	}
}
