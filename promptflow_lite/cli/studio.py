"""The process of the studio: Streamlit, which may not ask a service of others for this machine's public address."""

from __future__ import annotations


def main() -> None:
    """Run Streamlit's command line. It would look the address up when a page of another site tries to connect."""
    from streamlit import net_util
    from streamlit.web import cli

    net_util.get_external_ip = lambda: None
    cli.main()


if __name__ == "__main__":
    main()
