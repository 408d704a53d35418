package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/url"
)

// UploadFile is one file of a base that is sent.
type UploadFile struct {
	Name string
	Open func() (io.ReadCloser, error)
}

// UploadBase sends the files of a signed bundle, or one tar archive, as the
// base name. sent is told how many bytes have gone out; it may be nil.
func (c *Client) UploadBase(ctx context.Context, name string, files []UploadFile, sent func(n int64)) (Uploaded, error) {
	body, feed := io.Pipe()
	form := multipart.NewWriter(feed)
	done := make(chan struct{})
	var total int64
	go func() {
		defer close(done)
		_ = feed.CloseWithError(writeFiles(form, files, func(n int) { // a pipe's CloseWithError never fails
			if total += int64(n); sent != nil {
				sent(total)
			}
		}))
	}()
	defer func() {
		_ = body.Close() // ends writeFiles when the answer came before all was sent
		<-done
	}()
	req, err := c.request(ctx, "PUT", "/v1/bases/uploads/"+url.PathEscape(name), nil, body)
	if err != nil {
		return Uploaded{}, err
	}
	req.Header.Set("Content-Type", form.FormDataContentType())
	res, err := c.send(req)
	if err != nil {
		return Uploaded{}, err
	}
	defer func() { _ = res.Body.Close() }()
	var out Uploaded
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		return out, fmt.Errorf("upload %s: the answer is not what was expected: %w", name, err)
	}
	return out, nil
}

func writeFiles(form *multipart.Writer, files []UploadFile, wrote func(n int)) error {
	for _, f := range files {
		if err := writeFile(form, f, wrote); err != nil {
			return fmt.Errorf("send %s: %w", f.Name, err)
		}
	}
	return form.Close()
}

func writeFile(form *multipart.Writer, f UploadFile, wrote func(n int)) error {
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // was only read
	part, err := form.CreateFormFile("file", f.Name)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(counted{part, wrote}, struct{ io.Reader }{r}, make([]byte, 256<<10))
	return err
}

type counted struct {
	io.Writer
	wrote func(n int)
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.Writer.Write(b)
	c.wrote(n)
	return n, err
}
