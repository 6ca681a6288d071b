package server

import "fmt"

// nullString scans NULL as "".
type nullString struct{ to *string }

func (n nullString) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*n.to = ""
	case []byte:
		*n.to = string(v)
	default:
		*n.to = fmt.Sprint(v)
	}
	return nil
}

func nullStrings(values []string) []any {
	dest := make([]any, len(values))
	for i := range values {
		dest[i] = nullString{&values[i]}
	}
	return dest
}
