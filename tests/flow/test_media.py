import base64
import json
import pickle
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from promptflow_lite._utils.jsonable import dumps
from promptflow_lite.errors import InvalidImageInput
from promptflow_lite.flow import (
    Image,
    Text,
    absolute_media_paths,
    contains_media,
    image_files,
    load_image,
    load_media,
    media_to_json,
    persist_media,
)
from promptflow_lite.flow.fetch import fetch_bytes, is_public

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 20
PNG_BASE64 = base64.b64encode(PNG).decode()


def test_image_is_bytes_with_a_short_name():
    image = Image(PNG)

    assert image == Image(PNG, "image/x")
    assert hash(image) == hash(Image(PNG))
    assert image.mime_type == "image/png"
    assert str(image) == f"Image({image._hash})"
    assert len(image._hash) == 8
    assert image.to_base64(with_type=True) == f"data:image/png;base64,{PNG_BASE64}"
    assert pickle.loads(pickle.dumps(Image(PNG, "image/gif", "http://x")))._mime_type == "image/gif"
    assert Image(b"??").mime_type == "image/*"


@pytest.mark.parametrize(
    "value",
    [
        {"data:image/png;path": "a.png"},
        {"data:image/png;base64": PNG_BASE64},
        {"data:image/*;base64": f"data:image/png;base64,{PNG_BASE64}"},
        {"type": "image_file", "image_file": {"path": "a.png"}},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG_BASE64}"}},
        "a.png",
        PNG_BASE64,
        f"data:image/png;base64,{PNG_BASE64}",
        f"data:image/png;base64: {PNG_BASE64}",
        "data:image/png;path: a.png",
    ],
)
def test_every_encoding_of_an_image_is_read(tmp_path, value):
    (tmp_path / "a.png").write_bytes(PNG)

    image = load_image(value, root=tmp_path)

    assert bytes(image) == PNG
    assert image.mime_type == "image/png"


@pytest.mark.parametrize(
    "value",
    [
        "missing.png",
        "",
        None,
        {},
        {"data:image/png;path": 3},
        {"data:image/png;base64": "*"},
        {"type": "image_url"},
        "a\0b.png",
    ],
)
def test_what_is_no_image_is_refused(tmp_path, value):
    with pytest.raises(InvalidImageInput):
        load_image(value, root=tmp_path)


HEADS = [
    (b"GIF89a", "image/gif"),
    (b"\xff\xd8\xff\xe0", "image/jpeg"),
    (b"RIFF1234WEBP", "image/webp"),
    (b"1234ftypavif", "image/avif"),
    (b"<?xml?><svg>", "image/svg+xml"),
    (b"BMxx", "image/bmp"),
    (b"text", "image/*"),
]


@pytest.mark.parametrize(("head", "mime_type"), HEADS)
def test_type_of_an_image_is_seen_in_its_bytes(head, mime_type):
    assert load_image(head, root=Path()).mime_type == mime_type


def test_image_is_equal_to_images_only():
    assert Image(PNG) != PNG
    assert Image(b"", source_url="http://a") != Image(b"", source_url="http://b")


def test_images_are_found_at_any_depth(tmp_path):
    image = Image(PNG)

    assert contains_media([{"a": (1, image)}])
    assert media_to_json({"a": (image,)}) == {"a": [{"data:image/png;base64": PNG_BASE64}]}
    stored = persist_media(image, tmp_path, message_format="openai-vision")
    assert stored["image_file"]["path"].startswith(str(tmp_path))
    linked = persist_media(Image(b"", "image/png", "https://h/a.png"), tmp_path)
    assert linked == {"data:image/png;url": "https://h/a.png"}


@pytest.mark.parametrize("url", ["ftp://h/a.png", "file:///etc/passwd", "http:///x"])
def test_only_http_is_fetched(url):
    with pytest.raises(InvalidImageInput):
        fetch_bytes(url, max_bytes=10, allow_private=True)


def test_url_item_must_be_http(tmp_path):
    with pytest.raises(InvalidImageInput):
        load_image({"data:image/png;url": "file:///etc/passwd"}, root=tmp_path)


def test_paths_can_be_forbidden(tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)

    with image_files(allowed=False), pytest.raises(InvalidImageInput, match="path"):
        load_image("a.png", root=tmp_path)


