package gc

import "github.com/prometheus/client_golang/prometheus"

// metrics are what operators watch.
type metrics struct {
	stored, waiting prometheus.Gauge
	finished        prometheus.Gauge
	removed, failed prometheus.Counter
}

func newMetrics() metrics {
	return metrics{
		stored:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "albs_blob_bytes", Help: "Bytes in the blob store, as the last collection found."}),
		waiting:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "albs_gc_waiting_bytes", Help: "Bytes that nothing names and that wait for the end of the time of grace."}),
		finished: prometheus.NewGauge(prometheus.GaugeOpts{Name: "albs_gc_finished_seconds", Help: "When the last collection ended well, as seconds since 1970; 0 if none did since the start."}),
		removed:  prometheus.NewCounter(prometheus.CounterOpts{Name: "albs_gc_removed_bytes_total", Help: "Bytes that collections removed."}),
		failed:   prometheus.NewCounter(prometheus.CounterOpts{Name: "albs_gc_failed_total", Help: "Collections that ended early."}),
	}
}

func (m metrics) observe(r Result) {
	if !r.DryRun {
		m.removed.Add(float64(r.Blobs.RemovedBytes))
	}
	if r.Error != "" {
		m.failed.Inc()
		return
	}
	m.stored.Set(float64(r.Blobs.Bytes))
	m.waiting.Set(float64(r.Blobs.WaitingBytes))
	m.finished.Set(float64(r.Finished.Unix()))
}

// Metrics are the collector's, to be registered once.
func (c *Collector) Metrics() []prometheus.Collector {
	return []prometheus.Collector{c.metrics.stored, c.metrics.waiting, c.metrics.finished, c.metrics.removed, c.metrics.failed}
}
