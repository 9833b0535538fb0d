package record

import (
	"context"
	"fmt"
	"io/fs"
	"runtime"

	"quern/hfclient"
	"quern/stages/job"
	"quern/stages/source"
)

// Sources lists the files that a build reads, with their digests, and how they are proven. The Hub's are verified when they
// are fetched; local ones are read from beginning to end, beside the build where there is one, unless the state has their digests.
func Sources(ctx context.Context, s *job.State) ([]FileDigest, string, error) {
	if s.Source.Kind == source.Hub && s.Stream {
		return streamed(s)
	}
	if s.Source.Kind == source.Hub {
		var fd []FileDigest
		for _, f := range s.Pull.Files {
			fd = append(fd, FileDigest{Name: f.Path, Size: f.Size, Digest: f.Digest()})
		}
		return fd, "every file against the digest in the Hub's listing", nil
	}
	names, err := s.LocalNames()
	if err == nil {
		err = s.TakeDigests(ctx, names)
	}
	if err != nil {
		return nil, "", err
	}
	fd := make([]FileDigest, len(names))
	for i, name := range names {
		fi, err := fs.Stat(s.Source.FS, name)
		if err != nil {
			return nil, "", err
		}
		fd[i] = FileDigest{Name: name, Size: fi.Size(), Digest: s.Digests[name]}
	}
	return fd, "read from this machine", nil
}

// streamed says of each file how its bytes were proven while they passed.
func streamed(s *job.State) ([]FileDigest, string, error) {
	level := map[string]hfclient.Level{}
	for _, e := range s.Remote.Evidence() {
		level[e.File.Path] = e.Level
	}
	var fd []FileDigest
	n := 0
	for _, f := range s.Pull.Files {
		d := FileDigest{Name: f.Path, Size: f.Size, Digest: f.Digest(), Verified: string(hfclient.ByDigest)}
		if l, ok := level[f.Path]; ok {
			d.Verified = string(l)
		}
		if d.Verified != string(hfclient.ByDigest) {
			n++
		}
		fd = append(fd, d)
	}
	return fd, fmt.Sprintf("streamed from the Hub: %d files by their digest, %d by length and ETag only", len(fd)-n, n), nil
}

// platform decides with the kernel which bits a quantization has: compilers fuse differently.
func platform() string { return runtime.GOOS + "/" + runtime.GOARCH }
