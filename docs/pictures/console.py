"""Makes docs/pictures/console.png: the console's overview over the data of `streamflow demo`.

    python docs/pictures/console.py [CHROMIUM]

Everything runs in a temporary home, which is gone at the end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

from playwright.sync_api import sync_playwright

from streamflow.operations import processes

PICTURE = Path(__file__).with_name("console.png")
USERS, MONTH = 7043, "2024-02-29"
WIDTH, HEIGHT = 1180, 640


def main() -> None:
    """Run the demo, its newest month, the API and the console; take the picture."""
    chromium = sys.argv[1] if len(sys.argv) > 1 else "/usr/bin/chromium"
    with tempfile.TemporaryDirectory(prefix="streamflow-picture-") as folder:
        Path(folder).chmod(0o755)
        environment = {**os.environ, "STREAMFLOW_HOME": f"{folder}/home"}
        api, console, mlflow = (
            processes.next_free("127.0.0.1", wanted) for wanted in (18000, 18200, 18400)
        )
        environment |= {
            "STREAMFLOW_API_PORT": str(api),
            "STREAMFLOW_CONSOLE_PORT": str(console),
            "STREAMFLOW_MLFLOW_PORT": str(mlflow),
        }
        command = [sys.executable, "-m", "streamflow"]
        subprocess.run(
            [*command, "demo", "--once", "--users", str(USERS)], env=environment, check=True
        )
        data = Path(folder) / "home" / "data" / f"churn-{USERS}-42" / "month_001"
        subprocess.run(
            [*command, "run-month", str(data), "--as-of", MONTH], env=environment, check=False
        )
        servers = [
            processes.Command(
                name,
                [*command, name, "--port", str(port)],
                environment,
                f"http://127.0.0.1:{port}{ready}",
                Path(folder) / "home" / "logs" / f"{name}.log",
            )
            for name, port, ready in (("serve", api, "/ready"), ("console", console, "/"))
        ]
        with processes.running(servers) as children:
            for child in children:
                child.wait_until_ready()
            for line in (data / "users.csv").read_text().splitlines()[1:101]:
                _predict(api, line.split(",")[0])
            time.sleep(3)  # the prediction log is written in the background
            _take(f"http://127.0.0.1:{console}/", chromium)


def _take(url: str, chromium: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(url)
        page.screenshot(path=PICTURE)
        browser.close()


def _predict(port: int, entity_id: str) -> None:
    body = json.dumps({"user_id": entity_id}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/predict", body, {"Content-Type": "application/json"}
    )
    with suppress(urllib.error.HTTPError):  # somebody who has left has no prediction
        urllib.request.urlopen(request, timeout=10).close()


if __name__ == "__main__":
    main()
