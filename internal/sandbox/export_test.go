package sandbox

// WithoutRange makes e work as where the user has been lent no ids.
func (e *Engine) WithoutRange() { e.ids.count = 0 }
