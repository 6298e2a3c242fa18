//go:build !linux

package store

func holderOfRemoved(string) int { return 0 }
