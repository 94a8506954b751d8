"""formats: what the readers of Go's expvar, of golang-stats-api-handler and Prometheus demand, and these readers."""
