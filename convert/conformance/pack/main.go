// Command pack packs a folder of test data into a bundle, or takes one apart.
//
//	go run ./convert/conformance/pack DIR OUT.tar.zst
//	go run ./convert/conformance/pack -x BUNDLE.tar.zst NEWDIR
package main

import (
	"errors"
	"log"
	"os"

	"quern/convert/conformance"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("pack: ")
	var err error
	switch args := os.Args[1:]; {
	case len(args) == 3 && args[0] == "-x":
		err = unpack(args[1], args[2])
	case len(args) == 2:
		err = pack(args[0], args[1])
	default:
		err = errors.New("usage: pack DIR OUT.tar.zst | pack -x BUNDLE.tar.zst NEWDIR")
	}
	if err != nil {
		log.Fatal(err)
	}
}

func pack(dir, out string) error {
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	return errors.Join(conformance.Pack(f, os.DirFS(dir)), f.Close())
}

func unpack(bundle, dir string) error {
	tree, err := conformance.OpenBundle(bundle)
	if err != nil {
		return err
	}
	return os.CopyFS(dir, tree)
}
