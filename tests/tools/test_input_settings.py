"""Settings for editors must never break a tool."""

from __future__ import annotations

from promptflow_lite.tools.decorator import DynamicList, InputSetting, tool, tool_metadata


def test_settings_that_are_unknown_are_kept() -> None:
    setting = InputSetting(enabled_by="kind", enabled_by_value=["a"], from_the_future={"k": 1})

    assert (setting.enabled_by, setting.enabled_by_value) == ("kind", ["a"])
    assert setting.undefined_fields == {"from_the_future": {"k": 1}}
    assert setting.is_multi_select is None


def test_a_tool_keeps_its_settings_and_extra_keys() -> None:
    def choices() -> list[dict[str, str]]:
        return [{"value": "a"}]

    @tool(input_settings={"x": InputSetting(dynamic_list=DynamicList(function=choices))}, icon="i.png")
    def pick(x: str) -> str:
        return x

    assert pick("a") == "a"
    metadata = tool_metadata(pick)
    assert metadata["icon"] == "i.png"
    assert metadata["input_settings"]["x"].dynamic_list.function() == [{"value": "a"}]
