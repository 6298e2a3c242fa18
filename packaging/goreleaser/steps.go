package main

import (
	"fmt"

	"github.com/goreleaser/goreleaser/v2/internal/middleware/errhandler"
	"github.com/goreleaser/goreleaser/v2/internal/pipe/archive"
	"github.com/goreleaser/goreleaser/v2/internal/pipe/before"
	"github.com/goreleaser/goreleaser/v2/internal/pipe/build"
	"github.com/goreleaser/goreleaser/v2/internal/pipe/checksums"
	"github.com/goreleaser/goreleaser/v2/internal/pipe/dist"
	"github.com/goreleaser/goreleaser/v2/internal/pipe/effectiveconfig"
	"github.com/goreleaser/goreleaser/v2/internal/pipe/env"
	"github.com/goreleaser/goreleaser/v2/internal/pipe/git"
	"github.com/goreleaser/goreleaser/v2/internal/pipe/gomod"
	"github.com/goreleaser/goreleaser/v2/internal/pipe/metadata"
	"github.com/goreleaser/goreleaser/v2/internal/pipe/nfpm"
	"github.com/goreleaser/goreleaser/v2/internal/pipe/partial"
	"github.com/goreleaser/goreleaser/v2/internal/pipe/prebuild"
	"github.com/goreleaser/goreleaser/v2/internal/pipe/project"
	"github.com/goreleaser/goreleaser/v2/internal/pipe/reportsizes"
	"github.com/goreleaser/goreleaser/v2/internal/pipe/sbom"
	"github.com/goreleaser/goreleaser/v2/internal/pipe/semver"
	"github.com/goreleaser/goreleaser/v2/internal/pipe/snapshot"
	"github.com/goreleaser/goreleaser/v2/pkg/context"
)

// step is one of what goreleaser does one after the other; it calls them pipes.
type step interface {
	fmt.Stringer
	Run(*context.Context) error
}

// steps are those of goreleaser's internal/pipeline that this program has.
var steps = []step{
	dist.CleanPipe{},
	env.Pipe{},
	git.Pipe{},
	semver.Pipe{},
	defaults{},
	partial.Pipe{},
	snapshot.Pipe{},
	before.Pipe{},
	dist.Pipe{},
	metadata.Pipe{},
	metadata.MetaPipe{},
	gomod.Pipe{},
	prebuild.Pipe{},
	gomod.CheckGoModPipe{},
	gomod.ProxyPipe{},
	effectiveconfig.Pipe{},
	build.Pipe{},
	archive.Pipe{},
	nfpm.Pipe{},
	sbom.Pipe{},
	checksums.Pipe{},
	reportsizes.Pipe{},
	metadata.ArtifactsPipe{},
}

// defaulter fills in what the file leaves open.
type defaulter interface {
	fmt.Stringer
	Default(*context.Context) error
}

// defaulters are those of goreleaser's pkg/defaults that this program has.
var defaulters = []defaulter{
	dist.Pipe{},
	snapshot.Pipe{},
	project.Pipe{},
	gomod.Pipe{},
	build.Pipe{},
	archive.Pipe{},
	nfpm.Pipe{},
	checksums.Pipe{},
	sbom.Pipe{},
}

// defaults stands for goreleaser's step of that name, which would bring them all. Its
// addresses of forges are for publishers.
type defaults struct{}

func (defaults) String() string { return "setting defaults" }

func (defaults) Run(ctx *context.Context) error {
	for _, d := range defaulters {
		if err := errhandler.Handle(d.Default)(ctx); err != nil {
			return fmt.Errorf("%s: %w", d, err)
		}
	}
	return nil
}
