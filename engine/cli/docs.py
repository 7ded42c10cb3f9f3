"""``drumbeat docs``: the reference pages, made from the code."""

from __future__ import annotations

import inspect
from importlib.util import find_spec
from pathlib import Path

import click

from engine.cli.common import EXIT_OK, emit_json, say


@click.command()
@click.argument("page", required=False)
@click.option(
    "--write", "folder", type=click.Path(path_type=Path, file_okay=False), is_flag=False,
    flag_value=Path("docs/reference"), default=None, help="Write the pages into DIR (docs/reference when left out).",
)  # fmt: skip
@click.option("--format", "format_", type=click.Choice(["text", "json"]), default="text", help="Form of the result.")
@click.option("--quiet", is_flag=True, help="Only results, no remarks.")
def docs(page: str | None, folder: Path | None, format_: str, quiet: bool) -> int:
    """The reference of triggers, steps, scenarios, diagnostics and verbs; PAGE prints one of them."""
    pages = all_pages()
    if page is not None:
        name = page if page.endswith(".md") else f"{page}.md"
        if name not in pages:
            raise click.BadParameter(f"'{page}' is no page; one of " + ", ".join(pages), param_hint="PAGE")
        pages = {name: pages[name]}
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in pages.items():
            (folder / name).write_text(text, encoding="utf-8")
        say(f"{len(pages)} page(s) written to {folder}", quiet)
    if format_ == "json":
        emit_json({"pages": pages} if folder is None else {"written": [str(folder / name) for name in pages]})
    elif folder is None:
        click.echo("\n".join(pages.values()), nl=False)
    return EXIT_OK


def all_pages() -> dict[str, str]:
    """File name -> text of every reference page."""
    from engine.language.reference import pages
    from engine.language.scenario_reference import page as scenarios

    return {**pages(), "scenarios.md": scenarios(), "cli.md": _verbs()}


def _verbs() -> str:
    from engine.cli.main import VERBS, cli
    from engine.language.reference import MADE

    parts = ["# The command line", MADE, "`drumbeat VERB [OPTIONS]`; every verb takes `--help`."]
    context = click.Context(cli, info_name="drumbeat")
    for verb, target in sorted(VERBS.items()):
        if find_spec(target.partition(":")[0]) is None:
            continue  # a verb of a later step; the test of the verbs speaks of it
        command = cli.get_command(context, verb)
        if command is not None:
            parts.append(_verb(verb, command))
        if isinstance(command, click.Group):
            parts += [_verb(f"{verb} {name}", it, "###") for name, it in sorted(command.commands.items())]
    return "\n\n".join(parts) + "\n"


def _verb(name: str, command: click.Command, head: str = "##") -> str:
    """One verb. Written here and not by Click, whose layout changes from one release to the next."""
    arguments = [_argument(it) for it in command.params if isinstance(it, click.Argument)]
    options = [it for it in command.params if isinstance(it, click.Option) and not it.hidden]
    text = inspect.cleandoc(command.help or "").replace("``", "`")
    parts = [f"{head} {name}", f"`{' '.join(['drumbeat', name, *arguments])}`", text]
    rows = [f"| `{_option(it)}` | {_cell(it.help or '')} |" for it in options]
    if rows:
        parts.append("\n".join(["| option | meaning |\n|---|---|", *rows]))
    return "\n\n".join(parts)


def _argument(param: click.Argument) -> str:
    name = (param.metavar or param.name or "").upper() + ("..." if param.nargs == -1 else "")
    return name if param.required else f"[{name}]"


def _option(param: click.Option) -> str:
    flag = ", ".join(param.opts)
    if param.is_flag:
        return flag
    if isinstance(param.type, click.Choice):
        return f"{flag} {'/'.join(str(choice) for choice in param.type.choices)}"
    return f"{flag} {(param.metavar or param.type.name).upper()}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
