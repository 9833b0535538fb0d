//go:build purego || (!amd64 && !arm64)

package lanes

func available() []*Set { return nil }
