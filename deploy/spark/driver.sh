#!/bin/sh
# A command of StreamFlow as a driver of Spark: executors call it back at the address by which this
# container reaches the master. It has others, and Spark would take the one of the container's name.
set -eu
SPARK_LOCAL_IP=$(python - <<'PYTHON'
import socket
with socket.socket(type=socket.SOCK_DGRAM) as towards:
    towards.connect(("spark-master", 7077))
    print(towards.getsockname()[0])
PYTHON
)
export SPARK_LOCAL_IP SPARK_LOCAL_HOSTNAME="$SPARK_LOCAL_IP"
exec python -m streamflow "$@"
