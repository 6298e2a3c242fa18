// Package schema makes JSON Schemas (draft 2020-12) of what package spec says of
// its keys, for editors and for checks that know nothing of kita. The ones in the
// directory schema are made here.
//
// A schema accepts every file that spec's parser accepts. It refuses most of what
// the parser refuses, and not all: docs/files.md says what a schema cannot say.
package schema
