package cachixtest

import (
	"bytes"
	"io"
	"net/http"
	"testing"
)

// BenchmarkPart sends parts of 32 MiB over loopback: the cost of the server in benchmarks that share the processor. The figure
// includes the client.
func BenchmarkPart(b *testing.B) {
	data := make([]byte, 32<<20)
	for name, options := range map[string]Options{"trusting": {Trusting: true}, "strict": {}} {
		b.Run(name, func(b *testing.B) {
			c := start(b, options)
			r := c.part(c.create("zst"), 1, data)
			transport := &http.Transport{WriteBufferSize: 256 << 10}
			defer transport.CloseIdleConnections()
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				again := r.Clone(b.Context())
				again.Body = io.NopCloser(bytes.NewReader(data))
				response, err := transport.RoundTrip(again)
				if err != nil {
					b.Fatal(err)
				}
				_ = response.Body.Close()
				if response.StatusCode != http.StatusOK {
					b.Fatal(response.Status)
				}
			}
		})
	}
}
