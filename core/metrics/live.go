package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/remora-backup/remora/core/api"
)

var (
	info      = desc("info", "Always 1; says which version of remora runs.", "version")
	started   = desc("start_timestamp_seconds", "When the sidecar was started.")
	serverUp  = desc("mysql_up", "1 if the MySQL server answered when it was asked last, 0 if it is away; absent if that is not known.")
	phase     = desc("phase", "1 for the phase that the live operation is in; absent while none runs.", "operation", "phase")
	prepared  = desc("basebackup_prepare_progress", "How much of a restore's redo was applied, 0 to 100; absent unless a restore is in the phase preparing_backup.")
	moved     = desc("phase_moved_bytes", "Bytes that the live phase has moved.", "operation", "phase")
	expected  = desc("phase_expected_bytes", "Bytes that the live phase will move; absent if it does not count any.", "operation", "phase")
	nextRun   = desc("next_run_timestamp_seconds", "When the schedule starts something next; absent if it never does.", "operation")
	paused    = desc("schedule_paused_until_timestamp_seconds", "Until when the schedule is paused; absent if it is not.")
	postponed = desc("reload_postponed", "1 while a reload waits for a safe phase, else 0.")
)

// live reads what is so at this moment.
type live struct{ now Source }

func (live) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{info, started, serverUp, phase, prepared, moved, expected, nextRun, paused, postponed} {
		to <- d
	}
}

func (l live) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	st, restore := l.now.Status(), l.now.Restore()
	gauge(info, 1, st.Version)
	gauge(started, seconds(st.Since))
	gauge(postponed, truth(st.Postponed))
	if st.Server == "up" || st.Server == "away" {
		gauge(serverUp, truth(st.Server == "up"))
	}
	if st.Phase != "" {
		gauge(phase, 1, st.Operation, st.Phase)
		gauge(moved, float64(st.Bytes), st.Operation, st.Phase)
	}
	if st.Phase != "" && st.TotalBytes > 0 {
		gauge(expected, float64(st.TotalBytes), st.Operation, st.Phase)
	}
	if restore.PrepareProgress != nil && restore.Phase == api.Preparing {
		gauge(prepared, float64(*restore.PrepareProgress))
	}
	if st.Next != nil {
		gauge(nextRun, seconds(st.Next.Time), st.Next.Operation)
	}
	if !st.PausedUntil.IsZero() {
		gauge(paused, seconds(st.PausedUntil))
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// seconds is a time as Prometheus has it.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
