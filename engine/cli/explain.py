"""``drumbeat explain``: the page of a diagnostic."""

from __future__ import annotations

import click

from engine.cli.common import EXIT_OK, emit_json


@click.command()
@click.argument("code", required=False)
@click.option("--format", "format_", type=click.Choice(["text", "json"]), default="text", help="Form of the result.")
def explain(code: str | None, format_: str) -> int:
    """What the code in error[CODE] means, with a bad and a good example; without CODE, all codes."""
    from engine.language.codes import PAGES, page

    if code is None:
        titles = {name: found.title for name, found in PAGES.items()}
        if format_ == "json":
            emit_json({"codes": titles})
        else:
            _list(titles)
        return EXIT_OK
    text = page(code)
    if format_ == "json":
        name = code.strip().lower()
        emit_json({"code": name, **{field: getattr(PAGES[name], field) for field in _FIELDS}})
    else:
        click.echo(text)
    return EXIT_OK


_FIELDS = ("severity", "title", "meaning", "bad", "good")


def _list(titles: dict[str, str]) -> None:
    wide = max(len(name) for name in titles)
    for name, title in titles.items():
        click.echo(f"{name:<{wide}}  {title}")
