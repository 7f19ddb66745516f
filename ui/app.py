"""The studio: navigation and the frame around every page. Started by `pfl ui`."""

import streamlit as st
from parts.frame import ICON, PAGES, frame
from parts.ops import deliver

st.set_page_config(page_title="promptflow lite", page_icon=ICON, layout="wide")
frame()
deliver()
st.navigation({section: [st.Page(**page) for page in pages] for section, pages in PAGES.items()}, position="top").run()
