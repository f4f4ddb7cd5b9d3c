package pipelines

import (
	"errors"
	"fmt"
	"strings"

	"github.com/scopecreep-zip/open-sesame-ci/internal/engine"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/matrix"
)

func (f *fakeEngine) realises(check bool) {
	if f.onRealise != nil {
		f.onRealise(check)
	}
}

func (f *fakeEngine) rebuild(c engine.Command) error {
	different, good := false, 0
	fmt.Fprintln(c.Stderr, `@nix {"action":"start","id":999,"level":0,"text":"","type":104}`)
	for i, drv := range c.Args {
		if !strings.HasSuffix(drv, ".drv") {
			continue
		}
		out := nix.StorePath(strings.TrimSuffix(drv, ".drv"))
		fmt.Fprintf(c.Stderr, `@nix {"action":"start","fields":[%q,"",1,1],"id":%d,"level":3,"text":"","type":105}`+"\n", drv, i)
		switch {
		case f.cannotRebuild != "":
			different = true
			fmt.Fprintln(c.Stderr, nixSays("%s", fmt.Sprintf(f.cannotRebuild, drv)))
		case f.differs[matrix.Package(out.Name())]:
			different = true
			fmt.Fprintf(c.Stderr, `@nix {"action":"msg","level":0,"msg":"error: derivation '%s' may not be deterministic: output '%s' differs from '%s.check'"}`+"\n", drv, out, out)
		default:
			good++
			fmt.Fprintf(c.Stderr, `@nix {"action":"result","fields":[%d,2,0,0],"id":999,"type":105}`+"\n", good)
		}
		fmt.Fprintf(c.Stderr, `@nix {"action":"stop","id":%d}`+"\n", i)
	}
	if different {
		return &engine.ExitError{Program: "nix-store", Code: 104, Stderr: "error: may not be deterministic"}
	}
	return nil
}

func isRebuildError(err error) bool {
	var broken *RebuildError
	return errors.As(err, &broken)
}
