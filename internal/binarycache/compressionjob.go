package binarycache

import (
	"context"
	"fmt"
	"io"

	"github.com/scopecreep-zip/open-sesame-ci/internal/nar"
)

// chunk is a part of a NAR in a [Compressor].
type chunk struct {
	buf        []byte          // its bytes, and then the compressed frame
	index      int             // number in its NAR, from 0
	reserved   bool            // belongs to one job at a time; see [Compressor]
	job        *compressionJob // the job that uses it
	compressed chan struct{}   // receives a value when buf has the frame; buffered
}

func newChunk(reserved bool) *chunk {
	return &chunk{reserved: reserved, compressed: make(chan struct{}, 1)}
}

// reset assigns the empty chunk to a job. The buffer is allocated at first use.
func (p *chunk) reset(job *compressionJob) {
	if p.buf == nil {
		p.buf = make([]byte, 0, job.compressor.codec.chunkCap())
	}
	p.buf = p.buf[:0]
	p.job, p.index = job, job.taken
	job.taken++
}

// compressionJob is a call of [Compressor.Compress]. The producer is the goroutine of the caller, the collector is another.
// Chunks go from the producer to the workers, and in order to the collector.
type compressionJob struct {
	compressor *Compressor
	ctx        context.Context // of this job, for the callbacks of the writer; done as soon as a stage fails
	cancel     context.CancelCauseFunc
	reserved   chan *chunk // has the reserved chunk, while it is not in use
	queue      chan *chunk // to the collector; buffered for all chunks

	// Used by the producer.
	current *chunk // is being filled
	taken   int    // chunks so far
	nar     *nar.Digest

	// Used by the collector.
	file *nar.Digest
}

func newCompressionJob(ctx context.Context, p *Compressor, reserved *chunk) *compressionJob {
	job := &compressionJob{
		compressor: p,
		reserved:   make(chan *chunk, 1),
		queue:      make(chan *chunk, 1+cap(p.shared)),
		nar:        nar.NewDigest(),
		file:       nar.NewDigest(),
	}
	job.ctx, job.cancel = context.WithCancelCause(ctx)
	job.reserved <- reserved
	return job
}

// produce calls write, and passes on the last chunk.
func (j *compressionJob) produce(write func(io.Writer) error) {
	if err := write(chunkWriter{j}); err != nil {
		j.cancel(err)
		return
	}
	// An empty NAR has a frame too: files of zstd and xz are never empty.
	if j.current == nil && j.nar.Size == 0 && j.compressor.codec.newEncoder != nil {
		if err := j.take(); err != nil {
			return
		}
	}
	if j.current != nil {
		j.pass()
	}
}

// chunkWriter is the writer of a NAR. It implements [nar.BufferedWriter].
type chunkWriter struct{ *compressionJob }

func (w chunkWriter) Write(b []byte) (int, error) {
	written := 0
	for len(b) > 0 {
		buf, err := w.Buffer(len(b))
		if err != nil {
			return written, err
		}
		n := copy(buf, b)
		_ = w.Commit(n)
		b = b[n:]
		written += n
	}
	return written, nil
}

// Buffer returns a buffer of 1 to n bytes for the next bytes of the NAR.
func (w chunkWriter) Buffer(n int) ([]byte, error) {
	if w.current == nil {
		if err := w.take(); err != nil {
			return nil, err
		}
	}
	have := len(w.current.buf)
	return w.current.buf[have:min(have+n, w.compressor.codec.chunkSize)], nil
}

// Commit marks the first n bytes of that buffer as written. It cannot fail.
func (w chunkWriter) Commit(n int) error {
	have := len(w.current.buf)
	w.current.buf = w.current.buf[:have+n]
	_, _ = w.nar.Write(w.current.buf[have:])
	if have+n == w.compressor.codec.chunkSize {
		w.pass()
	}
	return nil
}

// take waits for a chunk: the reserved one, or a shared one.
func (j *compressionJob) take() error {
	if j.ctx.Err() != nil { // takes precedence over a chunk
		return context.Cause(j.ctx)
	}
	select {
	case j.current = <-j.reserved:
	case j.current = <-j.compressor.shared:
	case <-j.ctx.Done():
		return context.Cause(j.ctx)
	}
	j.current.reset(j)
	return nil
}

// pass sends the current chunk to the workers and to the collector. Both channels are buffered.
func (j *compressionJob) pass() {
	p := j.current
	j.current = nil
	j.queue <- p
	if j.compressor.codec.newEncoder == nil {
		p.compressed <- struct{}{}
	} else {
		j.compressor.work <- p
	}
}

// endQueue closes the queue to the collector.
func (j *compressionJob) endQueue() {
	if j.current != nil {
		j.release(j.current)
		j.current = nil
	}
	close(j.queue)
}

// collect passes frames to the sink, in the order of the NAR, and releases the chunks.
// After a failure, it only waits for the workers to finish the chunks.
func (j *compressionJob) collect(sink func([]byte) error) {
	for p := range j.queue {
		<-p.compressed
		if j.ctx.Err() == nil {
			_, _ = j.file.Write(p.buf)
			if err := sink(p.buf); err != nil {
				j.cancel(fmt.Errorf("sink: %w", err))
			}
		}
		j.release(p)
	}
}

func (j *compressionJob) release(p *chunk) {
	if p.reserved {
		j.reserved <- p
	} else {
		j.compressor.shared <- p
	}
}

// result returns the hashes and sizes, after the producer and the collector have ended.
func (j *compressionJob) result() (Compressed, error) {
	if j.ctx.Err() != nil {
		return Compressed{}, context.Cause(j.ctx)
	}
	return Compressed{NARHash: j.nar.Hash(), NARSize: j.nar.Size, FileHash: j.file.Hash(), FileSize: j.file.Size}, nil
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
