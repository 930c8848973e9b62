-- Fills schema.sql with a fleet that has something to find for every rule of maintenance.toml.
--
-- The caller sets two amounts in the same session first; everything else scales with them:
--     SELECT set_config('demo.devices', '600', false), set_config('demo.events', '220000', false);
-- The events include one `os_update` state row a device.
--
-- Deterministic: every choice comes from a row's number or from md5 of it. random() is not used because setseed gives other numbers
-- on PostgreSQL 14 than on 15 and later. All instants are relative to now().
--
-- Nothing lies close to a cutoff of the policy (12 hours at least, a day or more for dates). Otherwise a row could expire between two
-- runs, and "the second run has nothing to do" would be true only most of the time.
--
-- Module rows say in data ->> 'state' what must become of them, so that a test can look at the survivors:
--     current        must stay: the newest row of its device
--     superseded     must go: a duplicate
--     orphan         must go: its device is not in devices.id and its updated_at is beyond the grace
--     orphan, fresh  must stay for now: no device yet, but within the grace
--     no device      must stay: device_id is null, which is neither a duplicate nor an orphan

-- Compiling these statements takes longer than it saves, and the sort of the events should stay in memory. `true` limits both to this
-- script when it is sent as a whole.
SELECT set_config('jit', 'off', true), set_config('work_mem', '64MB', true);

-- Devices -----------------------------------------------------------------------------------------------------------------------------
-- k up to demo.devices are the fleet. The numbers above are devices that were removed (`gone`) or whose first check-in has not
-- arrived (`arriving`): they own rows but never get into devices.
CREATE TEMP TABLE fleet_device AS
SELECT k,
       (ARRAY['C02', 'F4H', 'PF3', '5CD'])[k % 4 + 1] || upper(substr(md5('serial ' || k), 1, 9)) AS id,
       upper(md5('uuid ' || k)::uuid::text) AS hardware_uuid,
       CASE WHEN k % 4 < 2 THEN 'macOS' ELSE 'Windows' END AS platform,
       now() - make_interval(secs => k * 7919 % 43200) AS checked_in,
       CASE WHEN k <= amount.devices THEN 'fleet'
            WHEN k <= amount.devices + amount.gone THEN 'gone'
            ELSE 'arriving' END AS standing
FROM (SELECT current_setting('demo.devices')::int AS devices,
             greatest(current_setting('demo.devices')::int / 30, 2) AS gone,
             greatest(current_setting('demo.devices')::int / 150, 1) AS arriving) AS amount,
     generate_series(1, amount.devices + amount.gone + amount.arriving) AS k;
ANALYZE fleet_device;

-- serial_number is null here and there and differs from id on virtual machines: who looks for parents in that column finds the wrong
-- ones, and "not in" finds none at all. Archived devices are still devices, their rows are no orphans.
INSERT INTO devices (id, device_id, serial_number, name, os, os_version, platform, status, last_seen, client_version,
                     archived, archived_at, created_at, updated_at)
SELECT id,
       hardware_uuid,
       CASE WHEN k % 100 = 50 THEN NULL WHEN k % 100 = 7 THEN 'VM-' || id ELSE id END,
       (ARRAY['Lab', 'Studio', 'Office', 'Library'])[k / 4 % 4 + 1] || '-' || lpad(k::text, 4, '0'),
       CASE platform WHEN 'macOS' THEN 'macOS Sequoia' ELSE 'Windows 11 Enterprise' END,
       CASE platform WHEN 'macOS' THEN '15.' || k % 6 ELSE '10.0.26100.' || 1000 + k % 40 * 25 END,
       platform,
       CASE WHEN k % 60 = 59 THEN 'archived' WHEN k % 25 = 0 THEN 'stale' ELSE 'active' END,
       CASE WHEN k % 60 = 59 THEN checked_in - interval '100 days' ELSE checked_in END,
       '2025.' || k % 12 + 1 || '.0',
       k % 60 = 59,
       CASE WHEN k % 60 = 59 THEN checked_in - interval '60 days' END,
       now() - make_interval(days => 120 + k * 37 % 700),
       CASE WHEN k % 60 = 59 THEN checked_in - interval '60 days' ELSE checked_in END
FROM fleet_device
WHERE standing = 'fleet'
ORDER BY k;

