// Command sbom lists what is in a Go binary, as CycloneDX: the modules that the
// linker noted in it, with the checksums of go.sum, and Go's own library.
//
// The sum of a module is Go's h1: a SHA-256 over the names and sums of its files. It is
// no sum of one file, so it stands among the properties, as "golang:h1", and not among
// the hashes, where a reader would compare it with an archive's. Licences are those that
// the modules' licence files say, all of them where there are several; one that is
// not known by its text is left out.
//
// The same binary gives the same document: its time is that of the binary's file, and
// its serial number comes from the binary's sum.
//
//	sbom [-version V] [-modules FILE] -o DOCUMENT BINARY    (FILE is what `go list -m -json all` says)
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

func main() {
	modules := flag.String("modules", "", "`FILE` with the answer of go list -m -json all, which says where licences are")
	version := flag.String("version", "", "the `VERSION` of the binary")
	out := flag.String("o", "", "write to `DOCUMENT`")
	flag.Parse()
	if flag.NArg() != 1 || *out == "" {
		fmt.Fprintln(os.Stderr, "use: sbom [-version V] [-modules FILE] -o DOCUMENT BINARY")
		os.Exit(2)
	}
	if err := run(flag.Arg(0), *version, *modules, *out); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(binary, version, modules, out string) (err error) {
	where := map[string]string{}
	if modules != "" {
		if where, err = directories(modules); err != nil {
			return err
		}
	}
	bom, err := describe(binary, version, where)
	if err != nil {
		return fmt.Errorf("describe %s: %w", binary, err)
	}
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return cdx.NewBOMEncoder(f, cdx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false).EncodeVersion(bom, cdx.SpecVersion1_6)
}
