// Package metrics counts what a sidecar does, for Prometheus.
//
//	live.go    what is so at this moment: read from the Sidecar's Status at each scrape
//	ended.go   what has happened: counted from the events of every operation
//	called.go  what was waited for: hooks and notify plugins, by wrapping them
//
// A scrape takes from memory and waits for nobody.
package metrics

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/remora-backup/remora/core/api"
)

// Source is what the metrics of the moment are read from. Its methods never wait.
type Source interface {
	Status() api.Status
	Restore() api.RestoreStatus
}

// Metrics are those of one sidecar. It is a run.Reader: every operation's events go to it. All
// methods may be called from any goroutine.
type Metrics struct {
	registry *prometheus.Registry
	ended    *ended
	called   *called
}

// New returns metrics that read the present from now.
func New(now Source) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), ended: newEnded(), called: newCalled()}
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), live{now}, m.ended)
	m.registry.MustRegister(m.ended.counters()...)
	m.registry.MustRegister(m.called.counters()...)
	return m
}

// Handler answers GET /metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// desc is a metric that is made at each scrape.
func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("remora_"+name, help, labels, nil)
}
