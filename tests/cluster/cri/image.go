package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// Media types of the OCI image specification 1.1.
const (
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar"
)

// Where containerd's import reads an image's whole name.
const nameAnnotation = "io.containerd.image.name"

// blob is content, found by its digest.
type blob []byte

func (b blob) hex() string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func (b blob) descriptor(mediaType string) map[string]any {
	return map[string]any{"mediaType": mediaType, "digest": "sha256:" + b.hex(), "size": len(b)}
}

// writeImage writes an OCI image layout as a tar: one layer with one file, the program, which is the entry point too.
// The image works without a registry: a runtime imports it.
func writeImage(out io.Writer, name, program string) error {
	content, err := os.ReadFile(program)
	if err != nil {
		return fmt.Errorf("read the image's program: %w", err)
	}
	file := filepath.Base(program)
	var layer bytes.Buffer
	if err := writeTar(&layer, []entry{{file, 0o755, content}}); err != nil {
		return err
	}
	config := encode(map[string]any{
		"architecture": runtime.GOARCH,
		"os":           "linux",
		"config":       map[string]any{"Entrypoint": []string{"/" + file}, "Cmd": []string{"pause"}},
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + blob(layer.Bytes()).hex()}},
	})
	manifest := encode(map[string]any{
		"schemaVersion": 2,
		"mediaType":     typeManifest,
		"config":        config.descriptor(typeConfig),
		"layers":        []any{blob(layer.Bytes()).descriptor(typeLayer)},
	})
	described := manifest.descriptor(typeManifest)
	described["annotations"] = map[string]string{nameAnnotation: name}
	entries := []entry{
		{"oci-layout", 0o644, encode(map[string]any{"imageLayoutVersion": "1.0.0"})},
		{"index.json", 0o644, encode(map[string]any{
			"schemaVersion": 2, "mediaType": typeIndex, "manifests": []any{described},
		})},
	}
	for _, content := range []blob{layer.Bytes(), config, manifest} {
		entries = append(entries, entry{"blobs/sha256/" + content.hex(), 0o644, content})
	}
	return writeTar(out, entries)
}

func encode(value any) blob {
	// Maps of strings, numbers and lists always have a JSON form.
	text, _ := json.Marshal(value)
	return text
}

// entry is a file of a tar.
type entry struct {
	name    string
	mode    int64
	content []byte
}

func writeTar(out io.Writer, entries []entry) error {
	archive := tar.NewWriter(out)
	for _, file := range entries {
		header := &tar.Header{Name: file.name, Mode: file.mode, Size: int64(len(file.content)), Typeflag: tar.TypeReg}
		if err := archive.WriteHeader(header); err != nil {
			return fmt.Errorf("write the header of %s: %w", file.name, err)
		}
		if _, err := archive.Write(file.content); err != nil {
			return fmt.Errorf("write %s: %w", file.name, err)
		}
	}
	return archive.Close()
}