-- Events ------------------------------------------------------------------------------------------------------------------------------
-- Current state, upserted in place for months: two thirds of these rows are older than the retention and must survive it.
INSERT INTO events (device_id, event_type, module_id, message, details, timestamp, created_at)
SELECT id, 'info', 'os_update', 'Operating system update state',
       jsonb_build_object('pending', k % 3, 'deferred', k % 5 = 0, 'channel', 'stable'),
       now() - make_interval(hours => 12 + k * 131 % 2100),
       now() - make_interval(hours => 12 + k * 131 % 2100)
FROM fleet_device
WHERE standing = 'fleet' AND k <= current_setting('demo.events')::int
ORDER BY k;

-- What an event says is drawn from a pool, made once: building a document for each of the rows would take most of the time.
CREATE TEMP TABLE fleet_event AS
SELECT e,
       (ARRAY['info', 'info', 'info', 'info', 'info', 'info', 'info', 'success', 'success', 'warning', 'error',
              'system'])[e % 12 + 1] AS event_type,
       (ARRAY['Inventory collected', 'Check-in complete', 'Software update available',
              'Installs need attention'])[e / 12 % 4 + 1] AS message,
       jsonb_build_object('collection', md5('collection ' || e), 'modules', e % 13 + 1, 'seconds', e % 900 / 10.0,
                          'client', '2025.' || e % 12 + 1 || '.0', 'delivery', 'https') AS details
FROM generate_series(0, 996) AS e;
ANALYZE fleet_event;

-- The log itself, oldest first as the API wrote it. Ages run from 90 days down to minutes, with one day left out around the 30 days of
-- the policy. A queue that was replayed gave 2 % of the rows one single created_at: a batch bounded by that instant alone would have
-- no bound. The clock of one device in a hundred is three days ahead, which is why age is taken from created_at.
-- OFFSET 0 keeps the planner from computing each expression again wherever it is named.
INSERT INTO events (device_id, event_type, module_id, message, details, timestamp, created_at)
SELECT device.id, event.event_type, NULL, event.message, event.details,
       log.created_at - make_interval(secs => log.hash % 40, days => CASE WHEN device.k % 100 = 13 THEN -3 ELSE 0 END),
       log.created_at
FROM (SELECT n, (n::bigint * 48271 % 2147483647)::int AS hash,
             now() - interval '1 day' * (age + CASE WHEN age > 29.5 THEN 1 ELSE 0 END) AS created_at
      FROM (SELECT n, 89 * CASE WHEN place BETWEEN 0.10 AND 0.12 THEN 0.89 ELSE 1 - place END AS age
            FROM (SELECT n, (n - 0.5)::float8 / total AS place
                  FROM (SELECT current_setting('demo.events')::int - count(*)::int AS total FROM events) AS amount,
                       generate_series(1, amount.total) AS n
                  OFFSET 0) AS placed
            OFFSET 0) AS aged
      OFFSET 0) AS log
JOIN fleet_device AS device ON device.k = log.hash % current_setting('demo.devices')::int + 1
JOIN fleet_event AS event ON event.e = log.hash / 1000 % 997
ORDER BY log.n;

-- Module tables -----------------------------------------------------------------------------------------------------------------------
-- Which rows each module table gets. `n` is the order of insertion, thus of id.
CREATE TEMP TABLE fleet_module AS
SELECT * FROM (VALUES
    ('applications', 0, true, true), ('hardware', 1, true, true), ('installs', 2, true, true), ('inventory', 3, true, true),
    ('network', 4, true, true), ('profiles', 5, true, true), ('security', 6, true, true), ('displays', 7, true, false),
    ('printers', 8, false, true), ('identity', 9, false, false), ('management', 10, false, false), ('system', 11, false, false)
) AS module (name, m, has_duplicates, has_orphans);

-- One device in thirty has duplicates, other devices in each table, in one of four kinds. Each kind is wrong in its own way if the
-- newest row is picked carelessly:
--     0  an older row came in later: the greatest id is not the newest
--     1  three rows share updated_at: id decides
--     2  the later row has no updated_at: "order by updated_at desc" would put it first and keep it
--     3  a newer row came in later: the plain case
CREATE TEMP TABLE fleet_row AS
SELECT module.name AS module, device.k, device.id AS device_id, version.n, version.state, device.checked_in + version.shift AS updated_at
FROM fleet_module AS module
CROSS JOIN fleet_device AS device
CROSS JOIN LATERAL (SELECT CASE WHEN module.has_duplicates AND device.k % 30 = module.m + 1
                                THEN (device.k / 30 + module.m) % 4 END AS kind) AS pick
