package dagger

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	oci "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// toOCI writes the tarball of a root file system as an OCI archive with one layer.
//
// This is the fastest way to load it into Dagger, and the only one that keeps owners: Host.Directory with WithRootfs makes
// root the owner of all files. Compression makes it faster (measured for 243 MB: 1.4 s here and 1 s in the engine, instead
// of 3 s in the engine) and takes a third of the space.
func toOCI(w io.Writer, rootfs io.Reader, s matrix.System) error {
	compressed, err := os.CreateTemp("", "layer-*.zst")
	if err != nil {
		return err
	}
	defer compressed.Close()
	if err := os.Remove(compressed.Name()); err != nil { // so that no crash leaves it behind
		return err
	}
	layer, diffID, err := compressLayer(compressed, rootfs)
	if err != nil {
		return err
	}
	var config oci.Image
	config.OS, config.Architecture, _ = strings.Cut(s.Platform(), "/")
	config.Architecture, config.Variant, _ = strings.Cut(config.Architecture, "/")
	config.Config.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	config.RootFS = oci.RootFS{Type: "layers", DiffIDs: []digest.Digest{diffID}}

	t := tar.NewWriter(w)
	configBlob, configErr := addBlob(t, oci.MediaTypeImageConfig, config)
	manifest, manifestErr := addBlob(t, oci.MediaTypeImageManifest, oci.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: oci.MediaTypeImageManifest,
		Config: configBlob, Layers: []oci.Descriptor{layer},
	})
	manifest.Platform = &config.Platform
	index, indexErr := json.Marshal(oci.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: oci.MediaTypeImageIndex, Manifests: []oci.Descriptor{manifest},
	})
	layerErr := t.WriteHeader(&tar.Header{Name: blobName(layer.Digest), Mode: 0o644, Size: layer.Size})
	if layerErr == nil {
		_, layerErr = io.Copy(t, io.NewSectionReader(compressed, 0, layer.Size))
	}
	return errors.Join(configErr, manifestErr, indexErr, layerErr,
		writeEntry(t, oci.ImageIndexFile, index),
		writeEntry(t, oci.ImageLayoutFile, []byte(`{"imageLayoutVersion":"`+oci.ImageLayoutVersion+`"}`)),
		t.Close())
}

// compressLayer writes a tarball as a layer to f. It returns the descriptor of the layer, and the hash of the tarball.
func compressLayer(f *os.File, tarball io.Reader) (layer oci.Descriptor, diffID digest.Digest, err error) {
	inner, outer := digest.Canonical.Digester(), digest.Canonical.Digester()
	z, err := zstd.NewWriter(io.MultiWriter(f, outer.Hash()), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return oci.Descriptor{}, "", err
	}
	_, err = io.Copy(io.MultiWriter(inner.Hash(), z), tarball)
	err = errors.Join(err, z.Close())
	size, seekErr := f.Seek(0, io.SeekCurrent)
	err = errors.Join(err, seekErr)
	return oci.Descriptor{MediaType: oci.MediaTypeImageLayerZstd, Digest: outer.Digest(), Size: size}, inner.Digest(), err
}

// addBlob adds a value as JSON to an archive.
func addBlob(t *tar.Writer, mediaType string, v any) (oci.Descriptor, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return oci.Descriptor{}, err
	}
	d := oci.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	return d, writeEntry(t, blobName(d.Digest), data)
}

func blobName(d digest.Digest) string {
	return path.Join(oci.ImageBlobsDir, string(d.Algorithm()), d.Encoded())
}

func writeEntry(t *tar.Writer, name string, data []byte) error {
	err := t.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))})
	if err != nil {
		return err
	}
	_, err = t.Write(data)
	return err
}
