// Package hfclient speaks with the Hugging Face Hub: it resolves a revision to a commit, lists it, chooses the
// files a conversion needs, and brings them into the cache that Python's huggingface_hub shares.
//
// Held by tests, not by the compiler:
//   - The token goes to the endpoint's and the Hub's scheme, host and port, and to nobody else (TestTokenStays).
//   - A file has its final name only after its digest, the one the listing promised, was computed from what was
//     written (TestFaults, TestKill). A pointer in a snapshot means: that file is whole.
//   - Memory never grows with a file: a fixed buffer per connection (interop's BenchmarkPull reports the peak).
//   - A name from the network becomes a path only through cleanName (TestHostileNames).
//   - Every body is read up to a named bound.
//
// Price: all connections speak HTTP/1.1, because HTTP/2 would put every segment on one connection; and a blob that
// another program wrote is hashed once before it is believed.
package hfclient
