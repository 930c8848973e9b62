-- ReportMate's tables as an older installation has them. The demo and the tests run on this shape because it is the awkward one:
--   * the module table `peripherals` is missing, so a rule that names it must be reported as absent and must not stop the run;
--   * most module tables lack the foreign key and the unique (device_id), which is why duplicates and orphans can exist at all:
--
--       table                                                                 unique (device_id)   foreign key to devices
--       applications hardware installs inventory network profiles security    no                   no
--       displays                                                              no                   yes
--       printers                                                              yes                  no
--       identity management system                                            yes                  yes
--
-- No name is schema-qualified: the script builds in the first schema of the search_path.

CREATE TABLE devices (
    id              varchar(255) PRIMARY KEY,       -- the serial number; what every device_id below points to
    device_id       varchar(255) UNIQUE,            -- the hardware UUID
    serial_number   varchar(100) UNIQUE,            -- usually equal to id, but may be null: never the parent of anything
    name            varchar(255),
    os              varchar(100),
    os_version      varchar(100),
    platform        varchar(50),
    status          varchar(50),
    last_seen       timestamptz,
    client_version  varchar(50),
    archived        boolean NOT NULL DEFAULT false,
    archived_at     timestamptz,
    created_at      timestamptz DEFAULT now(),
    updated_at      timestamptz DEFAULT now()
);

CREATE TABLE events (
    id          serial PRIMARY KEY,
    device_id   varchar(255) REFERENCES devices (id) ON DELETE CASCADE,
    event_type  varchar(20) CHECK (event_type IN ('success', 'warning', 'error', 'info', 'system')),
    module_id   varchar(50),                        -- not null: current state, one row a device, upserted in place
    message     text,
    details     jsonb,
    timestamp   timestamptz,                        -- the client's clock
    created_at  timestamptz DEFAULT now()           -- the server's clock; no index leads with it
);
CREATE INDEX idx_events_device_id ON events (device_id);
CREATE INDEX idx_events_event_type ON events (event_type);
CREATE INDEX idx_events_timestamp ON events (timestamp);
CREATE INDEX idx_events_type_timestamp ON events (event_type, timestamp DESC);
CREATE UNIQUE INDEX idx_events_device_module ON events (device_id, module_id) WHERE module_id IS NOT NULL;

CREATE TABLE applications (
    id            serial PRIMARY KEY,
    device_id     varchar(255),
    data          jsonb,
    collected_at  timestamptz,
    created_at    timestamptz DEFAULT now(),
    updated_at    timestamptz DEFAULT now()
);
CREATE INDEX idx_applications_device_id ON applications (device_id);
CREATE INDEX idx_applications_device_updated ON applications (device_id, updated_at DESC);
CREATE INDEX idx_applications_data ON applications USING gin (data);

CREATE TABLE hardware (
    id            serial PRIMARY KEY,
    device_id     varchar(255),
    data          jsonb,
    collected_at  timestamptz,
    created_at    timestamptz DEFAULT now(),
    updated_at    timestamptz DEFAULT now()
);
CREATE INDEX idx_hardware_device_id ON hardware (device_id);
CREATE INDEX idx_hardware_device_updated ON hardware (device_id, updated_at DESC);
CREATE INDEX idx_hardware_data ON hardware USING gin (data);

CREATE TABLE installs (
    id            serial PRIMARY KEY,
    device_id     varchar(255),
    data          jsonb,
    collected_at  timestamptz,
    created_at    timestamptz DEFAULT now(),
    updated_at    timestamptz DEFAULT now()
);
CREATE INDEX idx_installs_device_id ON installs (device_id);
CREATE INDEX idx_installs_device_updated ON installs (device_id, updated_at DESC);
CREATE INDEX idx_installs_data ON installs USING gin (data);

CREATE TABLE inventory (
    id            serial PRIMARY KEY,
    device_id     varchar(255),
    data          jsonb,
    collected_at  timestamptz,
    created_at    timestamptz DEFAULT now(),
    updated_at    timestamptz DEFAULT now()
);
CREATE INDEX idx_inventory_device_id ON inventory (device_id);
CREATE INDEX idx_inventory_device_updated ON inventory (device_id, updated_at DESC);
CREATE INDEX idx_inventory_data ON inventory USING gin (data);

CREATE TABLE network (
    id            serial PRIMARY KEY,
    device_id     varchar(255),
    data          jsonb,
    collected_at  timestamptz,
    created_at    timestamptz DEFAULT now(),
    updated_at    timestamptz DEFAULT now()
);
CREATE INDEX idx_network_device_id ON network (device_id);
CREATE INDEX idx_network_device_updated ON network (device_id, updated_at DESC);
CREATE INDEX idx_network_data ON network USING gin (data);

-- A newer agent's profiles: mdm_policy_hashes is not there, though the policy file names it for databases that have it.
CREATE TABLE profiles (
    id                      serial PRIMARY KEY,
    device_id               varchar(255),
    data                    jsonb,
    intune_policy_hashes    text[],
    security_policy_hashes  text[],
    collected_at            timestamptz,
    created_at              timestamptz DEFAULT now(),
    updated_at              timestamptz DEFAULT now()
);
CREATE INDEX idx_profiles_device_id ON profiles (device_id);
CREATE INDEX idx_profiles_device_updated ON profiles (device_id, updated_at DESC);
CREATE INDEX idx_profiles_data ON profiles USING gin (data);

