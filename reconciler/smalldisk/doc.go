// Package smalldisk has tests run on a small file system of their own, in a mount
// namespace that nobody else sees. Nothing of it is left, however the test ends.
package smalldisk
