"""formats: requirements of the readers of Go's expvar, golang-stats-api-handler and Prometheus; some real readers."""
