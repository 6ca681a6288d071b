package mysqld

import "time"

// Stage is what a recovering server does.
type Stage string

// The stages in their order; scanning and applying alternate when the buffer pool is smaller than the changed pages.
const (
	Starting    Stage = "starting"
	Scanning    Stage = "scanning"
	Applying    Stage = "applying"
	RollingBack Stage = "rolling_back"
)

// Progress is how far a recovery has come.
type Progress struct {
	Percent   *int          // 0 to 100; nil before the server has begun to scan
	LSN       uint64        // scanned up to here; 0 before
	TargetLSN uint64        // the end of the redo log
	Stage     Stage         // at the moment of this report
	ETA       time.Duration // until 100 percent at the speed so far; 0 when it cannot be told
}

// Meter turns the lines of a server's error log into progress. It is pure: it reads no clock but the one given.
//
// 0 percent is the first LSN the server says to have scanned, 100 percent the end of the redo log, applied. The
// server scans a part, stands still while it applies this part as a batch, and goes on, so a part counts half
// when scanned and the other half as the batch proceeds:
//
//	0%                      applied        scanned                 target, 100%
//	|==========================|------half----|                       |
type Meter struct {
	target uint64
	now    func() time.Time

	began   time.Time // when the first scanned LSN was seen
	first   uint64    // that LSN
	scanned uint64
	applied uint64  // everything before it is done with
	batch   float64 // share of the current batch, 0 to 1
	stage   Stage
	done    bool // scanned to the target and applied
	last    int  // percent reported last, -1 for none
}

// NewMeter returns a meter for a redo log that ends at target.
func NewMeter(target uint64, now func() time.Time) *Meter {
	return &Meter{target: target, now: now, stage: Starting, last: -1}
}

// Start is the first report: it carries no percent.
func (m *Meter) Start() Progress { return Progress{TargetLSN: m.target, Stage: Starting} }

// Line takes one line of the log and returns a report if the integer percent has changed. Percents only grow,
// so there are at most 101 reports after that of Start.
func (m *Meter) Line(line string) (Progress, bool) {
	msg, ok := parseLine(line)
	if !ok {
		return Progress{}, false
	}
	m.take(msg)
	if m.first == 0 {
		return Progress{}, false
	}
	percent := m.percent()
	if percent <= m.last {
		return Progress{}, false
	}
	m.last = percent
	return Progress{Percent: &percent, LSN: m.scanned, TargetLSN: m.target, Stage: m.stage, ETA: m.eta(percent)}, true
}

func (m *Meter) take(msg message) {
	switch msg.code {
	case msgScanned:
		if lsn, ok := msg.lsnAfter("log sequence number "); ok {
			m.scan(lsn)
		}
	case msgBatchStart:
		m.stage, m.batch = Applying, 0
	case msgBatchPercent, msgBatchPercentSlow:
		if share, ok := msg.percent(); ok {
			m.batch = max(m.batch, share)
		}
	case msgBatchEnd:
		m.stage, m.batch = Scanning, 0
		m.apply()
	case msgStarted:
		m.apply() // no batch at all, or one without a message
	case msgRollback:
		m.stage = RollingBack
	}
}

func (m *Meter) scan(lsn uint64) {
	if m.first == 0 {
		m.first, m.applied, m.began = lsn, lsn, m.now()
	}
	if m.stage == Starting {
		m.stage = Scanning
	}
	m.scanned = max(m.scanned, lsn)
}

func (m *Meter) apply() {
	m.applied = m.scanned
	m.done = m.first != 0 && m.scanned >= m.target
}

func (m *Meter) percent() int {
	if m.done {
		return 100
	}
	if m.target <= m.first {
		return 0 // the first scan is the last as well
	}
	part := float64(m.scanned - m.applied)
	done := float64(m.applied-m.first) + part/2 + part/2*m.batch
	return min(99, max(0, int(100*done/float64(m.target-m.first))))
}

func (m *Meter) eta(percent int) time.Duration {
	if percent == 0 {
		return 0
	}
	spent := m.now().Sub(m.began)
	return (spent * time.Duration(100-percent) / time.Duration(percent)).Round(time.Second)
}
