-- The ledger: what every run did, step by step. Safe to repeat.
create schema if not exists maintenance;

create table if not exists maintenance.run (
    id          bigint generated always as identity primary key,
    name        text not null,
    status      text not null,
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

-- Columns and states that an older ledger lacks.
alter table maintenance.step
    add column if not exists paused double precision not null default 0,
    add column if not exists deleted bigint,
    add column if not exists lag_before double precision,
    add column if not exists lag_after double precision,
    add column if not exists dead_before bigint;
alter table maintenance.run
    add column if not exists tables text[] not null default '{}',
    add column if not exists requested_by text,
    add column if not exists request text unique,
    add column if not exists slices integer not null default 1,
    add column if not exists budget double precision,
    add column if not exists spent double precision not null default 0,
    add column if not exists note text,
    add column if not exists approve text,
    add column if not exists approved text,
    add column if not exists database_bytes bigint,
    drop constraint if exists run_status_check,
    add constraint run_status_check
        check (status in ('queued', 'running', 'succeeded', 'failed', 'skipped', 'interrupted'));

create index if not exists run_started_at on maintenance.run (started_at);
create index if not exists step_run on maintenance.step (run_id);
create index if not exists step_place on maintenance.step (task, table_name, rule, id desc);

-- The switch: while it has its row, no run does anything.
create table if not exists maintenance.pause (
    only_one   boolean primary key default true check (only_one),
    since      timestamptz not null default clock_timestamp(),
    paused_by  text,
    reason     text
);

-- Objects of archives, each written down in the transaction that deleted its rows.
create table if not exists maintenance.archive (
    object     text primary key,
    store      text not null,
    run_id     bigint not null,
    step_id    bigint not null,
    task       text not null,
    table_name text not null,
    subject    text not null,
    rows       bigint not null,
    sha256     text not null,
    bytes      bigint not null,
    created_at timestamptz not null default clock_timestamp(),
    expires    boolean not null,
    marked     boolean not null default false
);

create index if not exists archive_place on maintenance.archive (task, table_name, subject, created_at);
