"""The verbs of a step, one file a verb. A new verb is one file here and one line in this table."""

from engine.core.kinds import Action
from engine.registry import Registry

ACTIONS: Registry[Action] = Registry(
    "step",
    {
        "badge": "engine.actions.badge:GiveBadge",
        "choose": "engine.actions.choose:Choose",
        "coupon": "engine.actions.coupon:GiveCoupon",
        "draw": "engine.actions.draw:DrawLots",
        "emit": "engine.actions.emit:EmitEvent",
        "invite": "engine.actions.invite:Invite",
        "message": "engine.actions.message:SendMessage",
        "nominate": "engine.actions.nominate:Nominate",
        "points": "engine.actions.points:BookPoints",
        "post": "engine.actions.post:PostToGroup",
        "rank": "engine.actions.rank:RankUsers",
        "redeem": "engine.actions.redeem:Redeem",
        "referral": "engine.actions.referral:Refer",
        "repeat": "engine.actions.repeat:Repeat",
        "select": "engine.actions.select:SelectUsers",
        "set": "engine.actions.set:SetTraits",
        "split": "engine.actions.split:Split",
        "start": "engine.actions.start:StartPlaybook",
        "stop": "engine.actions.stop:StopJourney",
        "survey": "engine.actions.survey:TakeSurvey",
        "tag": "engine.actions.tag:Tag",
        "task": "engine.actions.task:GiveTask",
        "wait": "engine.actions.wait:Wait",
        "wait_for": "engine.actions.wait_for:WaitFor",
        "webhook": "engine.actions.webhook:CallWebhook",
    },
)
