package main

import (
	"context"
	"path/filepath"
	"strings"

	"quern/pipeline"
	"quern/stages/attest"
	"quern/stages/record"
	"quern/stages/source"

	"github.com/google/renameio/v2"
	"github.com/urfave/cli/v2"
)

// What stands beside a file, after its name.
const (
	statementSuffix = ".intoto.json"
	bundleSuffix    = ".sigstore.json"
)

func attestCommand() *cli.Command {
	return &cli.Command{
		Name: "attest", Category: groupLook, ArgsUsage: "FILE|DIR", Usage: "say to other programs what a receipt says: in-toto statement with SLSA provenance, signed on request",
		Description: "Verifies the files first, then writes FILE" + statementSuffix + ", and with --key also FILE" + bundleSuffix + ", a Sigstore bundle. Nothing is sent anywhere.\n" +
			"openssl genpkey -algorithm ed25519 -out key.pem makes a key; openssl pkey -in key.pem -pubout -out key.pub its public half.",
		Flags:  []cli.Flag{dryRunFlag(), &cli.StringFlag{Name: "key", Usage: "sign with the private key in `FILE` (PEM: Ed25519 or ECDSA P-256)"}},
		Action: action(1, 1, attestFiles),
	}
}

// attested is a written statement: the "attested" result of --json.
type attested struct {
	Statement string `json:"statement"`
	Bundle    string `json:"bundle,omitempty"`
}

// attestFiles makes a statement for each receipt and signs it where a key is given. A receipt that its file contradicts is
// not attested: a signature would say what nobody checked.
func attestFiles(ctx context.Context, c *cli.Context, o *output) error {
	receipts, err := record.Receipts(c.Args().First())
	if err != nil {
		return err
	}
	for _, path := range receipts {
		_, r, err := record.Verify(ctx, path, o) // nothing is attested that is not so
		if err != nil {
			return err
		}
		digest, _, err := source.SumFile(ctx, path)
		if err != nil {
			return err
		}
		statement, err := attest.Statement(r, filepath.Base(path), digest)
		if err != nil {
			return err
		}
		base := strings.TrimSuffix(path, record.Suffix)
		done := attested{Statement: base + statementSuffix}
		files := map[string][]byte{done.Statement: statement}
		if key := c.String("key"); key != "" {
			done.Bundle = base + bundleSuffix
			if files[done.Bundle], err = attest.Sign(ctx, statement, key); err != nil {
				return err
			}
		}
		for name, b := range files {
			if c.Bool("dry-run") {
				continue
			}
			if err := renameio.WriteFile(name, append(b, '\n'), 0o644); err != nil {
				return err
			}
		}
		o.Emit(pipeline.Result{Type: "attested", Data: done})
		o.printf("attested %s\n", strings.TrimSuffix(done.Statement+" + "+done.Bundle, " + "))
	}
	return nil
}

// signed is a bundle whose signature and subjects hold: the "signed" result of --json.
type signed struct {
	Bundle string `json:"bundle"`
	Key    string `json:"key"` // the file of the public key
}

// verifySigned checks the bundle beside a file: the signature by the public key, and that it is about the receipt's files.
func verifySigned(ctx context.Context, receipt, key string, r *record.Receipt, o *output) error {
	bundle := strings.TrimSuffix(receipt, record.Suffix) + bundleSuffix
	statement, err := attest.Open(ctx, bundle, key)
	if err != nil {
		return err
	}
	if err := attest.Covers(statement, r); err != nil {
		return err
	}
	o.Emit(pipeline.Result{Type: "signed", Data: signed{bundle, key}})
	o.printf("signed   %s\n", bundle)
	return nil
}
