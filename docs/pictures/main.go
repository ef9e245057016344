// Pictures draws the pictures of the documentation. In the repository's root:
//
//	go run ./docs/pictures
//
// dataflow.go and rotation.go describe one picture each. A test fails if an SVG file beside them is
// not the one that they describe.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// folder has the SVG files, seen from the repository's root.
const folder = "docs/pictures"

// pictures are the funcs that draw, by name of the file.
var pictures = map[string]func() string{
	"data-flow.svg": dataFlow,
	"rotation.svg":  rotation,
}

func main() {
	for name, draw := range pictures {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(draw()), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}
