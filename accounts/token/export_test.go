package token

// Remembered is how many tokens of a tenant are remembered.
func (v *Verifier) Remembered(tenant string) int {
	s, ok := v.cache.tenants.Load(tenant)
	if !ok {
		return 0
	}
	return len(s.(*shelf).tokens)
}
