package hfclient

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"quern/hfclient/hubtest"
)

// shard makes a safetensors file of tensors with the given sizes.
func shard(seed byte, sizes ...int) []byte {
	header := map[string]any{"__metadata__": map[string]string{"format": "pt"}}
	at := 0
	for i, n := range sizes {
		header[fmt.Sprintf("t%d", i)] = map[string]any{"dtype": "U8", "shape": []int{n}, "data_offsets": []int{at, at + n}}
		at += n
	}
	data, _ := json.Marshal(header)
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(data)))
	return append(append(out, data...), noise(at, seed)...)
}

func remoteFixture(t *testing.T, files fstest.MapFS) (*hubtest.Hub, *Client, *Revision) {
	hub := hubtest.New()
	t.Cleanup(hub.Close)
	hub.Add("acme/tiny", files)
	c := testClient(t, hub)
	rev, err := c.Resolve(t.Context(), "acme/tiny", "main")
	if err != nil {
		t.Fatal(err)
	}
	return hub, c, rev
}

// A plan of 160 shards fetches headers and small files alone; the second plan of the commit fetches nothing.
func TestPlanWithoutWeights(t *testing.T) {
	files := fstest.MapFS{"config.json": {Data: []byte("{}")}, "tokenizer.json": {Data: noise(50_000, 3)}}
	weights := map[string]string{}
	heads := int64(0)
	for i := range 160 {
		name := fmt.Sprintf("model-%05d-of-00160.safetensors", i+1)
		data := shard(byte(i), 20_000, 1_000)
		heads += headEnd(data, int64(len(data)))
		files[name] = &fstest.MapFile{Data: data}
		weights[fmt.Sprint(i)] = name
	}
	index, _ := json.Marshal(map[string]any{"weight_map": weights})
	files["model.safetensors.index.json"] = &fstest.MapFile{Data: index}
	hub, c, rev := remoteFixture(t, files)
	for _, round := range []string{"first", "second"} {
		hub.Forget()
		choice, err := c.Choose(t.Context(), rev, Want{})
		if err != nil || len(choice.Weights) != 160 {
			t.Fatal(err, len(choice.Weights))
		}
		src := c.FS(t.Context(), rev)
		if err := src.Warm(t.Context(), choice.Files()); err != nil {
			t.Fatal(err)
		}
		served := int64(0)
		for _, w := range choice.Weights {
			f, err := src.Open(w.Path)
			if err != nil {
				t.Fatal(err)
			}
			data := files[w.Path].Data
			got := make([]byte, headEnd(data, w.Size))
			if _, err := f.(io.ReaderAt).ReadAt(got, 0); err != nil || !bytes.Equal(got, data[:len(got)]) {
				t.Fatalf("%s: header %v", w.Path, err)
			}
			served += hub.Served(w.Path)
		}
		if round == "first" && served != heads {
			t.Errorf("%d bytes of shards were served, their headers have %d", served, heads)
		}
		if n := len(hub.Requests()); round == "second" && n != 0 {
			t.Errorf("the second plan made %d requests, first %v", n, hub.Requests()[0])
		}
	}
}

func TestFS(t *testing.T) {
	files := tiny()
	files["sub/one.txt"] = &fstest.MapFile{Data: []byte("1")}
	_, c, rev := remoteFixture(t, files)
	src := c.FS(t.Context(), rev)
	if err := fstest.TestFS(src, "config.json", "sub/one.txt", shard1); err != nil {
		t.Error(err)
	}
	_, err := src.Open("confg.json")
	if !errors.Is(err, fs.ErrNotExist) || !errors.Is(err, ErrFileNotFound) {
		t.Errorf("missing file: %v", err)
	}
}

