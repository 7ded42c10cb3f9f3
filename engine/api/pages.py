"""The few pages that people see: one question, one answer, in Chinese or English; no script, nothing from elsewhere."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256

from starlette.responses import Response

_STYLE = (
    "body{font:16px/1.6 system-ui,sans-serif;max-width:32rem;margin:12vh auto;padding:0 1.5rem;color:#222;"
    "background:#fff}h1{font-size:1.4rem}button{font:inherit;padding:.5rem 1.2rem;border:1px solid #555;"
    "border-radius:.4rem;background:#f4f4f4;cursor:pointer}"
)
_HEADERS: Mapping[str, str] = {
    "content-security-policy": (
        f"default-src 'none'; style-src 'sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "vary": "accept-language",
    "x-content-type-options": "nosniff",
    "x-robots-tag": "noindex, nofollow",
}

ASK, DONE, LATER, NOWHERE = "ask", "done", "later", "nowhere"
_BUTTON = {"en": "Unsubscribe", "zh-CN": "确认退订"}
_WORDS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    ASK: {
        "en": ("Unsubscribe?", "You will get no more messages of this kind in this way."),
        "zh-CN": ("确认退订？", "退订后，您将不会再通过此渠道收到此类消息。"),
    },
    DONE: {
        "en": ("You are unsubscribed", "You will get no more messages of this kind in this way."),
        "zh-CN": ("已为您退订", "您将不会再通过此渠道收到此类消息。"),
    },
    LATER: {
        "en": ("Not now", "Your wish could not be taken. Please try again in a few minutes."),
        "zh-CN": ("暂时无法处理", "您的请求还没有被受理，请几分钟后再试。"),
    },
    NOWHERE: {
        "en": ("This link does not work", "It may have been cut off. Please open it from the message once more."),
        "zh-CN": ("链接无效", "链接可能不完整，请从消息中重新打开。"),
    },
}


def page(what: str, language: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """One of the pages; ``ASK`` has a button that sends the same address back."""
    title, text = _WORDS[what][language]
    form = f'<form method="post"><button type="submit">{_BUTTON[language]}</button></form>' if what == ASK else ""
    html = (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{title}</h1><p>{text}</p>{form}</main></body></html>"
    )
    return Response(html, status, {**_HEADERS, **(headers or {})}, media_type="text/html")


def language_of(accepted: str, usual: str = "en") -> str:
    """The language of a page: what the browser likes best of those there are.

    Parameters
    ----------
    accepted: its header ``accept-language``.
    usual: the program's locale, for a browser that likes neither.
    """
    likes = []
    for place, part in enumerate(accepted[:200].split(",")):
        name, _, rest = part.strip().lower().partition(";")
        language = {"zh": "zh-CN", "en": "en"}.get(name.split("-")[0].strip())
        if language is not None:
            likes.append((-_weight(rest), place, language))
    likes = [it for it in sorted(likes) if it[0] < 0]
    return likes[0][2] if likes else "zh-CN" if usual.lower().startswith("zh") else "en"


def _weight(text: str) -> float:
    name, _, value = text.partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        weight = float(value)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
