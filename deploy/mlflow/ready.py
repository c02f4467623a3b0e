"""Exit code 0 if MLflow's server and its database respond to a request of the user `api`."""

import base64
import os
import urllib.request

credentials = f"api:{os.environ['MLFLOW_API_PASSWORD']}".encode()
urllib.request.urlopen(
    urllib.request.Request(
        "http://127.0.0.1:5000/api/2.0/mlflow/registered-models/search?max_results=1",
        headers={"Authorization": f"Basic {base64.b64encode(credentials).decode()}"},
    ),
    timeout=4,
)
