// What packages are made with. A module of its own, so that the product's go.mod
// has nothing of it.
module kita/packaging/tools

go 1.26.0

require (
	github.com/CycloneDX/cyclonedx-go v0.12.0
	github.com/santhosh-tekuri/jsonschema/v6 v6.0.3
)

require (
	go.yaml.in/yaml/v3 v3.0.6 // indirect
	golang.org/x/text v0.31.0 // indirect
)
