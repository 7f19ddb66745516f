import pytest

from promptflow_lite.flow import InputSpec, OutputSpec
from promptflow_lite.flow.chat import roles_of

Q = InputSpec(name="q", is_chat_input=True)
H = InputSpec(name="chat_history", type="list", default=[])
O = OutputSpec(name="o", reference=None, is_chat_output=True)  # noqa: E741

CASES = [
    ("chat", [Q, H], [O], True),
    ("no outputs", [Q, H], [], True),
    ("marked history", [Q, InputSpec(name="h", is_chat_history=True)], [O], True),
    ("no history", [Q], [O], False),
    ("unmarked history", [Q, InputSpec(name="chat_history", is_chat_history=False)], [O], False),
    ("two chat inputs", [Q, H, InputSpec(name="r", is_chat_input=True)], [O], False),
    ("no chat input", [H], [O], False),
    ("no chat output", [Q, H], [OutputSpec(name="o", reference=None)], False),
    ("two chat outputs", [Q, H], [O, OutputSpec(name="p", reference=None, is_chat_output=True)], False),
]


@pytest.mark.parametrize(
    ("inputs", "outputs", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_chat_needs_input_history_and_output(inputs, outputs, expected):
    roles = roles_of({spec.name: spec for spec in inputs}, {spec.name: spec for spec in outputs})

    assert roles.is_chat is expected
