import pytest

from promptflow_lite.errors import FlowSyntaxError
from promptflow_lite.flow import read_module

TOOLS = [
    ("decorator", "from promptflow.core import tool\n@tool\ndef f(): ...\n", ["f"]),
    ("called decorator", "from promptflow import tool\n@tool(name='x')\nasync def f(): ...\n", ["f"]),
    ("alias", "from promptflow.core import tool as t\n@t\ndef f(): ...\n", ["f"]),
    ("module attribute", "import promptflow.core as pf\n@pf.tool\ndef f(): ...\n", ["f"]),
    ("our package", "from promptflow_lite import tool\n@tool\ndef f(): ...\n", ["f"]),
    ("star import", "from promptflow import *\n@tool\ndef f(): ...\n", ["f"]),
    (
        "guarded import",
        "try:\n    from promptflow import tool\nexcept ImportError:\n    tool = None\n@tool\ndef f(): ...\n",
        ["f"],
    ),
    ("inside if", "from promptflow import tool\nif True:\n    @tool\n    def f(): ...\n", ["f"]),
    ("wrapped", "from promptflow import tool\ndef f(): ...\ng = tool(f)\n", ["f"]),
    ("another tool", "from other import tool\n@tool\ndef f(): ...\n", []),
    ("nested function", "from promptflow import tool\ndef f():\n    @tool\n    def g(): ...\n", []),
    (
        "class",
        "from promptflow import ToolProvider, tool\nclass C(ToolProvider):\n"
        "    def __init__(self, a: int): ...\n    @tool\n    def run(self, b: str): ...\n    def other(self): ...\n",
        ["run"],
    ),
]


@pytest.mark.parametrize(("source", "names"), [case[1:] for case in TOOLS], ids=[case[0] for case in TOOLS])
def test_tools_of_a_file_are_found(source, names):
    assert [tool.function for tool in read_module(source, "f.py").tools] == names


def test_class_tool_takes_constructor_inputs_too():
    (tool,) = read_module(TOOLS[-1][1], "f.py").tools

    assert list(tool.parameters) == ["a", "b"]
    assert tool.init_parameters == ("a",)
    assert tool.class_name == "C"


TYPES = [
    ("int", ("int",)),
    ("float", ("double",)),
    ("bool", ("bool",)),
    ("str", ("string",)),
    ("list", ("list",)),
    ("List[str]", ("list",)),
    ("dict", ("object",)),
    ("bytes", ("object",)),
    ("'str'", ("string",)),
    ("Optional[int]", ("int",)),
    ("int | None", ("int",)),
    ("Union[int, str]", ("object",)),
    ("Union[AzureOpenAIConnection, OpenAIConnection]", ("AzureOpenAIConnection", "OpenAIConnection")),
    ("promptflow.connections.OpenAIConnection", ("OpenAIConnection",)),
    ("MyConnection", ("CustomConnection",)),
    ("Image", ("image",)),
    ("FilePath", ("file_path",)),
    ("'not valid('", ("object",)),
]


@pytest.mark.parametrize(("annotation", "expected"), TYPES)
def test_annotation_is_a_tool_type(annotation, expected):
    module = read_module(f"from promptflow import tool\n@tool\ndef f(x: {annotation}): ...\n", "f.py")

    assert module.tools[0].parameters["x"].types == expected


@pytest.mark.parametrize(
    ("default", "expected"),
    [("1", "int"), ("1.5", "double"), ("True", "bool"), ("None", "object"), ("{}", "object"), ("f()", "string")],
)
def test_type_without_annotation_comes_from_the_default(default, expected):
    module = read_module(f"from promptflow import tool\n@tool\ndef f(x={default}, *args, **rest): ...\n", "f.py")

    tool = module.tools[0]
    assert tool.parameters["x"].types == (expected,)
    assert list(tool.parameters) == ["x"]
    assert tool.accepts_extra


@pytest.mark.parametrize("source", ["def f(", "\0", "x = '\\ud800'\n" * 0 + "(" * 300, "a" + "\n b"])
def test_source_that_is_no_python_has_a_line(source):
    with pytest.raises(FlowSyntaxError) as caught:
        read_module(source, "f.py")

    assert caught.value.where.path == "f.py"