def test_where_paths_are_forbidden_nobody_learns_which_files_exist(tmp_path):
    (tmp_path / "secret").write_bytes(PNG)

    messages = set()
    for name in ("secret", "absent"):
        with image_files(allowed=False), pytest.raises(InvalidImageInput) as caught:
            load_image(name, root=tmp_path)
        messages.add(str(caught.value).replace(name, "…"))
    assert all("base64" in message for message in messages)


def test_text_items_belong_to_the_vision_format(tmp_path):
    value = [{"type": "text", "text": "hi"}]

    assert load_media(value, root=tmp_path) is value
    loaded = load_media(value, root=tmp_path, message_format="openai-vision")
    assert loaded == ["hi"]
    assert isinstance(loaded[0], Text)


def test_persisted_images_are_paths(tmp_path):
    image = Image(PNG)

    stored = persist_media({"a": [image, image], "b": 1}, tmp_path / "img", relative_to=tmp_path)

    path = stored["a"][0]["data:image/png;path"]
    assert path.startswith("img/")
    assert path.endswith(".png")
    assert (tmp_path / path).read_bytes() == PNG
    assert stored["a"][1] == stored["a"][0]
    assert load_media(stored, root=tmp_path)["a"][0] == image


def test_values_without_images_are_returned_as_they_are(tmp_path):
    value = {"a": [1, "x"]}

    assert persist_media(value, tmp_path) is value
    assert media_to_json(value) is value


def test_json_holds_base64_or_the_url():
    assert json.loads(dumps({"i": Image(PNG)})) == {"i": {"data:image/png;base64": PNG_BASE64}}
    assert media_to_json(Image(b"", "image/png", "http://h/a.png")) == {"data:image/png;url": "http://h/a.png"}
    vision = media_to_json([Image(PNG)], "openai-vision")
    assert vision == [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG_BASE64}"}}]


def test_paths_of_a_data_file_become_absolute(tmp_path):
    row = {"i": {"data:image/png;path": "a.png"}, "v": [{"type": "image_file", "image_file": {"path": "b.png"}}]}

    absolute = absolute_media_paths(row, tmp_path)

    assert absolute["i"] == {"data:image/png;path": str(tmp_path / "a.png")}
    assert absolute["v"][0]["image_file"]["path"] == str(tmp_path / "b.png")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("8.8.8.8", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("169.254.169.254", False),
        ("::1", False),
        ("::ffff:127.0.0.1", False),
        ("fe80::1%eth0", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("2606:4700::1111", True),
    ],
)
def test_private_addresses_are_known(address, expected):
    assert is_public(address) is expected


@pytest.fixture
def server():
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/loop":
                self.send_response(302)
                self.send_header("Location", "/loop")
                self.end_headers()
            elif self.path == "/a.png":
                self.send_response(200)
                self.send_header("Content-Type", "image/png")
                self.end_headers()
                self.wfile.write(PNG)
            else:
                self.send_response(404)
                self.end_headers()

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as instance:
        thread = threading.Thread(target=instance.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{instance.server_port}"
        instance.shutdown()
        thread.join()


def test_private_hosts_are_refused_unless_allowed(server):
    with pytest.raises(InvalidImageInput, match="private"):
        fetch_bytes(f"{server}/a.png", max_bytes=1000)

    assert fetch_bytes(f"{server}/a.png", max_bytes=1000, allow_private=True) == (PNG, "image/png")


@pytest.mark.parametrize(("path", "limit"), [("/loop", 1000), ("/missing", 1000), ("/a.png", 5)])
def test_useless_answers_are_refused(server, path, limit):
    with pytest.raises(InvalidImageInput):
        fetch_bytes(server + path, max_bytes=limit, allow_private=True)


def test_url_image_is_fetched_when_allowed(server, tmp_path, monkeypatch):
    monkeypatch.setenv("PFL_ALLOW_PRIVATE_URLS", "true")

    image = load_image({"data:image/png;url": f"{server}/a.png"}, root=tmp_path)

    assert bytes(image) == PNG
    assert image.source_url == f"{server}/a.png"
    assert bytes(load_image(f"{server}/a.png", root=tmp_path, fetch_urls=False)) == b""
