"""A real server in a process of its own: stops, crashes, slow and broken clients, TLS, the OpenAI client."""

from __future__ import annotations

import datetime as dt
import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest

from promptflow_lite.store import Store

pytestmark = pytest.mark.slow


class Server:
    """`pfl serve` in a process; use as a context manager."""

    def __init__(self, flow: Path, *options: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = [sys.executable, "-m", "promptflow_lite.cli.main", "serve", str(flow), "--port", str(self.port)]
        self.process = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self._wait_until_up()

    def _wait_until_up(self) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.poll() is None, self.process.stderr.read()  # type: ignore[union-attr]
            time.sleep(0.05)
        raise AssertionError("the server did not start")

    def score(self, text: str, request_id: str | None = None, timeout: float = 20) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            headers = {"content-type": "application/json"} | ({"x-request-id": request_id} if request_id else {})
            connection.request("POST", "/score", orjson.dumps({"text": text}), headers)
            response = connection.getresponse()
            response.read()
            return response.status
        finally:
            connection.close()

    def memory_mb(self) -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise AssertionError("no VmRSS")

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(20)
        self.process.stderr.close()  # type: ignore[union-attr]


def recorded_ids(home: Path) -> set[str]:
    with Store.open(home / "pfl.sqlite") as store:
        return {record.request_id for record in store.requests.list(limit=None)}


class Load:
    """Clients that send numbered requests until told to stop, and remember which were answered."""

    def __init__(self, server: Server, text: str, n_clients: int = 4) -> None:
        self.answered: dict[str, int] = {}
        self.broken: list[str] = []
        self._stop = threading.Event()
        self._server = server
        self._threads = [threading.Thread(target=self._work, args=(i, text)) for i in range(n_clients)]
        for thread in self._threads:
            thread.start()

    def _work(self, client: int, text: str) -> None:
        i = 0
        while not self._stop.is_set():
            request_id = f"c{client}-{i}"
            i += 1
            try:
                self.answered[request_id] = self._server.score(text, request_id)
            except (OSError, http.client.HTTPException):
                self.broken.append(request_id)
                time.sleep(0.01)

    def finish(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_sigterm_under_load_finishes_what_is_under_way_and_loses_nothing(plain_flow: Path, home: Path) -> None:
    with Server(plain_flow) as server:
        load = Load(server, "sleep 0.05")
        time.sleep(1.0)
        server.process.send_signal(signal.SIGTERM)
        code = server.process.wait(20)
        load.finish()

    answered = {request_id for request_id, status in load.answered.items() if status == 200}
    assert code == 0
    assert len(answered) > 20
    assert answered <= recorded_ids(home)
    # What was refused after the signal was refused whole: no request ran without being answered.
    assert recorded_ids(home) <= answered | {i for i, status in load.answered.items() if status == 503}


def test_a_killed_server_keeps_what_it_recorded(plain_flow: Path, home: Path) -> None:
    with Server(plain_flow) as server:
        load = Load(server, "x")
        time.sleep(1.0)
        answered_before = set(load.answered)
        time.sleep(0.5)
        server.process.kill()
        server.process.wait(20)
        load.finish()

    assert len(answered_before) > 20
    assert answered_before <= recorded_ids(home)
    with Server(plain_flow) as again:
        assert again.score("x", "after") == 200
        again.process.send_signal(signal.SIGTERM)
        assert again.process.wait(20) == 0
    assert {"after", *answered_before} <= recorded_ids(home)


def test_durable_answers_survive_a_kill_without_any_window(plain_flow: Path, home: Path) -> None:
    with Server(plain_flow, "--durable") as server:
        load = Load(server, "x")
        time.sleep(1.0)
        server.process.kill()
        server.process.wait(20)
        load.finish()

    assert len(load.answered) > 20
    assert set(load.answered) <= recorded_ids(home)


BROKEN: list[bytes] = [
    b"",
    b"POST /score HT",
    b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{",
    b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n{}",
    b"POST /score HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03",
    b"GET / HTTP/9.9\r\n\r\n",
    b"POST /score HTTP/1.1\r\n" + b"X-Long: " + b"a" * 70_000,
]


def test_200_slow_and_broken_clients_disturb_nobody(plain_flow: Path) -> None:
    with Server(plain_flow) as server:
        for _ in range(50):
            server.score("warm")
        before = server.memory_mb()
        clients = []
        for i in range(200):
            client = socket.create_connection(("127.0.0.1", server.port), timeout=5)
            client.sendall(BROKEN[i % len(BROKEN)])
            clients.append(client)
        with ThreadPoolExecutor(8) as pool:
            started = time.monotonic()
            statuses = list(pool.map(lambda i: server.score(f"t{i}", timeout=5), range(200)))
            elapsed = time.monotonic() - started
        for client in clients[::2]:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        for client in clients:
            client.close()
        after = server.memory_mb()

        assert statuses == [200] * 200
        assert elapsed < 15
        assert after - before < 30
        assert server.score("still here") == 200


def test_a_request_head_without_end_is_cut(plain_flow: Path) -> None:
    with Server(plain_flow) as server, socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 200")
        client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n")
        endless = (b"X-Long: " + b"a" * 8000 + b"\r\n") * 10_000
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            client.sendall(endless)

        assert server.score("still here") == 200


def test_streams_that_readers_abandon_leave_nothing_behind(chat_flow: Path) -> None:
    request = orjson.dumps({"question": "wait " * 20})
    head = b"POST /v1/run HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nContent-Length: %d\r\n\r\n"
    head %= len(request)
    with Server(chat_flow) as server:
        for _ in range(40):
            with socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
                client.sendall(head + request)
                assert client.recv(200)
        time.sleep(1.0)

        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
    assert 'pfl_requests_in_flight{endpoint="talker"} 0.0' in text


def test_the_openai_client_talks_to_a_flow(chat_flow: Path) -> None:
    from openai import BadRequestError, OpenAI

    with Server(chat_flow) as server, OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key="none") as client:
        history: list[Any] = [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "c d"},
        ]
        answer = client.chat.completions.create(model="talker", messages=history)
        assert answer.choices[0].message.content == "none 1 c d "

        with client.chat.completions.create(model="talker", messages=history, stream=True) as stream:
            parts = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
        assert "".join(parts) == "none 1 c d "
        assert [model.id for model in client.models.list()] == ["talker"]
        with pytest.raises(BadRequestError, match="last message"):
            client.chat.completions.create(model="talker", messages=[{"role": "assistant", "content": "x"}])


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + dt.timedelta(days=1))
    signed = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False).sign(
        key, hashes.SHA256()
    )
    chain, private = tmp_path / "cert.pem", tmp_path / "key.pem"
    chain.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return chain, private


def test_tls_is_spoken_when_asked_for(plain_flow: Path, certificate: tuple[Path, Path]) -> None:
    chain, private = certificate
    with Server(plain_flow, "--certificate", str(chain), "--private-key", str(private)) as server:
        context = ssl.create_default_context(cafile=str(chain))
        connection = http.client.HTTPSConnection("localhost", server.port, timeout=5, context=context)
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200
        connection.close()


def test_a_taken_port_is_said_plainly(plain_flow: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [sys.executable, "-m", "promptflow_lite.cli.main", "serve", str(plain_flow)]
        done = subprocess.run(
            [*command, "--port", str(taken.getsockname()[1])], capture_output=True, text=True, timeout=30, check=False
        )

    assert done.returncode == 1
    assert "Cannot listen on" in done.stderr
    assert os.environ["PFL_HOME"] not in done.stderr
