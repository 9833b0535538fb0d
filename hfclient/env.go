package hfclient

import (
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// HubEndpoint is the Hub itself; HF_ENDPOINT names a mirror instead.
const HubEndpoint = "https://huggingface.co"

// Options configure a Client. Zero values mean the defaults that each field names.
type Options struct {
	Endpoint        string            // base address, a path prefix is allowed; default HubEndpoint
	Token           Token             // empty: anonymous
	CacheDir        string            // the hub folder shared with Python; default ~/.cache/huggingface/hub
	Offline         bool              // never touch the network
	UserAgent       string            // default "quern"
	Connections     int               // open at once in all; default 16
	PerFile         int               // open at once for one file; default 8
	SegmentSize     int64             // bytes asked for in one request; default 64 MiB
	RateLimit       int64             // bytes a second over all connections; 0: none
	MetadataTimeout time.Duration     // wait for the head of an answer; default 10 s
	StallTimeout    time.Duration     // wait for the next byte of a body; default 10 s
	RetryWait       time.Duration     // first wait before a retry, doubled up to 8 times itself; default 1 s
	Logger          *slog.Logger      // requests at debug level, without secrets; default none
	Transport       http.RoundTripper // carries the requests; default: HTTP/1.1 with the proxy of the environment
}

// Token is an access token and the place it came from, so that a refusal can name the place. Printing it shows
// the source only.
type Token struct {
	Value  string
	Source string // "HF_TOKEN", a file's path, "--token"
}

// String never shows the secret.
func (t Token) String() string {
	if t.Value == "" {
		return "no token"
	}
	return "token of " + t.Source
}

// GoString never shows the secret.
func (t Token) GoString() string { return "hfclient.Token{" + t.String() + "}" }

// LogValue never shows the secret.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// FromEnvironment reads the variables that Python's huggingface_hub reads, with the same precedence. lookup is
// os.LookupEnv outside tests.
func FromEnvironment(lookup func(string) (string, bool)) Options {
	env := environment{lookup}
	home := env.path("HF_HOME", filepath.Join(env.path("XDG_CACHE_HOME", env.expand("~/.cache")), "huggingface"))
	o := Options{
		Endpoint:        strings.TrimRight(env.first("HF_ENDPOINT"), "/"),
		Offline:         isTrue(env.first("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")),
		MetadataTimeout: env.seconds("HF_HUB_ETAG_TIMEOUT"),
		StallTimeout:    env.seconds("HF_HUB_DOWNLOAD_TIMEOUT"),
	}
	o.CacheDir = env.path("HF_HUB_CACHE", env.path("HUGGINGFACE_HUB_CACHE", filepath.Join(home, "hub")))
	for _, name := range []string{"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"} {
		if v := cleanToken(env.first(name)); v != "" {
			o.Token = Token{v, name}
			return o
		}
	}
	file := env.path("HF_TOKEN_PATH", filepath.Join(home, "token"))
	if isTrue(env.first("HF_HUB_DISABLE_IMPLICIT_TOKEN")) {
		return o
	}
	if data, err := os.ReadFile(file); err == nil && len(data) <= maxToken {
		if v := cleanToken(string(data)); v != "" {
			o.Token = Token{v, file}
		}
	}
	return o
}

// maxToken bounds a token file; a real token has 37 characters.
const maxToken = 4096

type environment struct {
	lookup func(string) (string, bool)
}

// first is the first of the variables that is set and not empty.
func (e environment) first(names ...string) string {
	for _, n := range names {
		if v, _ := e.lookup(n); v != "" {
			return v
		}
	}
	return ""
}

// path treats an empty variable as unset.
func (e environment) path(name, otherwise string) string {
	if v := e.first(name); v != "" {
		return e.expand(v)
	}
	return otherwise
}

// expand replaces ~ and variables as Python does: an unknown variable stays as it is written.
func (e environment) expand(p string) string {
	if p == "~" || strings.HasPrefix(p, "~/") {
		home := e.first("HOME")
		if home == "" {
			home, _ = os.UserHomeDir()
		}
		p = home + p[1:]
	}
	return os.Expand(p, func(name string) string {
		if v, ok := e.lookup(name); ok {
			return v
		}
		return "${" + name + "}"
	})
}

// seconds takes fractions, too. Nonsense is ignored, as a user's profile must not break every command.
func (e environment) seconds(name string) time.Duration {
	s, err := strconv.ParseFloat(e.first(name), 64)
	if err != nil || s <= 0 || s > 86400 {
		return 0
	}
	return time.Duration(s * float64(time.Second))
}

// isTrue knows the four words that huggingface_hub 0.36 knows.
func isTrue(v string) bool {
	switch strings.ToUpper(v) {
	case "1", "ON", "YES", "TRUE":
		return true
	}
	return false
}

// cleanToken also drops line ends inside, which a copied token often has; a header must not hold them.
func cleanToken(v string) string {
	return strings.TrimSpace(strings.NewReplacer("\r", "", "\n", "").Replace(v))
}
