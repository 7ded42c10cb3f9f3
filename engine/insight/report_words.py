"""Every word of a report of a period, in English and Chinese. ``{name}`` is filled in; see ``Words``."""

from __future__ import annotations

from typing import Any

LOCALES = ("en", "zh-CN")

_WORDS: dict[str, tuple[str, str]] = {
    # the frame
    "title": ("Report of {program}", "{program} 运营报告"),
    "span": ("{first} to {last} ({days} days, {zone})", "{first} 至 {last}（{days} 天，时区 {zone}）"),
    "open_day": ("the last day is not over", "最后一天尚未结束"),
    "held": ("events held: {first} to {last} ({events})", "现有事件：{first} 至 {last}（{events} 条）"),
    "forgotten": ("older events were forgotten (retention), up to {at}: first days of their users are not known, so those are in no cohort",
                  "{at} 及更早的事件已按保留期清除：这些用户的首日不可知，不计入留存"),
    "since": ("entries of playbooks are known from {at} on", "剧本的进入记录自 {at} 起才有"),
    "outside": ("the period begins before the first event held: what was before is not in the figures",
                "所选时段早于现有的第一条事件，更早的情况不在数字里"),
    "headlines": ("What happened", "要点"),
    "figures": ("Figures", "数据表"),
    "none": ("Nothing of the kind in this period.", "本期没有这类数据。"),
    "activity_is": ("Active is whoever had one of: {types}.", "“活跃”指有以下任一行为：{types}。"),
    "activity_any": ("Active is whoever had an event from outside.", "“活跃”指有任一外部事件。"),
    # people
    "people": ("People", "用户"),
    "active": ("Active users", "活跃用户"),
    "new": ("New users", "新用户"),
    "dau": ("Daily active (DAU)", "日活 DAU"),
    "dau_mean": ("DAU, mean", "日活 DAU（均值）"),
    "wau": ("Weekly active (WAU)", "周活 WAU"),
    "wau_last": ("WAU, last day", "周活 WAU（末日）"),
    "mau": ("Monthly active (MAU)", "月活 MAU"),
    "mau_last": ("MAU, last day", "月活 MAU（末日）"),
    "sticky": ("Stickiness (DAU/MAU)", "粘性（DAU/MAU）"),
    "activity": ("Active users over time", "活跃用户走势"),
    "by_day": ("by day", "按天"), "by_week": ("by week", "按周"), "by_month": ("by month", "按月"),
    "by_year": ("by year", "按年"),
    "activity_note": ("DAU is the mean of its days; WAU and MAU are the users of the 7 and 30 days up to the last day of the point, {grain}.",
                      "{grain}；DAU 取区间内各日均值，WAU、MAU 为截至区间末日的 7 天、30 天活跃人数。"),
    "users_unit": ("users", "人"),
    "from": ("From", "起"), "to": ("To", "止"),
    "hours": ("When people are active", "活跃时段"),
    "hours_note": ("Activities by weekday and hour, {zone}; darker is more. Busiest: {day} {hour}:00 ({count}).",
                   "按星期与小时统计的行为次数（{zone}），颜色越深越多。最忙：{day} {hour} 点（{count} 次）。"),
    "hours_dated": ("The feed knows days only (all times are midnight), so hours say nothing; by weekday:",
                    "数据只有日期（时间都是零点），看不出小时；按星期："),
    "weekdays": ("Mon Tue Wed Thu Fri Sat Sun", "周一 周二 周三 周四 周五 周六 周日"),
    "weekday": ("Weekday", "星期"), "hour": ("Hour", "小时"), "count": ("Count", "次数"), "share": ("Share", "占比"),
    "retention": ("Who comes back", "留存"),
    "retention_note": ("Of those new in a row's days: how many were active on exactly the next, the 7th and the 30th day after their first, {grain}. Whoever's day is not over yet is not counted.",
                       "{grain}；同期新用户在首日之后第 1、7、30 天当天又活跃的比例；还没到那一天的人不计入。"),
    "cohort": ("First day in", "首日所在"), "users": ("Users", "人数"), "all": ("All", "合计"),
    "day_1": ("Next day", "次日留存"), "day_7": ("Day 7", "7 日留存"), "day_30": ("Day 30", "30 日留存"),
    "too_early": ("too early", "未到期"),
    # playbooks
    "playbooks": ("Playbooks", "剧本"), "playbook": ("Playbook", "剧本"), "status": ("Status", "状态"),
    "overview": ("Entries by playbook", "各剧本进入人次"), "entries": ("Entries", "进入人次"),
    "entries_unit": ("entries", "人次"), "shadow": ("Shadow", "影子运行"),
    "more": ("{n} more playbooks with entries are in the table.", "另有 {n} 个剧本见数据表。"),
    "idle": ("{n} playbooks had no entry in this period.", "{n} 个剧本本期无人进入。"),
    "goal_of": ("goal: {events}", "目标：{events}"), "no_goal": ("no goal set", "未设目标"),
    "funnel": ("Funnel", "漏斗"), "entered": ("Entered (treated)", "进入（实验组）"), "goal": ("Goal reached", "达成目标"),
    "stage": ("Stage", "环节"), "refused": ("Refused", "未执行"),
    "comparison": ("Treated against holdout", "实验组对比对照组"),
    "treated": ("Treated", "实验组"), "holdout": ("Holdout", "对照组"), "side": ("Side", "分组"),
    "goals": ("Goals", "达成"), "conversion": ("Conversion", "转化率"), "interval": ("95 % interval", "95% 区间"),
    "worth": ("Value", "价值"), "per_entry": ("Value per entry", "人均价值"),
    "difference": ("Difference", "差异"), "points_unit": ("points", "个百分点"),
    "lift_clear": ("{gap} points (between {low} and {high}): the difference is clear.",
                   "相差 {gap} 个百分点（{low} 至 {high} 之间），差异明确。"),
    "lift_open": ("{gap} points (between {low} and {high}): it may be none.", "相差 {gap} 个百分点（{low} 至 {high} 之间），尚不能说有差异。"),
    "lift_missing": ("To show a difference of this size, the holdout needs about {n} more entries.",
                     "要证实这么大的差异，对照组还需约 {n} 人次。"),
    "few": ("Not enough data: {sides} (shown from {enough} on each side).", "数据不足：{sides}（每组满 {enough} 人次才给出结论）。"),
    "few_side": ("{side} has {n}, {more} more needed", "{side}现有 {n} 人次，还差 {more}"),
    "worth_gap": ("Value per entry: {gap} (between {low} and {high}).", "人均价值相差 {gap}（{low} 至 {high} 之间）。"),
    "no_holdout": ("No holdout: conversion is {share}, and nobody can say what would have been without.",
                   "没有对照组：转化率 {share}，无法判断不做会怎样。"),
    "arms": ("A/B arms of {step}", "A/B 分组：{step}"), "arm": ("Arm", "分组"),
    "against": ("Against the first", "与第一组相比"), "p": ("p", "p 值"),
    "arms_clear": ("{arm} differs from {first}: {gap} points (between {low} and {high}).",
                   "{arm} 与 {first} 有明确差异：{gap} 个百分点（{low} 至 {high} 之间）。"),
    "arms_open": ("No arm differs clearly from {first} so far; looking again later does no harm to this test.",
                  "目前没有分组与 {first} 有明确差异；此检验可随时查看，反复看不影响结论。"),
    "arms_few": ("Not enough data: {sides} (shown from {enough} on in each arm).", "数据不足：{sides}（每组满 {enough} 人次才比较）。"),
    "arms_no_goal": ("The playbook has no goal, so the arms cannot be compared.", "剧本没有设目标，无法比较各分组。"),
    "arms_one": ("Only one arm has entries.", "只有一个分组有人进入。"),
    "arms_note": ("Test that may be read at any time: mixture sequential probability ratio test with its confidence sequence (Robbins; Johari and others 2022; Waudby-Smith and others 2024).",
                  "采用可随时查看的序贯检验：混合序贯概率比检验及其置信序列（Robbins；Johari 等 2022；Waudby-Smith 等 2024）。"),
    "exits": ("Left early: {list}", "提前退出：{list}"),
    # coupons
    "coupons": ("Coupons and points", "优惠券与积分"), "pool": ("Coupon", "券"), "issued": ("Given", "发放"),
    "redeemed": ("Redeemed", "核销"), "expired": ("Lapsed", "过期"), "returned": ("Returned", "退回"),
    "open": ("Open", "未用"), "cost": ("Cost of redeemed", "已核销成本"), "worth_given": ("Worth given", "发放面值"),
    "rate": ("Redeemed", "核销率"), "coupons_note": ("Given in the period; what became of them up to the end of the data.",
                                                    "本期发放的券，及其截至数据末尾的去向。"),
    "account": ("Account", "账户"), "what": ("What", "类型"), "points": ("Points", "积分"),
    # moves
    "moves": ("Levels and segments", "等级与人群"), "ladder_up": ("up", "升级"), "ladder_down": ("down", "降级"),
    "ladder": ("Ladder", "等级体系"), "nothing": ("(none)", "（无）"),
    "ladder_note": ("{name}: {up} moved up, {down} moved down.", "{name}：升级 {up} 人次，降级 {down} 人次。"),
    "segment": ("Segment", "人群"), "came": ("Entered", "进入"), "went": ("Left", "离开"), "net": ("Net", "净变化"),
    # groups
    "groups": ("Groups", "社群"), "group": ("Group", "群"), "members_active": ("Active", "活跃人数"),
    "posts": ("Activities", "行为次数"), "joined": ("Joined", "加入"), "left": ("Left", "退出"),
    "seats": ("Seats taken", "已占名额"), "silent": ("Silent days", "沉默天数"), "waiting": ("Waiting", "候补"),
    # sending
    "sending": ("Sending", "触达"), "channels": ("Delivery by channel", "各通道送达"), "channel": ("Channel", "通道"),
    "messages": ("Messages", "消息"), "sent": ("Sent", "已发"), "pending": ("Pending", "待发"), "dead": ("Failed", "失败"),
    "sending_now": ("On the way", "发送中"), "unknown": ("Unknown", "未知"), "cancelled": ("Cancelled", "已取消"),
    "delivered": ("Delivered", "送达"), "opened": ("Opened", "打开"), "clicked": ("Clicked", "点击"),
    "bounced": ("Bounced", "退信"), "complained": ("Complained", "投诉"), "unsubscribed": ("Unsubscribed", "退订"),
    "refusals": ("Not done, by reason", "未执行的原因"), "reason": ("Reason", "原因"), "kind": ("Kind", "类型"),
    "by_playbook": ("By playbook", "按剧本"),
    "collisions": ("Who lost to whom", "剧本之间的冲突"),
    "collisions_note": ("Rows lost to columns: how often a message of the row found a cap or quota filled by messages of the column, or its coupon already given by it. A loss to several counts for each.",
                        "行输给列：行的消息因频控或配额已被列的消息占满而未发，或券已由列发过。同时输给多个剧本时各计一次。"),
    "lost": ("Lost", "未发方"), "won": ("To", "占用方"), "nobody": ("cannot be told", "无法判断"),
    "made": ("Made by drumbeat report at {clock} of the engine's clock. Intervals are 95 %: Wilson for shares, Newcombe for differences, Welch for values.",
             "由 drumbeat report 生成，引擎时钟 {clock}。区间均为 95%：比例用 Wilson，差异用 Newcombe，价值用 Welch。"),
    "simulated": ("simulated, nothing was sent", "模拟运行，未真正发送"),
    # headlines
    "h_active": ("{active} users were active, {new} of them for the first time; {dau} on a mean day.",
                 "{active} 人活跃，其中新用户 {new} 人；平均每天 {dau} 人。"),
    "h_before": ("That is {change} against the {days} days before ({before}).", "较前 {days} 天（{before} 人）{change}。"),
    "h_mau": ("{mau} users were active in the last 30 days; on a mean day {sticky} % of a month's users come.",
              "最近 30 天活跃 {mau} 人；粘性（DAU/MAU）{sticky}%。"),
    "h_back": ("Of the new users {d1} came back the next day, {d7} on day 7, {d30} on day 30.",
               "新用户次日留存 {d1}，7 日留存 {d7}，30 日留存 {d30}。"),
    "h_clear": ("{title}: {share} reach the goal against {other} without it, {gap} points (between {low} and {high}).",
                "{title}：实验组转化 {share}，对照组 {other}，相差 {gap} 个百分点（{low} 至 {high} 之间）。"),
    "h_unclear": ("{title}: no difference is shown yet ({share} against {other} without it).",
                  "{title}：尚看不出差异（实验组 {share}，对照组 {other}）。"),
    "h_arm": ("{title}: arm {arm} against {first}: {gap} points (between {low} and {high}).",
              "{title}：分组 {arm} 比 {first} 相差 {gap} 个百分点（{low} 至 {high} 之间）。"),
    "h_sent": ("{messages} messages were decided, {refused} held back; most often because of: {reason} ({count}).",
               "共触发消息 {messages} 条，另有 {refused} 条未发，最多的原因是“{reason}”（{count} 条）。"),
    "h_sent_all": ("{messages} messages were decided, none was held back.", "共触发消息 {messages} 条，没有被拦下的。"),
    "h_failed": ("{failed} messages failed and of {unknown} nobody knows.", "{failed} 条消息发送失败，{unknown} 条结果未知。"),
    "h_coupons": ("{issued} coupons were given, {redeemed} redeemed ({rate}).", "发券 {issued} 张，核销 {redeemed} 张（{rate}）。"),
    "h_lost": ("{lost} lost most often to {won}: {count} times.", "{lost} 最常让位于 {won}：{count} 次。"),
}  # fmt: skip

