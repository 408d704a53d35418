package zfssync

import "bytes"

// maxLine cuts output that never ends its line.
const maxLine = 16 << 10

// lineWriter hands what is written on line by line.
type lineWriter struct {
	emit func(string)
	buf  []byte
}

// Write never fails.
func (w *lineWriter) Write(p []byte) (int, error) {
	w.buf = append(w.buf, p...)
	for {
		i := bytes.IndexByte(w.buf, '\n')
		if i < 0 && len(w.buf) < maxLine {
			return len(p), nil
		}
		if i < 0 {
			w.emit(string(w.buf))
			w.buf = nil
			return len(p), nil
		}
		w.emit(string(bytes.TrimRight(w.buf[:i], "\r")))
		w.buf = w.buf[i+1:]
	}
}

// flush emits a last line without an end.
func (w *lineWriter) flush() {
	if len(w.buf) > 0 {
		w.emit(string(w.buf))
		w.buf = nil
	}
}
