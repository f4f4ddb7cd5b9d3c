package nar

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// Compressor compresses NARs, several at a time, on all processors, with a fixed number of buffers.
// It is safe for concurrent use.
//
// A NAR is split into chunks of one size. Each chunk is compressed to a separate frame, and the file is the sequence of
// the frames. So one large NAR keeps all processors busy, and the file depends only on the NAR, the compression and the
// level, not on the number of processors. Nix reads such a file like any other.
//
// There is no deadlock between jobs. Each job owns one reserved chunk from its beginning to its end, and takes further
// chunks from the shared ones if there are any. It can always fill its reserved chunk, have it compressed by a worker,
// which never blocks, and pass it to its sink. A sink may block, but it only delays its own job.
type Compressor struct {
	codec    codec
	reserved chan *chunk // one for each concurrent job; further jobs wait for one
	shared   chan *chunk // further chunks, first come, first served
	work     chan *chunk // to the workers; buffered for all chunks, so that sends never block
	workers  sync.WaitGroup
}

// compressorMemory limits the bytes of buffers and encoders. If necessary, fewer processors are used, but at least one.
// It leaves 64 MiB for the parts of an upload in a process of 192 MiB. Two processors at [defaultZstdLevel] need a quarter
// of it.
const compressorMemory = 96 << 20

// Compressed has the hashes and sizes of a NAR before and after compression.
type Compressed struct {
	NARHash  nix.Hash // SHA-256
	NARSize  int64
	FileHash nix.Hash // SHA-256 of the compressed NAR
	FileSize int64
}

// NewCompressor starts a compressor. The default compression is [Zstd].
//
// The level is 1 to 19 for zstd and 1 to 9 for xz, like the levels of the programs zstd and xz; 0 is the default.
// Zstd has five efforts, which begin at levels 1, 3, 4, 6 and 10, and xz has three, which begin at levels 1, 4 and 7.
func NewCompressor(compression Compression, level int) (*Compressor, error) {
	c, err := newCodec(compression, level)
	if err != nil {
		return nil, fmt.Errorf("start compressor: %w", err)
	}
	jobs := runtime.GOMAXPROCS(0)
	for jobs > 1 && c.memory(jobs) > compressorMemory {
		jobs--
	}
	return newCompressor(c, jobs)
}

func newCompressor(c codec, jobs int) (*Compressor, error) {
	reserved, shared := chunkCounts(jobs)
	p := &Compressor{
		codec:    c,
		reserved: make(chan *chunk, reserved),
		shared:   make(chan *chunk, shared),
		work:     make(chan *chunk, reserved+shared),
	}
	for range reserved {
		p.reserved <- newChunk(true)
	}
	for range shared {
		p.shared <- newChunk(false)
	}
	for range jobs {
		encode, err := c.newEncoder()
		if err != nil {
			p.Close()
			return nil, fmt.Errorf("start compressor: %w", err)
		}
		p.workers.Go(func() { compressChunks(encode, c.chunkCap(), p.work) })
	}
	return p, nil
}

// chunkCounts returns the numbers of chunks for a number of workers. A single NAR uses one chunk for each worker, one that
// is being filled, and two that are compressed and wait for the sink.
func chunkCounts(jobs int) (reserved, shared int) { return jobs + 1, jobs + 2 }

// Close stops the workers. All jobs must have ended.
func (p *Compressor) Close() {
	close(p.work)
	p.workers.Wait()
}

// Compress calls write with a writer for the bytes of a NAR, and passes the compressed bytes to sink, as [Compressor.Start]
// does. The first error of write or sink ends the call, and is wrapped. When ctx is done, the call ends with its cause as
// soon as write and sink return: the caller must interrupt them if they block. After Compress has returned, neither
// function is called.
func (p *Compressor) Compress(ctx context.Context, write func(w io.Writer) error, sink func(chunk []byte) error) (Compressed, error) {
	job, err := p.Start(ctx, sink)
	if err != nil {
		return Compressed{}, err
	}
	func() {
		err := context.Canceled // if write panics or ends its goroutine
		defer func() { job.End(err) }()
		err = write(job)
	}()
	return job.Wait()
}

// Start begins to compress a NAR. It waits while too many jobs run. The job passes the compressed bytes to sink, in order,
// in a separate goroutine. The sink may block, but must not keep the slice. It must not wait for another job, which may
// not be able to begin.
func (p *Compressor) Start(ctx context.Context, sink func(chunk []byte) error) (*CompressionJob, error) {
	if ctx.Err() != nil { // takes precedence over a chunk
		return nil, context.Cause(ctx)
	}
	select {
	case reserved := <-p.reserved:
		return startJob(ctx, p, reserved, sink), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
