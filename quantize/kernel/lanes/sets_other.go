//go:build purego || !amd64

package lanes

func available() []*Set { return nil }
