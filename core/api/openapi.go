package api

import (
	_ "embed"
	"net/http"

	"github.com/remora-backup/remora/core/code"
)

// OpenAPI describes what is served, for programs and people.
//
//go:embed openapi.json
var openAPI []byte

func document(w http.ResponseWriter, _ *call) error {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(openAPI) // who asked may be gone
	return nil
}

func metrics(w http.ResponseWriter, c *call) error {
	if c.metrics == nil {
		return fail(http.StatusNotFound, code.Usage, "no metrics are kept")
	}
	c.metrics.ServeHTTP(w, c.r)
	return nil
}
