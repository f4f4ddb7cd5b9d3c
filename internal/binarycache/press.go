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

// Press compresses NARs, several at a time, on all processors, with a fixed number of buffers.
// It is safe for concurrent use. Close has to be called.
//
// A NAR is cut into pieces of one size. Each is compressed to a frame of its own, and the frames are put one after
// the other: so one large NAR keeps all processors busy, and what it compresses to depends on its bytes,
// the compression and the level alone, not on how many processors there are. Nix reads such a file as one.
//
// No Pack can wait for another for ever. Each owns the buffer of one piece from its beginning to its end,
// besides those that it takes from the common ones while there are any: it can always fill that piece,
// have it compressed by a compressor, which waits for nobody, and give it to its sink.
// Only a sink holds a piece for long, and it holds up nothing but its own Pack.
type Press struct {
	codec  codec
	own    chan *piece // one for each Pack that can be under way; who has none yet waits here
	common chan *piece // more, for who takes them first
	work   chan *piece // to the compressors; has room for all frames, so that nobody blocks who sends

	closing     chan struct{}
	close       sync.Once
	compressors sync.WaitGroup
}

// PressOptions are settings of a [Press]. The zero value is good.
type PressOptions struct {
	// Compression of the files; "" stands for [Zstd].
	Compression nar.Compression
	// Level is the effort; 0 stands for [DefaultZstdLevel] or [DefaultXZLevel].
	// It is 1 to 19 for zstd and 1 to 9 for xz, as in the programs of these names, and means about the same:
	// zstd has five efforts, from 1, 3, 4, 6 and 10 on, and xz three, from 1, 4 and 7 on.
	Level int
	// Jobs is how many processors compress; 0 stands for all.
	Jobs int
	// Memory bounds the bytes that buffers and compressors take, by using fewer processors where need be,
	// but one at least; 0 stands for [DefaultPressMemory].
	Memory int64
}

// DefaultPressMemory leaves room for 64 MiB of parts on their way to a cache in a process of 192 MiB.
// Two processors at [DefaultZstdLevel] need a quarter of it.
const DefaultPressMemory = 96 << 20

// Packed is what was learned of a NAR while it was compressed.
type Packed struct {
	NARHash  nix.Hash // SHA-256
	NARSize  int64
	FileHash nix.Hash // SHA-256 of the compressed NAR
	FileSize int64
}

// errPressClosed is the error of a Pack on a closed Press.
var errPressClosed = errors.New("the press is closed")

// NewPress starts a press. An error says which option is not valid.
func NewPress(o PressOptions) (*Press, error) {
	c, err := newCodec(o.Compression, o.Level)
	if err != nil {
		return nil, fmt.Errorf("start press: %w", err)
	}
	jobs := o.Jobs
	if jobs <= 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	memory := o.Memory
	if memory <= 0 {
		memory = DefaultPressMemory
	}
	for jobs > 1 && c.memory(jobs) > memory {
		jobs--
	}

	own, common := pieces(jobs)
	p := &Press{
		codec:   c,
		own:     make(chan *piece, own),
		common:  make(chan *piece, common),
		work:    make(chan *piece, own+common),
		closing: make(chan struct{}),
	}
	for range own {
		p.own <- newPiece(true)
	}
	for range common {
		p.common <- newPiece(false)
	}
	if err := p.start(jobs); err != nil {
		p.Close()
		return nil, fmt.Errorf("start press: %w", err)
	}
	return p, nil
}

// pieces returns how many pieces there are for a number of compressors.
// One NAR alone has a piece at each of them, one that it fills, and two that are done or wait for the one before.
func pieces(jobs int) (own, common int) { return jobs + 1, jobs + 2 }

// start starts the compressors.
func (p *Press) start(jobs int) error {
	if p.codec.newEncoder == nil {
		return nil
	}
	for range jobs {
		encode, err := p.codec.newEncoder()
		if err != nil {
			return err
		}
		p.compressors.Go(func() { compressPieces(encode, p.codec.pieceCap(), p.work) })
	}
	return nil
}

// Close waits for what is being packed, and ends the press. After it, Pack returns an error.
func (p *Press) Close() {
	p.close.Do(func() {
		close(p.closing)
		for range cap(p.own) { // each Pack gives its own back when it ends
			<-p.own
		}
		close(p.work)
	})
	p.compressors.Wait()
}

// Pack calls write with a writer for a NAR's bytes and passes what they compress to, in order, to sink.
// The sink may block, and must not keep the slice after it returns. It is called from another goroutine than write,
// and by one at a time. Neither may wait for another Pack: there may be no room for it to begin.
//
// The first error of write or of sink ends it and is wrapped; writes fail from then on. When ctx is done, so it ends,
// with the context's cause, as soon as write and sink return: who gives them has to end what blocks in them.
// When Pack returns, neither is called any more.
func (p *Press) Pack(ctx context.Context, write func(w io.Writer) error, sink func(chunk []byte) error) (Packed, error) {
	packed, err := p.pack(ctx, write, sink)
	if err != nil {
		return Packed{}, fmt.Errorf("pack nar: %w", err)
	}
	return packed, nil
}

func (p *Press) pack(ctx context.Context, write func(w io.Writer) error, sink func(chunk []byte) error) (Packed, error) {
	own, err := p.admit(ctx)
	if err != nil {
		return Packed{}, err
	}
	run := newPressing(ctx, p, own)
	defer run.cancel(nil)
	collected := make(chan struct{})
	go func() {
		defer close(collected)
		run.collect(sink)
	}()
	// Also where write panics or ends its goroutine: the pieces have to come back.
	func() {
		defer func() {
			run.endQueue()
			<-collected
			p.own <- own
		}()
		run.produce(write)
	}()
	return run.result()
}

// admit waits for a piece that no other Pack owns.
func (p *Press) admit(ctx context.Context) (*piece, error) {
	select {
	case <-p.closing: // rather than a piece, where there are both
		return nil, errPressClosed
	default:
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	select {
	case f := <-p.own:
		return f, nil
	case <-p.closing:
		return nil, errPressClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
