package metrics

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/run"
)

// called counts what is called for events, and how long that takes.
type called struct {
	notices, lost, vetoes *prometheus.CounterVec
	notifying, hooks      *prometheus.HistogramVec
}

func newCalled() *called {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "remora_" + name, Help: help}, labels)
	}
	histogram := func(name, help, label string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "remora_" + name, Help: help, Buckets: []float64{.001, .01, .1, 1, 5, 30}}, []string{label})
	}
	return &called{
		notices:   counter("notices_total", "Notices given to a notify plugin.", "plugin"),
		lost:      counter("notices_lost_total", "Notices that a notify plugin did not take.", "plugin"),
		vetoes:    counter("hook_refusals_total", "Phases that hooks did not let begin."),
		notifying: histogram("notify_seconds", "How long a notify plugin took for a notice.", "plugin"),
		hooks:     histogram("hook_seconds", "How long all hooks took for an event, or before a phase.", "call"),
	}
}

func (c *called) counters() []prometheus.Collector {
	return []prometheus.Collector{c.notices, c.lost, c.vetoes, c.notifying, c.hooks}
}

// Notify counts what is sent to a notify plugin.
func (m *Metrics) Notify(name string, to plug.Notify) plug.Notify {
	return notify{to, name, m.called}
}

type notify struct {
	plug.Notify
	name string
	*called
}

func (n notify) Send(ctx context.Context, what plug.Notice) error {
	began := time.Now()
	err := n.Notify.Send(ctx, what)
	n.notices.WithLabelValues(n.name).Inc()
	n.notifying.WithLabelValues(n.name).Observe(time.Since(began).Seconds())
	if err != nil {
		n.lost.WithLabelValues(n.name).Inc()
	}
	return err
}

// Scripts are the hooks of one operation.
type Scripts interface {
	run.Reader
	Gate(ctx context.Context, e run.Event) error
	Close(ctx context.Context)
}

// Hooks counts what is asked of hooks.
func (m *Metrics) Hooks(of Scripts) Scripts { return hooks{of, m.called} }

type hooks struct {
	Scripts
	*called
}

func (h hooks) Event(ctx context.Context, e run.Event) {
	began := time.Now()
	h.Scripts.Event(ctx, e)
	h.hooks.WithLabelValues("event").Observe(time.Since(began).Seconds())
}

func (h hooks) Gate(ctx context.Context, e run.Event) error {
	began := time.Now()
	err := h.Scripts.Gate(ctx, e)
	h.hooks.WithLabelValues("before_phase").Observe(time.Since(began).Seconds())
	if err != nil {
		h.vetoes.WithLabelValues().Inc()
	}
	return err
}
