-- The ledger: what every run did, step by step. Safe to repeat.
create schema if not exists maintenance;

create table if not exists maintenance.run (
    id          bigint generated always as identity primary key,
    name        text not null,
    status      text not null check (status in ('running', 'succeeded', 'failed', 'skipped', 'interrupted')),
    stop_reason text,
    scheduler   text not null,
    as_of       timestamptz not null,
    started_at  timestamptz not null default clock_timestamp(),
    ended_at    timestamptz,
    rows        bigint not null default 0,
    error       text
);

create table if not exists maintenance.step (
    id           bigint generated always as identity primary key,
    run_id       bigint not null references maintenance.run (id) on delete cascade,
    task         text not null,
    table_name   text not null,
    strategy     text not null,
    rule         text not null,
    summary      text not null,
    status       text not null check (status in ('pending', 'running', 'succeeded', 'failed', 'interrupted', 'blocked', 'absent')),
    stop_reason  text,
    rows         bigint not null default 0,
    updated      bigint not null default 0,
    batches      bigint not null default 0,
    seconds      double precision not null default 0,
    bytes_before bigint,
    bytes_after  bigint,
    cursor       jsonb,
    note         text,
    error        text,
    sqlstate     text,
    began_at     timestamptz,
    changed_at   timestamptz
);

create index if not exists run_started_at on maintenance.run (started_at);
create index if not exists step_run on maintenance.step (run_id);
create index if not exists step_place on maintenance.step (task, table_name, rule, id desc);
