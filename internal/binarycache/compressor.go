package binarycache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
	"github.com/scopecreep-zip/open-sesame-ci/internal/nix"
)

// Compressor compresses NARs, several at a time, on all processors, with a fixed number of buffers.
// It is safe for concurrent use. Close must be called.
//
// A NAR is split into chunks of one size. Each chunk is compressed to a separate frame, and the file is the sequence of
// the frames. So one large NAR keeps all processors busy, and the file depends only on the NAR, the compression and the
// level, not on the number of processors. Nix reads such a file like any other.
//
// There is no deadlock between calls of Compress. Each call owns one reserved chunk from its beginning to its end, and
// takes further chunks from the shared ones if there are any. It can always fill its reserved chunk, have it compressed
// by a worker, which never blocks, and pass it to its sink. A sink may block, but it only delays its own call.
type Compressor struct {
	codec    codec
	reserved chan *chunk // one for each concurrent call of Compress; further calls wait for one
	shared   chan *chunk // further chunks, first come, first served
	work     chan *chunk // to the workers; buffered for all chunks, so that sends never block

	closing chan struct{}
	close   sync.Once
	workers sync.WaitGroup
}

// CompressorOptions are settings of a [Compressor]. The zero value has good defaults.
type CompressorOptions struct {
	// Compression of the files; the default is [Zstd].
	Compression nar.Compression
	// Level is the effort; the default is [DefaultZstdLevel] or [DefaultXZLevel].
	// It is 1 to 19 for zstd and 1 to 9 for xz, like the levels of the programs zstd and xz:
	// zstd has five efforts, which begin at levels 1, 3, 4, 6 and 10, and xz has three, which begin at levels 1, 4 and 7.
	Level int
	// Jobs is the number of processors to use; the default is all.
	Jobs int
	// Memory limits the bytes of buffers and encoders. If necessary, fewer processors are used, but at least one.
	// The default is [DefaultCompressorMemory].
	Memory int64
}

// DefaultCompressorMemory leaves 64 MiB for the parts of an upload in a process of 192 MiB.
// Two processors at [DefaultZstdLevel] need a quarter of it.
const DefaultCompressorMemory = 96 << 20

// Compressed has the hashes and sizes of a NAR before and after compression.
type Compressed struct {
	NARHash  nix.Hash // SHA-256
	NARSize  int64
	FileHash nix.Hash // SHA-256 of the compressed NAR
	FileSize int64
}

// errCompressorClosed is the error of Compress after Close.
var errCompressorClosed = errors.New("the compressor is closed")

// NewCompressor starts a compressor. It returns an error if an option is not valid.
func NewCompressor(o CompressorOptions) (*Compressor, error) {
	c, err := newCodec(o.Compression, o.Level)
	if err != nil {
		return nil, fmt.Errorf("start compressor: %w", err)
	}
	jobs := o.Jobs
	if jobs <= 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	memory := o.Memory
	if memory <= 0 {
		memory = DefaultCompressorMemory
	}
	for jobs > 1 && c.memory(jobs) > memory {
		jobs--
	}

	reserved, shared := chunkCounts(jobs)
	p := &Compressor{
		codec:    c,
		reserved: make(chan *chunk, reserved),
		shared:   make(chan *chunk, shared),
		work:     make(chan *chunk, reserved+shared),
		closing:  make(chan struct{}),
	}
	for range reserved {
		p.reserved <- newChunk(true)
	}
	for range shared {
		p.shared <- newChunk(false)
	}
	if err := p.start(jobs); err != nil {
		p.Close()
		return nil, fmt.Errorf("start compressor: %w", err)
	}
	return p, nil
}

// chunkCounts returns the numbers of chunks for a number of workers. A single NAR uses one chunk for each worker, one that
// is being filled, and two that are compressed and wait for the sink.
func chunkCounts(jobs int) (reserved, shared int) { return jobs + 1, jobs + 2 }

// start starts the workers.
func (p *Compressor) start(jobs int) error {
	if p.codec.newEncoder == nil {
		return nil
	}
	for range jobs {
		encode, err := p.codec.newEncoder()
		if err != nil {
			return err
		}
		p.workers.Go(func() { compressChunks(encode, p.codec.chunkCap(), p.work) })
	}
	return nil
}

// Close waits for all calls of Compress, and stops the workers. Later calls of Compress fail.
func (p *Compressor) Close() {
	p.close.Do(func() {
		close(p.closing)
		for range cap(p.reserved) { // each call of Compress returns its reserved chunk at its end
			<-p.reserved
		}
		close(p.work)
	})
	p.workers.Wait()
}

// Compress calls write with a writer for the bytes of a NAR, and passes the compressed bytes to sink, in order.
// The sink may block, but must not keep the slice. It is called in another goroutine than write, and never concurrently
// with itself. Neither function may wait for another call of Compress, which may not be able to begin.
//
// The first error of write or sink ends the call, and is wrapped; from then on, writes fail. When ctx is done, the call
// ends with its cause as soon as write and sink return: the caller must interrupt them if they block. After Compress has
// returned, neither function is called.
func (p *Compressor) Compress(ctx context.Context, write func(w io.Writer) error, sink func(chunk []byte) error) (Compressed, error) {
	packed, err := p.compress(ctx, write, sink)
	if err != nil {
		return Compressed{}, fmt.Errorf("compress nar: %w", err)
	}
	return packed, nil
}

func (p *Compressor) compress(ctx context.Context, write func(w io.Writer) error, sink func(chunk []byte) error) (Compressed, error) {
	reserved, err := p.admit(ctx)
	if err != nil {
		return Compressed{}, err
	}
	job := newCompressionJob(ctx, p, reserved)
	defer job.cancel(nil)
	collected := make(chan struct{})
	go func() {
		defer close(collected)
		job.collect(sink)
	}()
	// Chunks are returned even if write panics or ends its goroutine.
	func() {
		defer func() {
			job.endQueue()
			<-collected
			p.reserved <- reserved
		}()
		job.produce(write)
	}()
	return job.result()
}

// admit waits for a reserved chunk.
func (p *Compressor) admit(ctx context.Context) (*chunk, error) {
	select {
	case <-p.closing: // takes precedence over a chunk
		return nil, errCompressorClosed
	default:
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	select {
	case f := <-p.reserved:
		return f, nil
	case <-p.closing:
		return nil, errCompressorClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
