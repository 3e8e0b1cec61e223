package jsonschema

// ValidateDecoded checks with the library, whatever the program can.
func (s *Schema) ValidateDecoded(raw []byte) ([]Violation, error) { return s.decoded(raw), nil }
