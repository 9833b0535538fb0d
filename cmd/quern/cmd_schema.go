package main

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"quern/pipeline"
	"quern/pipeline/batch/manifest"

	"github.com/urfave/cli/v2"
)

// schemaFiles are the forms of what the program writes. All but the statement's are made from the program's types by
// `go test ./cmd/quern -run TestHouseSchemas -update`.
//
//go:embed schema/*.schema.json
var schemaFiles embed.FS

const schemaSuffix = ".schema.json"

// schemaLine is a schema by name: the "schema" result of --json.
type schemaLine struct {
	Name  string `json:"name"`
	ID    string `json:"id"` // its version is the last part
	Title string `json:"title"`
}

func schemaCommand() *cli.Command {
	return &cli.Command{
		Name: "schema", Category: groupLook, ArgsUsage: "[NAME]", Usage: "the JSON Schemas of what quern writes and of manifests; with NAME one of them",
		Action: action(0, 1, printSchemas),
	}
}

func printSchemas(_ context.Context, c *cli.Context, o *output) error {
	all, err := schemaNames()
	if err != nil {
		return err
	}
	if c.NArg() == 0 {
		for _, s := range all {
			o.Emit(pipeline.Result{Type: "schema", Data: s})
			o.printf("%-10s %s\n", s.Name, s.Title)
		}
		return nil
	}
	name := c.Args().First()
	if name == "manifest" {
		o.raw(manifest.Schema)
		return nil
	}
	b, err := schemaFiles.ReadFile("schema/" + path.Base(name) + schemaSuffix)
	if err != nil {
		return usagef("`quern schema` lists them", "there is no schema %q", name)
	}
	o.raw(b)
	return nil
}

// schemaNames lists the schemas in the order of their names, the manifest's last.
func schemaNames() ([]schemaLine, error) {
	files, err := schemaFiles.ReadDir("schema")
	if err != nil {
		return nil, err
	}
	var all []schemaLine
	add := func(name string, b []byte) error {
		var head struct {
			ID    string `json:"$id"`
			Title string `json:"title"`
		}
		if err := json.Unmarshal(b, &head); err != nil {
			return fmt.Errorf("schema %s: %w", name, err)
		}
		all = append(all, schemaLine{name, head.ID, head.Title})
		return nil
	}
	for _, f := range files {
		b, err := schemaFiles.ReadFile("schema/" + f.Name())
		if err != nil {
			return nil, err
		}
		if err := add(strings.TrimSuffix(f.Name(), schemaSuffix), b); err != nil {
			return nil, err
		}
	}
	return all, add("manifest", manifest.Schema)
}
