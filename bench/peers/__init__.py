"""What runs beside ours in `bench.serving`: the peers' servers, each as its documentation shows."""
