"""The ways out: one file a channel, one line each in the table below.

A channel answers every effect it is given, in order: sent, not now (``passing``), or never. When it raises instead,
nobody knows whether the message went out; the outbox then goes by the channel's ``mode``:

- ``at_least_once``: sent again with the same key,
- ``at_most_once``: parked as ``unknown`` until a person decides,
- None: as the purpose of the message demands (marketing at most once, the others at least once).

A kind has ``shape``, the keys it takes beside those of every channel (``language/ways.py``), and
``open(name, fields, site)``, which makes the channel of an entry of ``channels:``. Its docstring is its manual page.
Where a shape is not enough it has ``faults(fields)``: (key, message, hint) of what is wrong, secrets not looked up.

A channel that can tell from its own records whether a key went out has ``written(keys)``, which names those that did.
"""

from __future__ import annotations

from engine.ports import Channel
from engine.registry import Registry

CHANNELS: Registry[Channel] = Registry(
    "channel",
    {
        "apprise": "engine.channels.apprise:AppriseChannel",
        "console": "engine.channels.console:ConsoleChannel",
        "file": "engine.channels.file:FileChannel",
        "http": "engine.channels.http:HttpChannel",
        "smtp": "engine.channels.smtp:SmtpChannel",
        "webhook": "engine.channels.webhook:WebhookChannel",
    },
)
