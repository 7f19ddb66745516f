"""An OTLP/HTTP receiver that keeps what it is sent."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector:
    """Receives traces at `/v1/traces` and metrics at `/v1/metrics`."""

    def __init__(self) -> None:
        traces: list[ExportTraceServiceRequest] = []
        metrics: list[ExportMetricsServiceRequest] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                is_trace = self.path == "/v1/traces"
                message: Any = ExportTraceServiceRequest() if is_trace else ExportMetricsServiceRequest()
                message.ParseFromString(body)
                (traces if is_trace else metrics).append(message)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._traces = traces
        self._metrics = metrics
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def spans(self) -> dict[str, Any]:
        """Name -> span."""
        found = [s for r in self._traces for rs in r.resource_spans for ss in rs.scope_spans for s in ss.spans]
        return {span.name: span for span in found}

    def metrics(self) -> dict[str, list[tuple[dict[str, Any], Any]]]:
        """Name -> attributes and value of each of its series, as last sent; a histogram's value is its count."""
        found: dict[str, list[tuple[dict[str, Any], Any]]] = {}
        for request in self._metrics:
            for metric in (m for rm in request.resource_metrics for sm in rm.scope_metrics for m in sm.metrics):
                points = getattr(metric, metric.WhichOneof("data")).data_points
                found[metric.name] = [
                    (attributes(point), point.as_int if hasattr(point, "as_int") else point.count) for point in points
                ]
        return found


def attributes(item: Any) -> dict[str, Any]:
    """The attributes of a span or a data point."""
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in item.attributes}
