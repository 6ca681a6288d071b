package metrics

import (
	"context"
	"encoding/json"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/state"
)

var (
	backupTime   = desc("last_backup_timestamp_seconds", "When the last good backup was complete; absent if there is none.")
	backupData   = desc("last_backup_data_timestamp_seconds", "How new the data of the last good backup are: on a replica that is behind, older than the backup.")
	backupSize   = desc("last_backup_size_bytes", "Bytes of data in the last good backup.")
	backupStored = desc("last_backup_stored_bytes", "Bytes that the last good backup takes in the storage.")
	lastLocked   = desc("last_lock_window_seconds", "How long the server was locked by the last good backup.")
	lastWaited   = desc("last_lock_wait_seconds", "How long the last good backup waited for the lock.")
	verifyTime   = desc("last_verify_timestamp_seconds", "When every byte of a backup was last read and found good; absent if that is not known.")
)

// ended counts what has happened.
type ended struct {
	operations, failures, stalls, missed *prometheus.CounterVec
	locked, waited                       prometheus.Histogram

	mu     sync.Mutex
	backup facts // of the last good backup
	verify time.Time
}

// facts of a backup, as its end event names them.
type facts struct {
	Finished    time.Time `json:"-"`
	LockMS      *float64  `json:"lock_ms"`
	LockWaitMS  *float64  `json:"lock_wait_ms"`
	Bytes       int64     `json:"bytes"`
	StoredBytes int64     `json:"stored_bytes"`
	VPTime      time.Time `json:"vp_time"`
	DataTime    time.Time `json:"data_time"`
}

func newEnded() *ended {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "remora_" + name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: "remora_" + name, Help: help, Buckets: buckets})
	}
	return &ended{
		operations: counter("operations_total", "Operations that have ended, by how they did.", "operation", "state"),
		failures:   counter("failures_total", "Operations that did not complete, by the exit code of the command line.", "operation", "code"),
		stalls:     counter("stalls_total", "Times that nothing had moved for a minute.", "operation", "phase"),
		missed:     counter("runs_missed_total", "Runs of the schedule that were not started when they were due.", "operation"),
		locked:     histogram("lock_window_seconds", "How long the server was locked by a backup.", []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10}),
		waited:     histogram("lock_wait_seconds", "How long a backup waited for the lock.", []float64{.01, .1, 1, 10, 60, 600, 3600}),
	}
}

func (e *ended) counters() []prometheus.Collector {
	return []prometheus.Collector{e.operations, e.failures, e.stalls, e.missed, e.locked, e.waited}
}

// Event counts what an operation tells.
func (m *Metrics) Event(_ context.Context, e run.Event) {
	switch e.Kind {
	case run.KindStall:
		m.ended.stalls.WithLabelValues(e.Operation, e.Phase).Inc()
	case run.KindEnd:
		m.ended.end(e)
	}
}

// Missed counts a run of the schedule that was not started when it was due.
func (m *Metrics) Missed(operation string) { m.ended.missed.WithLabelValues(operation).Inc() }

func (e *ended) end(ev run.Event) {
	e.operations.WithLabelValues(ev.Operation, string(ev.State)).Inc()
	if ev.State != run.Complete && ev.State != run.CompleteWithWarnings {
		e.failures.WithLabelValues(ev.Operation, strconv.Itoa(ev.Code)).Inc()
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch ev.Operation {
	case "verify":
		e.verify = ev.Time
	case "backup":
		f := facts{Finished: ev.Time}
		text, err := json.Marshal(ev.Result)
		if err != nil || json.Unmarshal(text, &f) != nil {
			return // a result that says nothing of itself
		}
		e.backup = f
		if f.LockMS != nil {
			e.locked.Observe(*f.LockMS / 1000)
		}
		if f.LockWaitMS != nil {
			e.waited.Observe(*f.LockWaitMS / 1000)
		}
	}
}

// Backups says what the repository has, after a start or whenever it was listed: what is older
// than what is known already changes nothing.
func (m *Metrics) Backups(all []repo.Listed) {
	e := m.ended
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, b := range all {
		if b.State == "complete" && b.Finished.After(e.backup.Finished) {
			e.backup = facts{Finished: b.Finished, LockMS: &b.LockMS, Bytes: b.Bytes, StoredBytes: b.StoredBytes, VPTime: b.VPTime, DataTime: b.DataTime}
		}
	}
}

// History says what the history has, after a start.
func (m *Metrics) History(all []state.Operation) {
	e := m.ended
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, o := range all {
		if o.Operation == "verify" && (o.State == run.Complete || o.State == run.CompleteWithWarnings) && o.Ended.After(e.verify) {
			e.verify = o.Ended
		}
	}
}

// Describe is for the registry.
func (e *ended) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{backupTime, backupData, backupSize, backupStored, lastLocked, lastWaited, verifyTime} {
		to <- d
	}
}

// Collect is for the registry.
func (e *ended) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64) { to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v) }
	e.mu.Lock()
	b, verify := e.backup, e.verify
	e.mu.Unlock()
	if !verify.IsZero() {
		gauge(verifyTime, seconds(verify))
	}
	if b.Finished.IsZero() {
		return
	}
	gauge(backupTime, seconds(b.Finished))
	gauge(backupSize, float64(b.Bytes))
	gauge(backupStored, float64(b.StoredBytes))
	data := b.DataTime
	if data.IsZero() {
		data = b.VPTime
	}
	if !data.IsZero() {
		gauge(backupData, seconds(data))
	}
	if b.LockMS != nil {
		gauge(lastLocked, *b.LockMS/1000)
	}
	if b.LockWaitMS != nil {
		gauge(lastWaited, *b.LockWaitMS/1000)
	}
}
