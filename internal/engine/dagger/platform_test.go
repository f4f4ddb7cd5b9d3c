package dagger

import (
	"slices"
	"strings"
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/hint"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// The pinned image has two platforms: for another system, no registry is asked for an image that it does not have.
func TestDefaultImageHasTheDefaultSystems(t *testing.T) {
	for _, name := range []string{"", DefaultImage} {
		var image Image
		if name != "" {
			image = Image{reference: name}
		}
		p, err := Options{Image: image}.loadImage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range matrix.Systems() {
			if want := slices.Contains(matrix.DefaultSystems(), s); p.has(s) != want {
				t.Errorf("image %q for %s: %t, want %t", name, s, p.has(s), want)
			}
		}
		x := &Executor{options: Options{System: "riscv64-linux"}, image: p}
		err = x.chooseForeign(t.Context(), "")
		if err == nil || !strings.Contains(err.Error(), "for riscv64-linux: it is made for [x86_64-linux aarch64-linux]") ||
			!strings.Contains(strings.Join(hint.Of(err), ""), "--engine host") {
			t.Errorf("error %v, hints %q", err, hint.Of(err))
		}
	}
}

func TestSystemsOfAnImageHaveVariants(t *testing.T) {
	got := systemsOf(map[string][]byte{
		"a": []byte(`{"os":"linux","architecture":"arm","variant":"v6","rootfs":{}}`),
	})
	if !slices.Equal(got, []matrix.System{"armv6l-linux"}) {
		t.Errorf("systems %v", got)
	}
}
