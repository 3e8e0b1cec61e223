package report

import (
	"encoding/json"
	"fmt"
	"io"
)

func (r *Report) WriteJSON(w io.Writer) error { return json.NewEncoder(w).Encode(r.Summary) }
func (r *Report) WriteText(w io.Writer) error {
	_, err := fmt.Fprintf(w, "%+v\n%+v\n%v\n", r.Summary, r.Rounds, r.Notes)
	return err
}
func (r *Report) WriteHTML(w io.Writer) error { return nil }
