package hooks

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// The kinds of a Sample.
const (
	Counter = "counter" // Value is added to what was there
	Gauge   = "gauge"   // Value replaces what was there
)

// Sample is one value of a metric.
type Sample struct {
	Kind   string            `json:"kind"`
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
	Value  float64           `json:"value"`
}

// series identifies what the sample belongs to, as Prometheus writes it.
func (s Sample) series() string {
	var b strings.Builder
	b.WriteString(s.Name)
	sep := "{"
	for _, k := range slices.Sorted(maps.Keys(s.Labels)) {
		fmt.Fprintf(&b, "%s%s=%q", sep, k, s.Labels[k])
		sep = ","
	}
	if sep == "," {
		b.WriteString("}")
	}
	return b.String()
}

func (s Sample) valid() error {
	word := regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]{0,99}$`)
	switch {
	case !word.MatchString(s.Name):
		return fmt.Errorf("name %q is not of letters, digits and _", cut(s.Name, 100))
	case math.IsNaN(s.Value) || math.IsInf(s.Value, 0):
		return fmt.Errorf("%s: the value is not a number", s.Name)
	case s.Kind == Counter && s.Value < 0:
		return fmt.Errorf("%s: a count cannot go down", s.Name)
	case len(s.Labels) > 10:
		return fmt.Errorf("%s: more than 10 labels", s.Name)
	}
	for k, value := range s.Labels {
		if !word.MatchString(k) || len(value) > 200 {
			return fmt.Errorf("%s: label %q is not of letters, digits and _, or its value is too long", s.Name, cut(k, 100))
		}
	}
	return nil
}

// Metrics keeps what scripts count and measure, in memory. The zero value is ready.
type Metrics struct {
	mu     sync.Mutex
	series map[string]Sample
}

// add takes a sample over. The error says that there are too many series.
func (m *Metrics) add(s Sample) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.series == nil {
		m.series = map[string]Sample{}
	}
	key := s.series()
	have, ok := m.series[key]
	if !ok && len(m.series) >= maxSeries {
		return fmt.Errorf("keep metric %s: there are %d series already", s.Name, maxSeries)
	}
	if s.Kind == Counter {
		s.Value += have.Value
	}
	m.series[key] = s
	return nil
}

// Snapshot returns all series, sorted by name and labels.
func (m *Metrics) Snapshot() []Sample {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]Sample, 0, len(m.series))
	for _, key := range slices.Sorted(maps.Keys(m.series)) {
		out = append(out, m.series[key])
	}
	return out
}
