-- name: open_event
-- What happened to users: day and hour are of the program's zone, a day is the number of days since 1970-01-01.
create table event (
    user varchar, instant bigint, day integer, hour tinyint, type varchar, grp varchar, active boolean,
    effect varchar
);

-- name: open_effect
-- What was decided, done or not. place: the ladder of a tier, the pool of a coupon, the group of an invite, the name of a
-- badge or a reward, the type of an emitted event (above: whose it is, where that is somebody else); of a message that
-- invites to a survey the word itself.
create table effect (
    key varchar, instant bigint, day integer, playbook varchar, step varchar, kind varchar, user varchar, grp varchar,
    status varchar, reason varchar, channel varchar, purpose varchar, delivery varchar, place varchar, below varchar,
    above varchar
);

-- name: open_milestone
-- Who came how far in which playbook.
create table milestone (
    playbook varchar, occurrence varchar, user varchar, what varchar, name varchar, instant bigint, day integer
);

-- name: open_goal
-- Goals that were reached.
create table goal (playbook varchar, occurrence varchar, user varchar, instant bigint, day integer, worth double);

-- name: open_ledger
-- What of value moved.
create table ledger (
    instant bigint, day integer, book varchar, name varchar, what varchar, delta bigint, user varchar, unit varchar,
    amount double, playbook varchar, until bigint, key varchar
);

-- name: open_redemption
-- What redemptions said of money, by the key of the ledger's entry: what the coupon took off, and what the order came to.
create table redemption (key varchar, off double, paid double);

-- name: open_over
-- Who came when the entry limit of a playbook was reached; waits: for the next window.
create table over (playbook varchar, user varchar, instant bigint, day integer, waits boolean);

-- name: open_gone
-- Users of whom events were forgotten: their first day is not known.
create table gone (user varchar);

-- name: settle_active
-- Who was active on which day.
create table active as select distinct user, day from event where active;

-- name: settle_first
-- The first day of each user whose first day is known.
create table first as select user, min(day) as day from active anti join gone using (user) group by user;

-- name: settle_entry
-- Entries of playbooks; held: why the entry was held back, also if that came later.
create table entry as
select e.playbook, e.occurrence, e.user, e.instant, e.day, coalesce(e.name, h.name) as held
from milestone as e left join (
    select playbook, occurrence, user, min(name) as name from milestone where what = 'held' group by all
) as h on h.playbook = e.playbook and h.occurrence = e.occurrence and h.user = e.user and h.name is not null
where e.what = 'entered';

-- name: settle_reached
-- Entries whose goal was reached, with what it was worth. An erased user has no occurrences, so time tells as well.
create table reached as
select g.playbook, g.occurrence, g.user, e.instant as entered, e.day, min(g.instant) as instant, max(g.worth) as worth
from goal as g asof join entry as e
    on e.playbook = g.playbook and e.user = g.user and e.occurrence = g.occurrence and e.instant <= g.instant
group by all;


-- name: add_event
-- A piece of rows: what is nothing stands there as an empty text, or as no number.
insert into event select
    nullif(user, ''), instant, day, hour, nullif(type, ''), nullif(grp, ''), active, nullif(effect, '')
from piece;

-- name: clear_event
-- Begin anew.
delete from event;

-- name: add_effect
-- A piece of rows: what is nothing stands there as an empty text, or as no number.
insert into effect select
    nullif(key, ''), instant, day, nullif(playbook, ''), nullif(step, ''), nullif(kind, ''), nullif(user, ''),
    nullif(grp, ''), nullif(status, ''), nullif(reason, ''), nullif(channel, ''), nullif(purpose, ''),
    nullif(delivery, ''), nullif(place, ''), nullif(below, ''), nullif(above, '')
from piece;

-- name: clear_effect
-- Begin anew.
delete from effect;

-- name: add_milestone
-- A piece of rows: what is nothing stands there as an empty text, or as no number.
insert into milestone select
    nullif(playbook, ''), occurrence, nullif(user, ''), nullif(what, ''), nullif(name, ''), instant, day
from piece;

-- name: clear_milestone
-- Begin anew.
delete from milestone;

-- name: add_goal
-- A piece of rows: what is nothing stands there as an empty text, or as no number.
insert into goal select
    nullif(playbook, ''), occurrence, nullif(user, ''), instant, day,
    case when isnan(worth) then null else worth end
from piece;

-- name: clear_goal
-- Begin anew.
delete from goal;

-- name: add_ledger
-- A piece of rows: what is nothing stands there as an empty text, or as no number.
insert into ledger select
    instant, day, nullif(book, ''), nullif(name, ''), nullif(what, ''), delta, nullif(user, ''), nullif(unit, ''),
    case when isnan(amount) then null else amount end, nullif(playbook, ''), until,
    nullif(key, '')
from piece;

-- name: clear_ledger
-- Begin anew.
delete from ledger;

-- name: add_redemption
-- A piece of rows: what is nothing stands there as no number.
insert into redemption select
    key, case when isnan(off) then null else off end, case when isnan(paid) then null else paid end
from piece;

-- name: clear_redemption
-- Begin anew.
delete from redemption;

-- name: add_over
-- A piece of rows.
insert into over select playbook, user, instant, day, waits from piece;

-- name: clear_over
-- Begin anew.
delete from over;

-- name: add_gone
-- A piece of rows: what is nothing stands there as an empty text, or as no number.
insert into gone select
    nullif(user, '')
from piece;

-- name: clear_gone
-- Begin anew.
delete from gone;
