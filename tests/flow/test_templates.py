"""Rendering templates and discovering their variables."""

from __future__ import annotations

import pytest

from promptflow_lite.errors import JinjaParsingError, JinjaTemplateError
from promptflow_lite.flow.templates import (
    check_template,
    has_image_placeholder,
    isolate_images,
    render_template,
    template_variables,
)


@pytest.mark.parametrize(
    ("template", "variables", "text"),
    [
        ("Hi {{name}}!\n", {"name": "Ann"}, "Hi Ann!\n"),
        ("Hi {{nobody}}.", {}, "Hi ."),
        ("{% if a %}\nyes\n{% endif %}\nend\n", {"a": 1}, "yes\nend\n"),
        ("{{ a }}", {"a": "<b> & {{c}}"}, "<b> & {{c}}"),
        ("{% for x in xs %}{{x.q}};{% endfor %}", {"xs": [{"q": 1}, {"q": 2}]}, "1;2;"),
        ("{{ a }}", {"a": None}, "None"),
        ("  {% set x = 1 %}\n{{x}}", {}, "  1"),
    ],
)
def test_rendering(template, variables, text):
    assert render_template(template, variables) == text


@pytest.mark.parametrize(
    "template",
    [
        "{{ a.__class__.__mro__ }}",
        "{{ ''.__class__.__subclasses__() }}",
        "{{ a.b.c }}",
        "{% include 'x' %}",
        "{{ 1/0 }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ '{0.__class__.__mro__}'.format(a) }}",
        "{% endfor %}",
    ],
)
def test_failures_and_escapes_from_the_sandbox_are_template_errors(template):
    with pytest.raises(JinjaTemplateError, match="Failed to render jinja template"):
        render_template(template, {"a": "x"})


@pytest.mark.parametrize(("target", "family"), [("Tool", "ToolValidationError"), ("Core", "CoreError")])
def test_codes_of_a_failure_say_who_rendered(target, family):
    with pytest.raises(JinjaTemplateError) as caught:
        render_template("{{ a.b.c }}", {}, target=target)
    assert caught.value.error_codes == ["UserError", family, "JinjaTemplateError"]


def test_the_sandbox_can_be_switched_off(monkeypatch):
    monkeypatch.setenv("PF_USE_SANDBOX_FOR_JINJA", "false")
    assert "str" in render_template("{{ a.__class__ }}", {"a": "x"})


def test_variables_come_in_order_of_first_use_and_images_are_typed():
    text = "{% set own = 1 %}{{zeta}} {{own}} ![image]({{photo}}) {% for x in items %}{{x}}{{zeta}}{% endfor %}"
    assert template_variables(text) == {"zeta": "string", "photo": "image", "items": "string"}


def test_image_placeholders_get_a_line_of_their_own():
    assert isolate_images("See ![image]({{ x }}) here") == "See \n{{x}}\n here"
    assert has_image_placeholder("![ image ]({{x}})")
    assert not has_image_placeholder("![image](x)")


def test_syntax_errors_name_the_line():
    with pytest.raises(JinjaParsingError, match="Jinja parsing failed at line 2") as caught:
        check_template("ok\n{{ broken\n")
    assert caught.value.facts["line"] == 2
