"""The process of the studio reaches out to nobody."""

import requests
from streamlit import net_util
from streamlit.web import cli
from streamlit.web.server import server_util

from promptflow_lite.cli import studio


def test_a_page_of_another_site_makes_the_studio_ask_nobody_for_its_public_address(monkeypatch):
    asked = []
    monkeypatch.setattr(requests, "get", lambda url, **_: asked.append(url))
    monkeypatch.setattr(net_util, "get_external_ip", net_util.get_external_ip)
    monkeypatch.setattr(cli, "main", lambda: None)

    studio.main()

    assert not server_util.is_url_from_allowed_origins("http://evil.example")
    assert asked == []
