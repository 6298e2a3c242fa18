package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// describeSelf writes the document of this very program.
func describeSelf(t *testing.T, dir string) string {
	t.Helper()
	binary, modules, document := filepath.Join(dir, "sbom"), filepath.Join(dir, "modules.json"), filepath.Join(dir, "sbom.cdx.json")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	list, err := exec.Command("go", "list", "-m", "-json", "all").Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(modules, list, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(binary, "1.2.3", modules, document); err != nil {
		t.Fatal(err)
	}
	return document
}

func TestDocumentIsCycloneDX(t *testing.T) {
	document := describeSelf(t, t.TempDir())
	schema := compile(t)
	var value any
	read(t, document, &value)
	if err := schema.Validate(value); err != nil {
		t.Errorf("%v", err)
	}
	value.(map[string]any)["components"].([]any)[0].(map[string]any)["type"] = "librarian"
	if schema.Validate(value) == nil {
		t.Error("the schema takes anything")
	}
}

// compile is the schema of CycloneDX, which lies in the module that we write it with.
func compile(t *testing.T) *jsonschema.Schema {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	for _, name := range []string{"bom-1.6.schema.json", "spdx.schema.json", "jsf-0.82.schema.json"} {
		path := filepath.Join(strings.TrimSpace(string(dir)), "schema", name)
		// The module has this one under a misspelt name.
		if _, err := os.Stat(path); err != nil {
			path = strings.Replace(path, ".schema.", ".schemax.", 1)
		}
		var content any
		read(t, path, &content)
		if err := c.AddResource("http://cyclonedx.org/schema/"+name, content); err != nil {
			t.Fatal(err)
		}
	}
	schema, err := c.Compile("http://cyclonedx.org/schema/bom-1.6.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func read(t *testing.T, path string, value any) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(content, value)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func TestDocumentSaysVersionSumAndLicence(t *testing.T) {
	dir := t.TempDir()
	var bom cdx.BOM
	read(t, describeSelf(t, dir), &bom)
	if got := bom.Metadata.Component; got.Version != "1.2.3" || len(*got.Hashes) != 1 {
		t.Errorf("it is about %+v", got)
	}
	for _, c := range *bom.Components {
		if c.Name != "github.com/CycloneDX/cyclonedx-go" {
			continue
		}
		sums, licences := *c.Properties, *c.Licenses
		if !strings.HasPrefix(sums[0].Value, "h1:") || licences[0].License.ID != "Apache-2.0" || c.PackageURL != "pkg:golang/"+c.Name+"@"+c.Version {
			t.Errorf("%+v: %v, %v", c, sums, licences)
		}
		return
	}
	t.Error("the library that writes it is not listed")
}

func TestSameBinarySameDocument(t *testing.T) {
	dir := t.TempDir()
	document := describeSelf(t, dir)
	first, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	if err := run(filepath.Join(dir, "sbom"), "1.2.3", filepath.Join(dir, "modules.json"), document); err != nil {
		t.Fatal(err)
	}
	if second, err := os.ReadFile(document); err != nil || string(first) != string(second) {
		t.Errorf("it differs: %v", err)
	}
}

func TestLicensesIn(t *testing.T) {
	const bsd = "Redistribution and use in source and binary forms are permitted."
	tests := []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"none", nil, nil},
		{"unknown", map[string]string{"LICENSE": "Do as you like."}, nil},
		{"of three clauses", map[string]string{"LICENSE": bsd + " The name may not be used to\nendorse or promote products derived"}, []string{"BSD-3-Clause"}},
		{"of two clauses", map[string]string{"LICENCE.txt": bsd}, []string{"BSD-2-Clause"}},
		{"broken over lines", map[string]string{"LICENSE": "Apache License\n   Version 2.0, January 2004"}, []string{"Apache-2.0"}},
		{"two in one file", map[string]string{"LICENSE": "Permission is hereby granted, free of charge, to any person obtaining a copy\nLicensed under the Apache License, Version 2.0"}, []string{"Apache-2.0", "MIT"}},
		{"two files", map[string]string{"LICENSE": bsd, "COPYING": "Mozilla Public License Version 2.0"}, []string{"BSD-2-Clause", "MPL-2.0"}},
		{"not a licence", map[string]string{"README": "Apache License Version 2.0, January 2004"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for name, content := range tt.files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := licensesIn(dir); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestWhatIsNoGoBinaryIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(path, "", "", path+".json"); err == nil {
		t.Error("a script was described")
	}
	if _, err := os.Stat(path + ".json"); err == nil {
		t.Error("and written about")
	}
}
