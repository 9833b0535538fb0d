package llamacpp

import "runtime"

// Package is a prebuilt runtime: an npm package that carries the libraries for one platform.
type Package struct {
	OS, Arch string // GOOS, GOARCH
	Name     string // npm package
	Version  string
	// Integrity is the SHA-512 of the tarball in the form that npm publishes. Where it is "" the package was not at
	// hand when this table was made: the registry's own digest is checked instead, and the installer says so.
	Integrity string
}

// packages are the builds of llama.cpp v0.5.0 by the node-llama-cpp project (MIT). Each holds a build description that
// names the release; TestPackages keeps the table complete, CheckVersion has the last word after an install.
var packages = []Package{
	{"linux", "amd64", "@node-llama-cpp/linux-x64", "3.22.1", "sha512-5uCCDNqWCNfaAm8aR/Uzxbo4HBpKgNF91kCHPepKhgMgV2OAmatoefbOlMihsqCiH2Od35E/eUHQCFbfRBJuOg=="},
	{"linux", "arm64", "@node-llama-cpp/linux-arm64", "3.22.1", "sha512-W+7naKCXX9/eEjjFmRS8vvx91QyLXDbeFxexZc3bh/PtQABZgmRL3C0AtYYXn4YGTj/3Qor4lWZn2tpjZFPLdQ=="},
	{"darwin", "arm64", "@node-llama-cpp/mac-arm64-metal", "3.22.1", ""},
}

// PackageFor is the prebuilt runtime of a platform.
func PackageFor(goos, goarch string) (Package, bool) {
	for _, p := range packages {
		if p.OS == goos && p.Arch == goarch {
			return p, true
		}
	}
	return Package{}, false
}

func (p Package) spec() string { return p.Name + "@" + p.Version }

func platform(goos, goarch string) (string, string) {
	if goos == "" {
		goos = runtime.GOOS
	}
	if goarch == "" {
		goarch = runtime.GOARCH
	}
	return goos, goarch
}
