"""Work out the arithmetic in a question; nothing but numbers and operators is evaluated."""

import ast
import operator
import re

from promptflow.core import tool

OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
}


@tool
def calculator(question: str) -> str:
    candidates = re.findall(r"[-+*/(). \d]+", question)
    expression = max(candidates, key=lambda text: sum(letter.isdigit() for letter in text), default="").strip(" .")
    if not any(letter.isdigit() for letter in expression):
        return "There is nothing to calculate."

    return f"{evaluate(ast.parse(expression, mode='eval').body):g}"


def evaluate(node: ast.expr) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return node.value

    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        return OPERATORS[type(node.op)](evaluate(node.left), evaluate(node.right))

    if isinstance(node, ast.UnaryOp) and type(node.op) in OPERATORS:
        return OPERATORS[type(node.op)](evaluate(node.operand))

    raise ValueError("Only numbers and + - * / can be calculated.")
