-- name: where_bare
select from {table} as {alias} where {where};

-- name: where_bracketed
-- No line break before the closing bracket: a comment must not be able to hide it.
select from {table} as {alias} where ({where});

-- name: cutoff
-- A case, since an interval beyond the calendar must not be subtracted at all.
with given as (select $1::timestamptz as as_of, $2::text::interval as keep),
judged as (
    select as_of, keep, keep > interval '0' and keep < interval '10000 years' as sane from given
),
result as (
    select sane, case when sane then as_of - keep else as_of end as cutoff, as_of from judged
)
select sane and cutoff < as_of and cutoff > timestamptz '0001-01-02 00:00:00+00' as usable,
       case when cutoff > timestamptz '0001-01-02 00:00:00+00' then cutoff else as_of end as cutoff
from result;

-- name: span
-- Nothing where it is no span that one could wait for, or two clocks could be apart.
select case when span > interval '0' and span < interval '100 years' then pg_catalog.date_part('epoch', span) end as seconds
from (select $1::text::interval) as given (span);

-- name: any_row
select exists (select from {table});
