package build

import "os"

// Disk is the real file system.
type Disk struct{}

// Create opens name for reading and writing and empties it.
func (Disk) Create(name string) (Handle, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
	if err != nil {
		return nil, err
	}
	return diskFile{f}, nil
}

// Rename replaces to by from in one step.
func (Disk) Rename(from, to string) error { return os.Rename(from, to) }

// Remove removes a file.
func (Disk) Remove(name string) error { return os.Remove(name) }

// SyncDir flushes a folder.
func (Disk) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	defer d.Close()
	return syncDir(d)
}

type diskFile struct{ *os.File }

// Preallocate reserves blocks where the system can, so that a full disk shows before the work and not after it.
func (f diskFile) Preallocate(size int64) error {
	if size == 0 {
		return nil
	}
	if err := reserve(f.File, size); err != nil {
		return err
	}
	return f.Truncate(size)
}