JOIN (VALUES
    (NULL, 1, 'current', interval '0'),
    (0, 1, 'current', interval '0'), (0, 2, 'superseded', interval '-20 days'),
    (1, 1, 'superseded', interval '0'), (1, 2, 'superseded', interval '0'), (1, 3, 'current', interval '0'),
    (2, 1, 'current', interval '0'), (2, 2, 'superseded', NULL),
    (3, 1, 'superseded', interval '-9 days'), (3, 2, 'current', interval '0')
) AS version (kind, n, state, shift) ON version.kind IS NOT DISTINCT FROM pick.kind
WHERE device.standing = 'fleet'
UNION ALL
SELECT module.name, device.k, device.id, 1,
       CASE device.standing WHEN 'gone' THEN 'orphan' ELSE 'orphan, fresh' END,
       device.checked_in - CASE device.standing WHEN 'gone' THEN make_interval(days => 3 + device.k * 53 % 400) ELSE interval '0' END
FROM fleet_module AS module
JOIN fleet_device AS device ON device.standing <> 'fleet'
WHERE module.has_orphans
UNION ALL
SELECT 'inventory', 0, NULL, n, 'no device', now() - make_interval(days => 10 * n)
FROM generate_series(1, 2) AS n;

-- Documents are made once in 24 variants and shared, which keeps the build quick and is true to life: a fleet has few models.
-- Few long hex strings, not many short ones: they keep the documents from compressing away and the GIN indexes cheap.
CREATE TEMP TABLE fleet_document AS
SELECT module.name AS module, variant,
       jsonb_build_object(module.name, jsonb_agg(
           CASE module.name
               WHEN 'applications' THEN jsonb_build_object('name', 'App ' || item, 'version', item % 9 + 1 || '.' || variant % 3,
                   'publisher', 'Publisher ' || item % 12, 'path', '/Applications/App ' || item || '.app',
                   'signature', (SELECT string_agg(md5('app ' || item || variant % 3 || part), '') FROM generate_series(1, 9) AS part))
               WHEN 'hardware' THEN jsonb_build_object('component', (ARRAY['cpu', 'memory', 'disk', 'gpu', 'battery'])[item % 5 + 1],
                   'model', 'Model ' || variant % 6, 'serial', md5('part ' || item || variant))
               WHEN 'installs' THEN jsonb_build_object('package', 'pkg-' || item, 'status', (ARRAY['installed', 'pending'])[item % 2 + 1],
                   'receipt', md5('receipt ' || item || variant) || md5('files ' || item || variant))
               WHEN 'network' THEN jsonb_build_object('interface', 'en' || item, 'mac', md5('mac ' || item || variant),
                   'address', '10.' || variant || '.' || item || '.20', 'active', item % 4 = 0)
               WHEN 'profiles' THEN jsonb_build_object('profile', 'com.example.profile.' || item,
                   'payload', md5('payload ' || item || variant) || md5('signature ' || item || variant))
               ELSE jsonb_build_object('item', module.name || ' ' || item,
                   'value', md5(module.name || item || variant) || md5(item || module.name || variant))
           END ORDER BY item)) AS document
FROM fleet_module AS module,
     generate_series(0, 23) AS variant,
     LATERAL generate_series(1, CASE module.name WHEN 'applications' THEN 36 + variant ELSE 28 + variant % 4 END) AS item
GROUP BY module.name, variant;

DO $$
DECLARE
    module text;
