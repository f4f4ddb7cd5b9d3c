package contract

import (
	"testing"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nixtest"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

// BenchmarkContract measures what a contract adds to a warm run: the evaluation of a system, and the checks of its outputs.
func BenchmarkContract(b *testing.B) {
	m := newMachine(b)
	c := openSesame()
	flake := m.flake(func(string) {})
	for _, system := range matrix.DefaultSystems() {
		nixtest.NeedSystem(b, system)
		made := m.build(c, flake, system)
		b.Run("evaluate/"+string(system), func(b *testing.B) {
			for b.Loop() {
				machine{b}.evaluate(c, flake, system)
			}
		})
		b.Run("built/"+string(system), func(b *testing.B) {
			for b.Loop() {
				c.Built(made)
			}
		})
	}
}