// Tensors read by many goroutines, in slabs and in any order, are the file's bytes, and each byte is fetched once.
func TestRemoteReads(t *testing.T) {
	sizes := []int{9 << 20, 100, 5 << 20, 3_000, 4 << 20, 77}
	data := shard(5, sizes...)
	hub, c, rev := remoteFixture(t, fstest.MapFS{"model.safetensors": {Data: data}})
	src := c.FS(t.Context(), rev)
	f, err := src.Open("model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	at := headEnd(data, int64(len(data)))
	var wg sync.WaitGroup
	for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(len(sizes)) {
		lo := at
		for _, n := range sizes[:i] {
			lo += int64(n)
		}
		wg.Go(func() {
			for off := 0; off < sizes[i]; off += 1 << 20 {
				p := make([]byte, min(1<<20, sizes[i]-off))
				if _, err := f.(io.ReaderAt).ReadAt(p, lo+int64(off)); err != nil || !bytes.Equal(p, data[lo+int64(off):][:len(p)]) {
					t.Errorf("tensor %d at %d: wrong bytes, %v", i, off, err)
				}
			}
		})
	}
	wg.Wait()
	if got := hub.Served("model.safetensors"); got != int64(len(data)) {
		t.Errorf("%d bytes were served of a file of %d", got, len(data))
	}
	if n, err := f.(io.ReaderAt).ReadAt(make([]byte, 10), int64(len(data))-4); n != 4 || err != io.EOF {
		t.Errorf("reading over the end: %d, %v", n, err)
	}
}

// The memory of a file system does not grow with what is read through it.
func TestBlockBudget(t *testing.T) {
	hub := hubtest.New()
	t.Cleanup(hub.Close)
	hub.Add("acme/big", fstest.MapFS{}).PutNoise("model.gguf", 150<<20, 4)
	c := testClient(t, hub)
	rev, err := c.Resolve(t.Context(), "acme/big", "main")
	if err != nil {
		t.Fatal(err)
	}
	src := c.FS(t.Context(), rev)
	f, err := src.Stream("model.gguf")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, f); err != nil || n != 150<<20 {
		t.Fatal(n, err)
	}
	held, blocks := int64(0), 0
	for b := range src.budget.held {
		held += int64(len(b.data))
	}
	for _, r := range src.remote {
		blocks += len(r.blocks)
	}
	if held > blockMemory || src.budget.left != blockMemory-held || blocks > blockMemory/blockSize {
		t.Errorf("%d bytes held in %d blocks, %d left", held, blocks, src.budget.left)
	}
	if e := src.Evidence(); len(e) != 1 || e[0].Level != ByDigest {
		t.Errorf("evidence %+v", e)
	}
}

func TestEvidence(t *testing.T) {
	data := shard(6, 5<<20, 6<<20, 1000)
	for _, tc := range []struct {
		name  string
		order []int64 // thirds of the file
		flip  bool
		level Level
		fails bool
	}{
		{"in order", []int64{0, 1, 2}, false, ByDigest, false},
		{"not all of it", []int64{2}, false, ByLength, false},
		{"in order, one byte wrong", []int64{0, 1, 2}, true, ByLength, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			hub, c, rev := remoteFixture(t, fstest.MapFS{"model.safetensors": {Data: data}})
			if tc.flip {
				hub.Fault(hubtest.Fault{Nth: 3, Do: hubtest.Flip(100)})
			}
			src := c.FS(t.Context(), rev)
			f, err := src.Open("model.safetensors")
			if err != nil {
				t.Fatal(err)
			}
			third := int64(len(data)+2) / 3
			for _, k := range tc.order {
				p := make([]byte, min(third, int64(len(data))-k*third))
				if _, e := f.(io.ReaderAt).ReadAt(p, k*third); e != nil && err == nil {
					err = e
				}
			}
			if e := src.Evidence(); len(e) != 1 || e[0].Level != tc.level {
				t.Errorf("evidence %+v", e)
			}
			if tc.fails {
				checkError(t, err, ErrIntegrity, "digest")
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// What breaks on the way of a remote read is mended like a download, or says what it is.
func TestRemoteFaults(t *testing.T) {
	data := shard(7, 5<<20, 100_000)
	for _, tc := range []struct {
		name  string
		fault hubtest.Fault
		want  error
	}{
		{"cut", hubtest.Fault{Do: hubtest.Cut(3), Times: 3}, nil},
		{"stall", hubtest.Fault{Nth: 3, Do: hubtest.Stall(100_000)}, nil},
		{"expired", hubtest.Fault{Nth: 3, Do: hubtest.Expire()}, nil},
		{"no ranges", hubtest.Fault{Do: hubtest.IgnoreRange(), Times: -1}, nil},
		{"lying range", hubtest.Fault{Do: hubtest.Lie("bytes 1-2/3"), Times: -1}, ErrIntegrity},
		{"wrong byte", hubtest.Fault{Nth: 3, Do: hubtest.Flip(9)}, ErrIntegrity},
		{"503", hubtest.Fault{Do: hubtest.Status(503), Times: -1}, ErrUnavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			hub, c, rev := remoteFixture(t, fstest.MapFS{"model.safetensors": {Data: data}})
			hub.Fault(tc.fault)
			f, err := c.FS(t.Context(), rev).Stream("model.safetensors")
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(f)
			if tc.want != nil {
				checkError(t, err, tc.want, "")
			} else if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if leaks := hub.Leaks(testToken); len(leaks) > 0 {
				t.Errorf("token sent to %+v", leaks)
			}
		})
	}
}

// A file system ends with its context.
func TestRemoteCancel(t *testing.T) {
	hub, c, rev := remoteFixture(t, fstest.MapFS{"model.safetensors": {Data: shard(8, 100_000)}})
	hub.Fault(hubtest.Fault{Do: hubtest.Hang(), Times: -1})
	ctx, cancel := context.WithCancel(t.Context())
	f, err := c.FS(ctx, rev).Open("model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := f.(io.ReaderAt).ReadAt(make([]byte, 10), 0); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "Signature") {
		t.Errorf("cancelled read: %v", err)
	}
}