BEGIN
    FOR module IN SELECT name FROM fleet_module ORDER BY m LOOP
        EXECUTE format(
            'INSERT INTO %1$I (device_id, data, collected_at, created_at, updated_at)
             SELECT r.device_id, jsonb_build_object(''state'', r.state, ''report'', r.n) || d.document,
                    r.updated_at - interval ''20 seconds'', coalesce(r.updated_at, now()) - interval ''90 days'', r.updated_at
             FROM fleet_row AS r
             JOIN fleet_document AS d ON d.module = r.module AND d.variant = r.k %% 24
             WHERE r.module = %1$L
             ORDER BY r.k, r.n', module);
    END LOOP;
END
$$;

-- Every check-in rewrites the whole document, so the TOAST of applications carries old versions: the largest bloat ReportMate knows.
UPDATE applications SET data = data || jsonb_build_object('collected', collected_at);

-- Policy catalog ----------------------------------------------------------------------------------------------------------------------
-- About 8 policies a device. Those with p % 10 < 3 are assigned to devices. Those with p % 100 = 99 are named only by duplicate and
-- orphaned profiles, so they become unreferenced while the run goes on: the catalog has to be judged after these rows have gone.
CREATE TEMP TABLE fleet_policy AS
SELECT p, encode(sha256(convert_to('policy ' || p, 'UTF8')), 'hex') AS hash
FROM generate_series(0, greatest(current_setting('demo.devices')::int * 25 / 3, 200) / 100 * 100 - 1) AS p;
ANALYZE fleet_policy;

-- The two baseline policies are everywhere, the others on a few devices each. security_policy_hashes is null on one device in seven
-- and holds a null element on a few: neither must hide the other references.
UPDATE profiles AS target
SET intune_policy_hashes = assignment.intune,
    security_policy_hashes = assignment.security
FROM (SELECT profile.id,
             array_agg(policy.hash ORDER BY policy.p) FILTER (WHERE slot < 8) AS intune,
             CASE WHEN device.k % 7 = 0 THEN NULL
                  WHEN device.k % 50 = 1 THEN array_agg(policy.hash ORDER BY policy.p) FILTER (WHERE slot >= 8) || NULL::text
                  ELSE array_agg(policy.hash ORDER BY policy.p) FILTER (WHERE slot >= 8) END AS security
      FROM profiles AS profile
      JOIN fleet_device AS device ON device.id = profile.device_id
      CROSS JOIN generate_series(0, 11) AS slot
      CROSS JOIN (SELECT count(*)::int * 3 / 10 AS assigned, count(*)::int / 100 AS retired FROM fleet_policy) AS amount
      CROSS JOIN LATERAL (SELECT CASE WHEN slot < 2 THEN slot ELSE (device.k * 3 + slot) % amount.assigned END AS place) AS pick
      JOIN fleet_policy AS policy
        ON policy.p = CASE WHEN profile.data ->> 'state' IN ('superseded', 'orphan') THEN (device.k + slot) % amount.retired * 100 + 99
                           ELSE pick.place / 3 * 10 + pick.place % 3 END
      GROUP BY profile.id, device.k) AS assignment
WHERE assignment.id = target.id;

-- device_count is right for most policies (it counts the rows that must stay) and wrong for one in eleven and for all that are
-- unreferenced, whose count nobody took back.
INSERT INTO policy_catalog (policy_hash, policy_name, policy_data, device_count)
SELECT policy.hash, 'Policy ' || policy.p,
       jsonb_build_object('platform', CASE WHEN policy.p % 2 = 0 THEN 'macOS' ELSE 'Windows' END,
                          'settings', jsonb_build_array(md5('a ' || policy.p), md5('b ' || policy.p), md5('c ' || policy.p))),
       CASE WHEN used.devices IS NULL THEN policy.p % 4 WHEN policy.p % 11 = 0 THEN used.devices + 3 ELSE used.devices END
FROM fleet_policy AS policy
LEFT JOIN (SELECT hash, count(DISTINCT profile.id) AS devices
           FROM profiles AS profile,
                LATERAL unnest(profile.intune_policy_hashes || profile.security_policy_hashes) AS hash
           WHERE profile.data ->> 'state' IN ('current', 'orphan, fresh')
           GROUP BY hash) AS used ON used.hash = policy.hash
ORDER BY policy.p;

-- Usage history -----------------------------------------------------------------------------------------------------------------------
-- A third of the fleet for 24 months, two applications every five days. The days around the 18 months of the policy are left out.
INSERT INTO usage_history (device_id, date, app_name, publisher, launches, total_seconds, users, updated_at)
SELECT device.id, day.date, 'App ' || app, 'Publisher ' || app % 12, 1 + (age + app) % 9, (device.k * 31 + age * 17) % 20000,
       jsonb_build_array('user' || device.k % 50), day.date + interval '26 hours'
FROM fleet_device AS device
CROSS JOIN LATERAL generate_series(2 + device.k % 5, 730, 5) AS age
CROSS JOIN LATERAL (SELECT (now() AT TIME ZONE 'UTC')::date - age AS date,
                           ((now() - interval '18 months') AT TIME ZONE 'UTC')::date AS cutoff) AS day
CROSS JOIN LATERAL unnest(ARRAY[device.k % 90 + 1, (device.k + age) % 60 + 91]) AS app
WHERE device.standing = 'fleet' AND device.k % 3 = 0 AND day.date NOT BETWEEN day.cutoff - 2 AND day.cutoff + 2
ORDER BY age DESC, device.k;

-- Devices that are no more, and devices whose usage came in before their first check-in (within the grace).
INSERT INTO usage_history (device_id, date, app_name, publisher, launches, total_seconds, users, updated_at)
SELECT device.id, (now() AT TIME ZONE 'UTC')::date - age, 'App ' || age % 90, 'Publisher ' || age % 12, 1 + age % 9, age * 61 % 20000,
       jsonb_build_array('user' || device.k % 50),
       CASE device.standing WHEN 'gone' THEN now() - make_interval(days => age - 1) ELSE device.checked_in END
FROM fleet_device AS device
CROSS JOIN LATERAL generate_series(CASE device.standing WHEN 'gone' THEN 30 ELSE 2 END,
                                   CASE device.standing WHEN 'gone' THEN 180 ELSE 6 END, 2) AS age
WHERE device.standing <> 'fleet'
ORDER BY age DESC, device.k;

-- The small logs ----------------------------------------------------------------------------------------------------------------------
-- Ages are a share of the span; a half or a whole day around the cutoff is left out, as above.
INSERT INTO idempotency_keys (key, device_id, first_seen)
SELECT md5('key ' || n)::uuid::text, device.id,
       now() - interval '50 days' * place - CASE WHEN place * 50 > 6.5 THEN interval '1 day' ELSE interval '0' END
FROM (SELECT n, 1 - (n - 0.5)::float8 / (current_setting('demo.devices')::int * 40) AS place
      FROM generate_series(1, current_setting('demo.devices')::int * 40) AS n) AS numbered
JOIN fleet_device AS device ON device.k = n * 7 % current_setting('demo.devices')::int + 1
ORDER BY n;

-- One failure in five is of a serial number that no device has: these rows are no orphans.
INSERT INTO ingest_failures (occurred_at, reason, detail, serial_number, device_id)
SELECT now() - interval '119 days' * place - CASE WHEN place * 119 > 89.5 THEN interval '1 day' ELSE interval '0' END,
       (ARRAY['unknown_device', 'invalid_payload', 'payload_too_large', 'database_timeout', 'schema_mismatch'])[n % 5 + 1],
       'request ' || md5('failure ' || n),
       CASE WHEN n % 5 = 0 THEN 'UNKNOWN-' || n ELSE device.id END,
       CASE WHEN n % 5 = 0 THEN NULL ELSE device.hardware_uuid END
FROM (SELECT n, 1 - (n - 0.5)::float8 / (current_setting('demo.devices')::int * 5) AS place
      FROM generate_series(1, current_setting('demo.devices')::int * 5) AS n) AS numbered
JOIN fleet_device AS device ON device.k = n * 7 % current_setting('demo.devices')::int + 1
ORDER BY n;

INSERT INTO api_key_audit (key_id, action, created_at)
SELECT 'key-' || n % 12, (ARRAY['used', 'used', 'used', 'created', 'rotated', 'revoked'])[n % 6 + 1],
       now() - interval '727 days' * place - CASE WHEN place * 727 > 363 THEN interval '4 days' ELSE interval '0' END
FROM (SELECT n, 1 - (n - 0.5)::float8 / (current_setting('demo.devices')::int * 4) AS place
      FROM generate_series(1, current_setting('demo.devices')::int * 4) AS n) AS numbered
ORDER BY n;

DROP TABLE fleet_device, fleet_event, fleet_module, fleet_row, fleet_document, fleet_policy;

ANALYZE devices, events, applications, displays, hardware, identity, installs, inventory, management, network, printers, profiles,
        security, system, usage_history, idempotency_keys, ingest_failures, api_key_audit, policy_catalog;
