package group

// Look is what a beat would see now.
func (r *Memory) Look() View {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.view(r.now())
}
