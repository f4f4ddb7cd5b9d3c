package nar

import (
	"context"
	"fmt"
)

// chunk is a part of a NAR in a [Compressor].
type chunk struct {
	buf        []byte          // its bytes, and then the compressed frame
	index      int             // number in its NAR, from 0
	reserved   bool            // belongs to one job at a time; see [Compressor]
	job        *CompressionJob // the job that uses it
	compressed chan struct{}   // receives a value when buf has the frame; buffered
}

func newChunk(reserved bool) *chunk {
	return &chunk{reserved: reserved, compressed: make(chan struct{}, 1)}
}

// CompressionJob is a NAR that is being compressed. One goroutine, the producer, writes it; another, the collector, passes
// the frames to the sink. Chunks go from the producer to the workers, and in order to the collector.
type CompressionJob struct {
	compressor *Compressor
	ctx        context.Context // of this job, for its writer; done as soon as a stage fails
	cancel     context.CancelCauseFunc
	reserved   chan *chunk   // has the reserved chunk, while it is not in use
	queue      chan *chunk   // to the collector; buffered for all chunks
	collected  chan struct{} // closed when the collector has ended

	// Used by the producer.
	current *chunk // is being filled
	taken   int    // chunks so far
	nar     *Digest

	// Used by the collector.
	file *Digest
}

func startJob(ctx context.Context, p *Compressor, reserved *chunk, sink func([]byte) error) *CompressionJob {
	j := &CompressionJob{
		compressor: p,
		reserved:   make(chan *chunk, 1),
		queue:      make(chan *chunk, 1+cap(p.shared)),
		collected:  make(chan struct{}),
		nar:        NewDigest(),
		file:       NewDigest(),
	}
	j.ctx, j.cancel = context.WithCancelCause(ctx)
	j.reserved <- reserved
	go func() {
		defer close(j.collected)
		j.collect(sink)
		p.reserved <- reserved
	}()
	return j
}

// Write receives bytes of the NAR. It fails after an error of the sink, and when the context is done.
func (j *CompressionJob) Write(b []byte) (int, error) {
	written := 0
	for len(b) > 0 {
		buf, err := j.Buffer(len(b))
		if err != nil {
			return written, err
		}
		n := copy(buf, b)
		_ = j.Commit(n)
		b = b[n:]
		written += n
	}
	return written, nil
}

// Buffer returns a buffer of 1 to n bytes for the next bytes of the NAR. It implements [BufferedWriter].
func (j *CompressionJob) Buffer(n int) ([]byte, error) {
	if j.current == nil {
		if err := j.take(); err != nil {
			return nil, err
		}
	}
	have := len(j.current.buf)
	return j.current.buf[have:min(have+n, j.compressor.codec.chunkSize)], nil
}

// Commit marks the first n bytes of that buffer as written. It cannot fail.
func (j *CompressionJob) Commit(n int) error {
	have := len(j.current.buf)
	j.current.buf = j.current.buf[:have+n]
	_, _ = j.nar.Write(j.current.buf[have:])
	if have+n == j.compressor.codec.chunkSize {
		j.pass()
	}
	return nil
}

// End ends the NAR; an error discards it. It must be called once, by the producer.
func (j *CompressionJob) End(err error) {
	// An empty NAR has a frame too: files of zstd and xz are never empty.
	if err == nil && j.current == nil && j.nar.Size == 0 {
		err = j.take()
	}
	if err != nil {
		j.cancel(err)
	}
	if j.current != nil {
		j.pass()
	}
	close(j.queue)
}

// Wait returns the hashes and sizes after the sink has all bytes. It must be called after End.
func (j *CompressionJob) Wait() (Compressed, error) {
	<-j.collected
	defer j.cancel(nil)
	if j.ctx.Err() != nil {
		return Compressed{}, fmt.Errorf("compress nar: %w", context.Cause(j.ctx))
	}
	return Compressed{NARHash: j.nar.Hash(), NARSize: j.nar.Size, FileHash: j.file.Hash(), FileSize: j.file.Size}, nil
}

// take waits for a chunk: the reserved one, or a shared one.
func (j *CompressionJob) take() error {
	if j.ctx.Err() != nil { // takes precedence over a chunk
		return context.Cause(j.ctx)
	}
	select {
	case j.current = <-j.reserved:
	case j.current = <-j.compressor.shared:
	case <-j.ctx.Done():
		return context.Cause(j.ctx)
	}
	if j.current.buf == nil {
		j.current.buf = make([]byte, 0, j.compressor.codec.chunkCap())
	}
	j.current.buf = j.current.buf[:0]
	j.current.job, j.current.index = j, j.taken
	j.taken++
	return nil
}

// pass sends the current chunk to the workers and to the collector. Both channels are buffered.
func (j *CompressionJob) pass() {
	p := j.current
	j.current = nil
	j.queue <- p
	j.compressor.work <- p
}

// collect passes frames to the sink, in the order of the NAR, and releases the chunks.
// After a failure, it only waits for the workers to finish the chunks.
func (j *CompressionJob) collect(sink func([]byte) error) {
	for p := range j.queue {
		<-p.compressed
		if j.ctx.Err() == nil {
			_, _ = j.file.Write(p.buf)
			if err := sink(p.buf); err != nil {
				j.cancel(fmt.Errorf("sink: %w", err))
			}
		}
		if p.reserved {
			j.reserved <- p
		} else {
			j.compressor.shared <- p
		}
	}
}

// compressChunks compresses chunks until the channel is closed. It has an additional buffer, which it swaps with that of
// the chunk: a frame is shorter than the chunk, or only a few bytes longer.
func compressChunks(encode encode, size int, work <-chan *chunk) {
	frame := make([]byte, 0, size)
	for p := range work {
		if p.job.ctx.Err() == nil { // otherwise the frame is not needed
			var err error
			if frame, err = encode(frame[:0], p.buf, p.index); err != nil {
				p.job.cancel(fmt.Errorf("compress: %w", err))
			}
			p.buf, frame = frame, p.buf
		}
		p.compressed <- struct{}{}
	}
}
