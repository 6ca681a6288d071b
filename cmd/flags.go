package cmd

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flags are those that all operations have in common.
type flags struct {
	asJSON    bool
	debugSync string
	detach    bool
}

func (f *flags) add(c *cobra.Command) {
	c.Flags().BoolVar(&f.asJSON, "json", false, "one JSON object per line, the result last")
	c.Flags().StringVar(&f.debugSync, "debug-sync", "", "take orders on this `socket`: hold, fail or kill at sync points")
	_ = c.Flags().MarkHidden("debug-sync")
}

// addDetach is for the operations that a sidecar can carry out.
func (f *flags) addDetach(c *cobra.Command) {
	c.Flags().BoolVar(&f.detach, "detach", false, "let the sidecar carry it out, and print its id only")
}

// refuseTwice makes it an error to give a flag of c, or of a command below it, two values:
// the parser would take the last one without a word.
func refuseTwice(c *cobra.Command) {
	c.Flags().VisitAll(func(f *pflag.Flag) { f.Value = &single{Value: f.Value, given: map[string]string{}} })
	for _, below := range c.Commands() {
		refuseTwice(below)
	}
}

// single is a flag's value that is set once, or each key of it if it is made of key=value.
type single struct {
	pflag.Value
	given map[string]string // by key, which is "" for a plain value
}

func (s *single) Set(text string) error {
	key := ""
	if s.Type() == "stringToString" {
		key, _, _ = strings.Cut(text, "=")
	}
	if before, twice := s.given[key]; twice && before != text {
		return fmt.Errorf("it was given before, as %q", before)
	}
	s.given[key] = text
	return s.Value.Set(text)
}
