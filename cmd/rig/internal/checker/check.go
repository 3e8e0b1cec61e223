package checker

// Check judges one run.
func Check(h *History) *Verdict {
	return &Verdict{}
}