_REASONS: dict[str, tuple[str, str]] = {
    "cap": ("frequency cap", "频控上限"), "quota": ("channel quota", "通道配额"), "consent": ("no consent", "未授权"),
    "no_address": ("no address", "无联系方式"), "expired": ("too late to be of use", "已过有效期"),
    "sold_out": ("coupon sold out", "券已发完"), "full": ("group full", "群已满"), "per_user": ("user had it before", "每人限领"),
    "per_day": ("daily limit of the coupon", "每日限量"), "budget": ("budget used up", "预算用完"),
    "already": ("had it already", "已拥有"), "freeze": ("freeze", "静默期"), "condition": ("condition no longer held", "条件不再成立"),
    "missing_variable": ("a value was missing", "缺少变量"), "shadow": ("shadow run", "影子运行"),
    "insufficient": ("not enough points", "积分不足"), "depth": ("chain too long", "连锁过长"), "unknown": ("unknown", "未知"),
    "render": ("could not be rendered", "渲染失败"), "no_template": ("no template", "缺少模板"),
    "quiet_hours": ("quiet hours", "免打扰"), "goal": ("goal reached", "达成目标"), "fatigue": ("asked lately", "近期已调研"),
}  # fmt: skip

_KINDS: dict[str, tuple[str, str]] = {
    "message": ("message", "消息"), "coupon": ("coupon", "发券"), "invite": ("invite", "邀请入群"), "points": ("points", "积分"),
    "badge": ("badge", "徽章"), "task": ("task", "任务"), "webhook": ("webhook", "回调"), "emit": ("event", "事件"),
    "post": ("post", "群发言"), "nominate": ("nomination", "提名"), "draw": ("draw", "抽奖"), "tier": ("tier", "等级"),
    "survey": ("survey", "调研"), "redeem": ("reward", "兑换"), "select": ("selection", "选人"), "tag": ("tag", "标签"),
    "set": ("trait", "属性"), "earned": ("earned", "获得"), "taken": ("taken", "扣除"), "settled": ("settled", "到账"),
    "reversed": ("reversed", "撤销"), "live": ("live", "运行"), "paused": ("paused", "暂停"), "removed": ("removed", "已移除"),
    "draft": ("draft", "草稿"), "archived": ("archived", "归档"), "denied": ("denied", "被拒"), "suppressed": ("suppressed", "被拦下"),
    "referral": ("referral", "邀请有礼"), "pending": ("waiting", "待到账"),
}  # fmt: skip


class Words:
    """The words of one locale."""

    def __init__(self, locale: str) -> None:
        self.chinese = locale.lower().startswith("zh")
        self.locale = "zh-CN" if self.chinese else "en"

    def __call__(self, key: str, **values: Any) -> str:
        """A text, filled in."""
        text = _WORDS[key][self.chinese]
        return text.format(**values) if values else text

    def reason(self, code: str) -> str:
        """A reason in words; one without stands as it is."""
        return self._of(_REASONS, code)

    def kind(self, code: str) -> str:
        """A kind or status in words; one without stands as it is."""
        return self._of(_KINDS, code)

    def _of(self, table: dict[str, tuple[str, str]], code: str) -> str:
        return table[code][self.chinese] if code in table else code.replace("_", " ")


def number(value: float | None, places: int = 0, *, sign: bool = False) -> str:
    """A figure with separators; None: a dash. A minus is a real one."""
    if value is None:
        return "–"
    return f"{value:{'+' if sign else ''},.{places}f}".replace("-", "−")


def percent(value: float | None, places: int = 1) -> str:
    """Per cent; None: a dash."""
    return "–" if value is None else f"{number(value, places)} %"
