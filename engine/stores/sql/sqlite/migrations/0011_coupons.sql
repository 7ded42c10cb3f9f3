-- Where each coupon stands that was given; the ledger has every move of it. Whose it is the effect of its key says.
-- status: issued redeemed reversed expired returned. moved, by: instant and ledger key of its newest move.
alter table coupon_grant add column at integer not null default 0;
alter table coupon_grant add column until integer;
alter table coupon_grant add column amount text;
alter table coupon_grant add column playbook text;
alter table coupon_grant add column step text;
alter table coupon_grant add column status text not null default 'issued';
alter table coupon_grant add column moved integer not null default 0;
alter table coupon_grant add column by text not null default '';

update coupon_grant set by = key, (at, moved, until, amount, playbook, step) = (
    select time, time, unixepoch(cast(body as text) ->> '$[7].expires_at') * 1000000,
        case when json_type(cast(body as text), '$[7].value.off') in ('integer', 'real')
            then cast(body as text) -> '$[7].value.off' end,
        cast(body as text) ->> '$[0]', cast(body as text) ->> '$[1]'
    from effect_place join effect on effect.seq = effect_place.seq where effect_place.key = coupon_grant.key
)
where exists (select 1 from effect_place where effect_place.key = coupon_grant.key);

-- carries: JSON list of the coupon codes an effect tells of, where they go back if it never goes out; few have any.
alter table effect add column carries text;

create index effect_carries on effect (subject) where carries is not null;

-- Codes that were imported, those of a pool numbered from 1 in the order in which they are given.
create table coupon_code (
    pool text not null,
    place integer not null,
    code text not null,
    primary key (pool, place)
) strict, without rowid;

create unique index coupon_code_code on coupon_code (code);
