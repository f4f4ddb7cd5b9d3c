package pipelines

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/scopecreep-zip/open-sesame-ci/internal/regular"
)

// MemoryDir is a [Memory] of one small JSON file a key, in a directory that may be removed at any time.
type MemoryDir string

// Recall reads the file of the key. One that cannot be read is as good as none.
func (d MemoryDir) Recall(key string) ([]PackageResult, bool) {
	data, err := d.file(key).Read(maxManifest)
	if err != nil {
		return nil, false
	}
	var packages []PackageResult
	err = json.Unmarshal(data, &packages)
	return packages, err == nil && len(packages) > 0
}

// Remember writes the file of the key.
func (d MemoryDir) Remember(key string, packages []PackageResult) error {
	data, err := json.Marshal(packages)
	if err != nil {
		return fmt.Errorf("remember output paths: %v", err)
	}
	if err := d.file(key).Write(data); err != nil {
		return fmt.Errorf("remember output paths: %v", err)
	}
	return nil
}

func (d MemoryDir) file(key string) regular.File {
	sum := sha256.Sum256([]byte(key))
	return regular.File{Dir: regular.AnyDir(string(d)), Base: hex.EncodeToString(sum[:16]) + ".json"}
}
