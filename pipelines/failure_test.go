package pipelines

import "testing"

func TestClassify(t *testing.T) {
	const drv = "/nix/store/12jhkv0cgfm8d60n9vmx1q25cns906fs-ok.drv"
	for _, test := range []struct {
		name, message string
		kind          FailureKind
		code          int
		about         string
	}{
		{"builder, 2.8", "builder for '" + drv + "' failed with exit code 2;\nlast 25 log lines:\n> a\n> b", BuilderFailed, 2, drv},
		{"builder, 2.34", "Cannot build '" + drv + "'.\n Reason: \x1b[31;1mbuilder failed with exit code 2\x1b[0m.\n Output paths:\n /nix/store/x", BuilderFailed, 2, drv},
		{"killed", "builder for '" + drv + "' failed due to signal 9 (Killed)", OutOfMemory, 137, drv},
		{"137", "builder for '" + drv + "' failed with exit code 137", OutOfMemory, 137, drv},
		{"segmentation fault", "builder for '" + drv + "' failed due to signal 11 (Segmentation fault)", BuilderFailed, 139, drv},
		{"daemon", "Nix daemon disconnected unexpectedly (maybe it crashed?)", OutOfMemory, 0, ""},
		{"disk", "writing to file: No space left on device", DiskFull, 0, ""},
		{"silence", "building of '" + drv + "' timed out after 3600 seconds of silence", TimedOut, 0, drv},
		{"substituter", "unable to download 'https://cache.example/x.narinfo': Couldn't connect to server (7)", SubstituterFailed, 0, ""},
		{"substitutes", "some substitutes for the outputs of derivation '" + drv + "' failed (usually happens due to networking issues); try '--fallback' to build derivation from source ", SubstituterFailed, 0, drv},
		{"platform", "a 'riscv64-linux' with features {} is required to build '" + drv + "', but I am a 'x86_64-linux' with features {}", UnsupportedFailure, 0, drv},
		{"something else", "the moon is full", UnknownFailure, 0, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			about, f := classify(test.message)
			if f.Kind != test.kind || f.ExitCode != test.code || string(about) != test.about {
				t.Errorf("classify = %q, %q, %d; want %q, %q, %d", about, f.Kind, f.ExitCode, test.about, test.kind, test.code)
			}
		})
	}
}

func TestFailureMessageIsOneLine(t *testing.T) {
	_, f := classify("error: hash mismatch in fixed-output derivation '/nix/store/12jhkv0cgfm8d60n9vmx1q25cns906fs-ok.drv':\n         specified: sha256-AAA=\n            got:    sha256-BBB=")
	want := "hash mismatch in fixed-output derivation '/nix/store/12jhkv0cgfm8d60n9vmx1q25cns906fs-ok.drv': specified: sha256-AAA= got: sha256-BBB="
	if f.Message != want {
		t.Errorf("message %q, want %q", f.Message, want)
	}
	_, f = classify("builder for 'x' failed with exit code 2;\n       last 25 log lines:\n       > a")
	if want := "builder for 'x' failed with exit code 2"; f.Message != want {
		t.Errorf("message %q, want %q", f.Message, want)
	}
}

func TestBuildersFailureIsRefinedByItsLog(t *testing.T) {
	for line, want := range map[string]FailureKind{
		"cc: fatal error: error writing to /build/x.s: No space left on device": DiskFull,
		"error: could not compile `x` (signal: 9, SIGKILL: kill)":               OutOfMemory,
		"assertion failed": BuilderFailed,
	} {
		f := &Failure{Kind: BuilderFailed}
		f.refine([]string{"before", line, "after"})
		if f.Kind != want {
			t.Errorf("%q refined to %q, want %q", line, f.Kind, want)
		}
	}
}
