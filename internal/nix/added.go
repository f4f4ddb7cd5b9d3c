package nix

// Added is a store object that was added to a binary cache.
type Added struct {
	Path     StorePath
	NARSize  int64 // bytes before compression
	FileSize int64 // bytes after compression
}
