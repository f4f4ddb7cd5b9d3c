package publish

import (
	"slices"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
	"github.com/scopecreep-zip/open-sesame-ci/internal/record"
)

// Consent says what is published in spite of the record.
type Consent struct {
	Unsandboxed bool `json:"unsandboxed,omitempty"` // what was built without a sandbox
	Different   bool `json:"different,omitempty"`   // what differed in a second build
}

// Objection is a reason of the record not to publish an object, nor what was built with it.
type Objection struct {
	Text  string
	Is    func(record.Object) bool
	Apply func(*record.Object)
	// Consented reports whether the object is published all the same.
	Consented func(Consent) bool
}

// The objections, the most severe first.
var (
	Writable = &Objection{
		Text:      "was built where builders can change their inputs",
		Is:        func(o record.Object) bool { return o.Sandbox == record.WritableInputs },
		Apply:     func(o *record.Object) { o.Sandbox = record.WritableInputs },
		Consented: func(Consent) bool { return false },
	}
	Unsandboxed = &Objection{
		Text: "was built without a sandbox",
		Is:   func(o record.Object) bool { return o.Sandbox == record.SandboxOff },
		Apply: func(o *record.Object) {
			if !o.Sandbox.IsOff() {
				o.Sandbox = record.SandboxOff
			}
		},
		Consented: func(c Consent) bool { return c.Unsandboxed },
	}
	Different = &Objection{
		Text:      "was not the same when it was built again",
		Is:        func(o record.Object) bool { return o.Second == record.Different },
		Apply:     func(o *record.Object) { o.Second = record.Different },
		Consented: func(c Consent) bool { return c.Different },
	}
	Objections = []*Objection{Writable, Unsandboxed, Different}
)

// ObjectionTo returns the record's objection to an object, as far as there is no consent to it; nil for none.
func ObjectionTo(o record.Object, c Consent) *Objection {
	i := slices.IndexFunc(Objections, func(b *Objection) bool { return b.Is(o) && !b.Consented(c) })
	if i < 0 {
		return nil
	}
	return Objections[i]
}

// IsFetched reports whether Nix has an object from a cache whose key it trusts.
func IsFetched(info nix.PathInfo) bool { return !info.Ultimate && len(info.Signatures) > 0 }