CREATE TABLE security (
    id            serial PRIMARY KEY,
    device_id     varchar(255),
    data          jsonb,
    collected_at  timestamptz,
    created_at    timestamptz DEFAULT now(),
    updated_at    timestamptz DEFAULT now()
);
CREATE INDEX idx_security_device_id ON security (device_id);
CREATE INDEX idx_security_device_updated ON security (device_id, updated_at DESC);
CREATE INDEX idx_security_data ON security USING gin (data);

-- Foreign key but no unique: duplicates, no orphans.
CREATE TABLE displays (
    id            serial PRIMARY KEY,
    device_id     varchar(255) REFERENCES devices (id) ON DELETE CASCADE,
    data          jsonb,
    collected_at  timestamptz,
    created_at    timestamptz DEFAULT now(),
    updated_at    timestamptz DEFAULT now()
);
CREATE INDEX idx_displays_device_id ON displays (device_id);
CREATE INDEX idx_displays_device_updated ON displays (device_id, updated_at DESC);
CREATE INDEX idx_displays_data ON displays USING gin (data);

-- Unique but no foreign key: orphans, no duplicates.
CREATE TABLE printers (
    id            serial PRIMARY KEY,
    device_id     varchar(255) UNIQUE,
    data          jsonb,
    collected_at  timestamptz,
    created_at    timestamptz DEFAULT now(),
    updated_at    timestamptz DEFAULT now()
);
CREATE INDEX idx_printers_device_id ON printers (device_id);
CREATE INDEX idx_printers_device_updated ON printers (device_id, updated_at DESC);
CREATE INDEX idx_printers_data ON printers USING gin (data);

-- Both: nothing to find here, and a run must say so.
CREATE TABLE identity (
    id            serial PRIMARY KEY,
    device_id     varchar(255) UNIQUE REFERENCES devices (id) ON DELETE CASCADE,
    data          jsonb,
    collected_at  timestamptz,
    created_at    timestamptz DEFAULT now(),
    updated_at    timestamptz DEFAULT now()
);
CREATE INDEX idx_identity_device_id ON identity (device_id);
CREATE INDEX idx_identity_device_updated ON identity (device_id, updated_at DESC);
CREATE INDEX idx_identity_data ON identity USING gin (data);

CREATE TABLE management (
    id            serial PRIMARY KEY,
    device_id     varchar(255) UNIQUE REFERENCES devices (id) ON DELETE CASCADE,
    data          jsonb,
    collected_at  timestamptz,
    created_at    timestamptz DEFAULT now(),
    updated_at    timestamptz DEFAULT now()
);
CREATE INDEX idx_management_device_id ON management (device_id);
CREATE INDEX idx_management_device_updated ON management (device_id, updated_at DESC);
CREATE INDEX idx_management_data ON management USING gin (data);

CREATE TABLE system (
    id            serial PRIMARY KEY,
    device_id     varchar(255) UNIQUE REFERENCES devices (id) ON DELETE CASCADE,
    data          jsonb,
    collected_at  timestamptz,
    created_at    timestamptz DEFAULT now(),
    updated_at    timestamptz DEFAULT now()
);
CREATE INDEX idx_system_device_id ON system (device_id);
CREATE INDEX idx_system_device_updated ON system (device_id, updated_at DESC);
CREATE INDEX idx_system_data ON system USING gin (data);

-- device_id is text here and varchar in devices, and no foreign key ties the two.
CREATE TABLE usage_history (
    id             bigserial PRIMARY KEY,
    device_id      text NOT NULL,
    date           date NOT NULL,
    app_name       text NOT NULL,
    publisher      text,
    launches       integer NOT NULL DEFAULT 0,
    total_seconds  double precision NOT NULL DEFAULT 0,
    users          jsonb,
    updated_at     timestamptz DEFAULT now(),
    UNIQUE (device_id, date, app_name)
);
CREATE INDEX idx_usage_history_date ON usage_history (date);

CREATE TABLE idempotency_keys (
    key         text PRIMARY KEY,
    device_id   text,
    first_seen  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idx_idempotency_keys_first_seen ON idempotency_keys (first_seen);

-- No foreign key on purpose: a check-in may fail because the device is unknown.
CREATE TABLE ingest_failures (
    id             bigserial PRIMARY KEY,
    occurred_at    timestamptz NOT NULL DEFAULT now(),
    reason         text NOT NULL,
    detail         text,
    serial_number  text,
    device_id      text
);
CREATE INDEX idx_ingest_failures_occurred_at ON ingest_failures (occurred_at);

CREATE TABLE api_key_audit (
    id          bigserial PRIMARY KEY,
    key_id      text,
    action      text,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE policy_catalog (
    policy_hash   text PRIMARY KEY,
    policy_name   text,
    policy_data   jsonb,
    device_count  integer DEFAULT 0
);
