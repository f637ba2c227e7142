"""A comet server on this machine: enough of it for comet_ml to report to, with the faults that servers have."""

import contextlib
import json
import threading
import zipfile
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY_UNKNOWN, EXPERIMENT_EXISTS = 90212, 90999


class CometServer:
    """Keeps what it was told; `fault` is None, "wrong key" or "broken"."""

    def __init__(self):
        self.requests = []
        self.experiments = set()
        self.fault = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/clientlib/"

    @contextlib.contextmanager
    def running(self):
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()

    def told(self, ending):
        """What was sent to addresses of this ending, in the order of its arrival."""
        bodies = [body for path, body in self.requests if path.endswith(ending)]
        return [json.loads(zlib.decompress(body, 31) if body[:2] == b"\x1f\x8b" else body) for body in bodies]

    def metrics(self):
        """(context, metric, epoch) to value."""
        values = [value for batch in self.told("experiment/metric") for value in batch["values"]]
        return {(one["context"], one["metricName"], one["epoch"]): one["metricValue"] for one in values}

    def _answer(self, path, body):
        if self.fault == "wrong key":
            return 400, {"sdk_error_code": KEY_UNKNOWN, "msg": "unknown key"}
        if self.fault == "broken":
            return 500, {"msg": "broken"}
        if path.endswith(("/add/run", "/get/run")):
            asked = json.loads(body)
            key = asked.get("experimentKey") or asked["previousExperiment"]
            if path.endswith("/add/run") and key in self.experiments and not asked["getOrCreateEnabled"]:
                return 400, {"sdk_error_code": EXPERIMENT_EXISTS, "msg": "exists"}
            self.experiments.add(key)
            return 200, {"runId": "run", "project_id": "project", "focusUrl": "http://comet/", "lastOffset": 0}
        if path.endswith("/isAlive/ver"):
            return 200, {"version": "4.4.0"}
        return 200, {"is_alive_beat_duration_millis": 10000, "gpu_monitor_interval_millis": 30000, "msg": ""}

    def _handler(self):
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                owner.requests.append((self.path.partition("?")[0], body))
                status, content = owner._answer(self.path.partition("?")[0], body)
                data = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = answer

            def log_message(self, *_):
                pass

        return Handler


class Archive:
    """What an offline archive holds."""

    def __init__(self, path):
        with zipfile.ZipFile(path) as archive:
            self.files = {name: archive.read(name) for name in archive.namelist()}
        self.experiment = json.loads(self.files["experiment.json"])
        lines = self.files["messages.json"].decode().splitlines()
        self.messages = [json.loads(line) for line in lines if line]
        self.metrics = {}
        for message in self._of("metric_msg"):
            metric = message["metric"]
            where = (message.get("context"), metric["metricName"], metric["epoch"])
            assert where not in self.metrics, f"{where} was told twice"
            assert metric["step"] == metric["epoch"]
            self.metrics[where] = metric["metricValue"]
        self.others = {message["key"]: message["value"] for message in self._of("log_other")}
        parameters = [message.get("param") or message["params"] for message in self._of("parameter_msg")]
        self.parameters = {one["paramName"]: one["paramValue"] for one in parameters if one["source"] == "manual"}
        self.uploads = {message["additional_params"]["figName"]: message for message in self._of("file_upload")}

    @property
    def kinds(self):
        return {message["type"] for message in self.messages}

    def _of(self, kind):
        return [message["payload"] for message in self.messages if message["type"] == kind]
