"""Status of shipper and worker: metrics, health, history, log, HTTP endpoint, pages."""
