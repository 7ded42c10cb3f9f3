"""Expressions: Jinja2's syntax, checked against what the program declares, compiled to Python functions."""

from engine.language.expressions.compiling import combine, compile_condition, compile_expression, compile_where
from engine.language.expressions.issues import Issue
from engine.language.expressions.pages import EXPRESSION_PAGES
from engine.language.expressions.scope import RESERVED_TYPES, FieldType, Schema, Scope
from engine.language.expressions.texts import compile_value

__all__ = [
    "EXPRESSION_PAGES",
    "RESERVED_TYPES",
    "FieldType",
    "Issue",
    "Schema",
    "Scope",
    "combine",
    "compile_condition",
    "compile_expression",
    "compile_value",
    "compile_where",
]
