package gguf

// Trim ends a plan without tensors right behind its metadata, without the padding that tensors would need: the
// reference's converter writes vocabulary files so. A plan with tensors stays as it is.
func (p *Plan) Trim() error {
	if len(p.Outputs) > 0 {
		return nil
	}
	n, err := p.headerSize()
	if err != nil {
		return err
	}
	p.DataOffset, p.FileSize = n, n
	return nil
}
