-- Adds columns to neon_refresh.stat and neon_refresh.events. The views are replaced and not made
-- anew, so that their grants and what others built upon them stay.

\echo Use "ALTER EXTENSION neon_refresh UPDATE TO '1.2'" to load this file. \quit

-- the columns of a function cannot be changed: the old ones step aside, the views move over
ALTER FUNCTION neon_refresh.stat_row() RENAME TO stat_row_1_1;
ALTER FUNCTION neon_refresh.event_rows() RENAME TO event_rows_1_1;

CREATE FUNCTION neon_refresh.stat_row(
    OUT enabled boolean,
    OUT beside_neon boolean,
    OUT daemon_configured boolean,
    OUT blind boolean,
    OUT map_generation bigint,
    OUT shard_count integer,
    OUT stripe_size integer,
    OUT worker_pid integer,
    OUT worker_since timestamptz,
    OUT suspected_since timestamptz,
    OUT events_total bigint,
    OUT events_coalesced bigint,
    OUT requests_total bigint,
    OUT requests_failed bigint,
    OUT last_request timestamptz,
    OUT last_result text,
    OUT acks_total bigint,
    OUT last_ack timestamptz,
    OUT last_ack_status integer,
    OUT worker_title text,
    OUT worker_age interval,
    OUT request_in_flight boolean,
    OUT events_lost bigint,
    OUT not_reloaded text,
    OUT last_ack_result text
) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'neon_refresh_stat_row'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE ROWS 1;

REVOKE ALL ON FUNCTION neon_refresh.stat_row() FROM PUBLIC;

CREATE FUNCTION neon_refresh.event_rows(
    OUT number bigint,
    OUT at timestamptz,
    OUT pid integer,
    OUT source text,
    OUT shard integer,
    OUT class text,
    OUT certainty text,
    OUT phase text,
    OUT sqlstate text,
    OUT text text,
    OUT repeats bigint,
    OUT last_at timestamptz
) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'neon_refresh_event_rows'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE ROWS 128;

REVOKE ALL ON FUNCTION neon_refresh.event_rows() FROM PUBLIC;

-- pg_monitor, and whomever an administrator has let read the views; grantee 0 is everybody
DO $$
DECLARE
    who record;
BEGIN
    FOR who IN
        SELECT replace(p.proname, '_1_1', '') AS function, a.is_grantable,
            CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS name
        FROM pg_proc p, aclexplode(p.proacl) a
        WHERE p.oid IN ('neon_refresh.stat_row_1_1()'::regprocedure,
                'neon_refresh.event_rows_1_1()'::regprocedure)
            AND a.grantee <> p.proowner
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION neon_refresh.%I() TO %s%s', who.function, who.name,
            CASE WHEN who.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END);
    END LOOP;
END
$$;

CREATE OR REPLACE VIEW neon_refresh.stat AS SELECT * FROM neon_refresh.stat_row();
CREATE OR REPLACE VIEW neon_refresh.events AS SELECT * FROM neon_refresh.event_rows();

DROP FUNCTION neon_refresh.stat_row_1_1();
DROP FUNCTION neon_refresh.event_rows_1_1();
