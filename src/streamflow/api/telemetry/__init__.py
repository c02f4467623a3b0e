"""What operators see of the API: metrics, the request log, traces."""
