"""The words of ``trigger:``, one file a word. A new kind is one file here and one line in this table."""

from engine.core.kinds import Trigger
from engine.registry import Registry

TRIGGERS: Registry[Trigger] = Registry(
    "trigger",
    {
        "calendar": "engine.triggers.calendar:CalendarDay",
        "called": "engine.triggers.called:Called",
        "changed": "engine.triggers.changed:Changed",
        "count": "engine.triggers.count:Count",
        "date": "engine.triggers.date:OnDate",
        "event": "engine.triggers.event:OnEvent",
        "inactivity": "engine.triggers.inactivity:Inactivity",
        "schedule": "engine.triggers.schedule:Schedule",
        "manual": "engine.triggers.manual:Manual",
        "segment": "engine.triggers.segment:SegmentMove",
        "signup": "engine.triggers.signup:Signup",
        "streak": "engine.triggers.streak:Streak",
        "tier_change": "engine.triggers.tier_change:TierChange",
        "webhook": "engine.triggers.webhook:Webhook",
    },
)
