package arch

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"quern/convert/config"
)

// TestTorchSine compares whole tables of positions with those that torch 2.6 on x86-64 makes, by their digests.
func TestTorchSine(t *testing.T) {
	values := 0
	for width, want := range map[int64]string{
		64:   "6bc89347f025908a91b752148fc0459e5ab03e3d4d02a6bbaf4e73fe55d96f58",
		896:  "f19ee282b78caff30e2b56336c717e69ab5f30f5bfe5daf92188e8d0f922a36e",
		1024: "073cb4d5ea3171abc96e9111ee28afb75f461a7b04f2d3ceef28ded059c8ecc7",
		1280: "7eb985815cc7998752674ed0b71a2b1dae51953e30b5958336b8ab608ca81f25",
	} {
		b := &Build{Env: &Env{part: audioPart, Config: config.Object{"hidden_size": width}}, ctx: t.Context()}
		items, err := sinusoids.Make(b)
		if err != nil {
			t.Fatal(err)
		}
		v := items[0].View
		table := make([]byte, v.Rows()*v.RowBytes())
		if err := v.ReadRows(t.Context(), table, 0, v.Rows()); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%x", sha256.Sum256(table)); got != want {
			t.Errorf("%d channels: %s, torch has %s", width, got, want)
		}
		values += len(table) / 4
	}
	t.Logf("count: %d sines and cosines equal torch's", values)
}
