"""What makes events of the records of a file somebody names: as its feed in the program says, or as is said with it."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from engine.errors import UsageError
from engine.feeds.files import Layout
from engine.feeds.mapping import PayloadMap
from engine.feeds.table import CsvMapping, mapping_of


def layout_of(
    feeds: Iterable[tuple[str, Mapping[str, Any]]], home: Path, columns: str | None = None, map_: Path | None = None
) -> Callable[[Path], Layout]:
    """The layout of a file, by its path.

    Parameters
    ----------
    feeds: the program's, as its settings have them.
    home: the folder of the program, where the patterns of its feeds begin.
    columns: which columns mean what in every CSV and Parquet file, whatever the feeds say; raises UsageError.
    map_: a file that says which fields form an event, in every file of JSON lines; raises UsageError.
    """
    given = None if columns is None else mapping_of(columns)
    made = None if map_ is None else _payload(map_)
    known: list[tuple[set[Path], Layout]] = []
    for word, fields in feeds:
        if word == "file" and ("csv" in fields or "map" in fields):
            found = glob.glob(str(fields["path"]), root_dir=home, recursive=True)
            csv = CsvMapping.of(fields["csv"]) if "csv" in fields else None
            payload = PayloadMap.of(fields["map"], id_needed=False) if "map" in fields else None
            known.append(({(home / name).resolve() for name in found}, Layout(csv, payload)))

    def layout(path: Path) -> Layout:
        place = path.resolve()
        of_feed = next((found for files, found in known if place in files), Layout())
        of_feed = of_feed if given is None else of_feed._replace(columns=given)
        return of_feed if made is None else of_feed._replace(payload=made)

    return layout


def _payload(path: Path) -> PayloadMap:
    """The ``map`` of a feed in a file of its own; raises UsageError."""
    import yaml

    try:
        setting = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}", hint="--map names a YAML file") from None
    except (yaml.YAMLError, ValueError) as error:
        text = " ".join(str(error).split())
        raise UsageError(f"{path} is no YAML: {text}", hint="write what stands under map: in a feed") from None
    return PayloadMap.of(setting, id_needed=False)
