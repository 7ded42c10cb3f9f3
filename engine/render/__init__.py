"""Message templates: loading, checking and rendering them in a hardened Jinja2 sandbox."""

from engine.render.check import ROOTS
from engine.render.loader import TemplateSet
from engine.render.names import locale_chain
from engine.render.pages import RENDER_PAGES, Page
from engine.render.problem import TemplateProblem
from engine.render.setting import Setting, SettingFault
from engine.render.template import Message, Template

__all__ = [
    "RENDER_PAGES", "ROOTS", "Message", "Page", "Setting", "SettingFault", "Template", "TemplateProblem", "TemplateSet",
    "locale_chain",
]  # fmt: skip
