-- What the procedures work by: the compiled policy. Made anew each time that the policy is compiled.
drop table if exists maintenance.cron_policy, maintenance.cron_text, maintenance.cron_rule, maintenance.cron_table cascade;

-- One row: what came from the settings.
create table maintenance.cron_policy (
    only_one     boolean primary key default true check (only_one),
    compiled_at  timestamptz not null default clock_timestamp(),
    digest       text not null,
    budget       double precision not null,
    batch_target double precision not null,
    lock_timeout text not null,
    ledger_keep  double precision not null
);
comment on column maintenance.cron_policy.digest is 'SHA-256 of the policy file that was compiled';

-- Statements and sentences that these procedures have in common with the Python service, word by word.
create table maintenance.cron_text (
    name text primary key,
    body text not null
);

-- One row a rule and table. In its statements "maintenance"."@leaf@" stands for the table or partition at hand, and
-- 4294967295::oid for its oid; $1 is the cutoff, $2 and $3 what the batch is about.
create table maintenance.cron_rule (
    place          integer primary key,
    task           text not null,
    table_name     text not null,
    root           text,
    subject        text not null,
    rule           text not null,
    summary        text not null,
    strategy       text not null check (strategy in ('heap', 'grouped', 'ordered', 'absent')),
    keep           interval,
    moment         text,
    newest         bigint,
    floor          text,
    guards         text[] not null,
    stops          text[] not null,
    proof          text,
    proof_says     text,
    columns        text[] not null,
    parent         text,
    counts         text not null,
    leaf_counts    text not null,
    how_many       text not null,
    doomed         text not null,
    sweep          text,
    claim          text,
    claim_over     text,
    remove         text,
    correct        text,
    held           text,
    pass           text,
    remove_over    text,
    smallest       integer not null,
    first_size     integer not null,
    largest        integer not null,
    max_rows       bigint,
    max_fraction   double precision,
    ramp           bigint,
    lag_objective  interval,
    named_tables   text[] not null,
    named_columns  text[] not null,
    fingerprint    text not null
);

-- Tables that a job of their own vacuums.
create table maintenance.cron_table (
    name text primary key,
    oid  oid not null,
    sql  text not null
);

create or replace function maintenance.cron_say(p_name text) returns text
language sql stable
begin atomic
    select body from maintenance.cron_text where name = p_name;
end;

-- A name in double quotes, whatever it is, as the Python service has it in its messages too.
create or replace function maintenance.cron_quoted(p_name text) returns text
language sql immutable
begin atomic
    select '"' || pg_catalog.replace(p_name, '"', '""') || '"';
end;

-- A statement of a rule, about this table or partition, whose name is quoted.
create or replace function maintenance.cron_about(p_statement text, p_sql text) returns text
language sql stable
begin atomic
    select pg_catalog.replace(pg_catalog.replace(p_statement, '"maintenance"."@leaf@"', p_sql),
                              '4294967295::oid', pg_catalog.to_regclass(p_sql)::oid::text || '::oid');
end;
