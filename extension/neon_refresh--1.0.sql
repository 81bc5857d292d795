-- The SQL objects of neon_refresh. Nothing is for PUBLIC: pg_monitor reads the views, the rest
-- is the superuser's until it is granted.

\echo Use "CREATE EXTENSION neon_refresh" to load this file. \quit

-- made here and not by the control file, so that DROP EXTENSION takes it along
CREATE SCHEMA neon_refresh;

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
    OUT last_ack_status integer
) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'neon_refresh_stat_row'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE ROWS 1;

CREATE FUNCTION neon_refresh.shard_rows(
    OUT shard integer,
    OUT source text,
    OUT endpoint text,
    OUT state text,
    OUT consecutive_failures bigint,
    OUT failing_since timestamptz,
    OUT last_class text,
    OUT last_error text,
    OUT last_error_at timestamptz,
    OUT last_useful timestamptz
) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'neon_refresh_shard_rows'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE ROWS 8;

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
    OUT text text
) RETURNS SETOF record
AS 'MODULE_PATHNAME', 'neon_refresh_event_rows'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE ROWS 128;

CREATE VIEW neon_refresh.stat AS SELECT * FROM neon_refresh.stat_row();
CREATE VIEW neon_refresh.shards AS SELECT * FROM neon_refresh.shard_rows();
CREATE VIEW neon_refresh.events AS SELECT * FROM neon_refresh.event_rows();

CREATE FUNCTION neon_refresh.request(reason text) RETURNS boolean
AS 'MODULE_PATHNAME', 'neon_refresh_request'
LANGUAGE C VOLATILE PARALLEL UNSAFE;

CREATE FUNCTION neon_refresh.read_page(rel regclass, blkno bigint, fork text DEFAULT 'main') RETURNS bytea
AS 'MODULE_PATHNAME', 'neon_refresh_read_page'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

CREATE FUNCTION neon_refresh.read_page_at(spc oid, db oid, rel oid, fork text, blkno bigint, lsn pg_lsn)
RETURNS bytea
AS 'MODULE_PATHNAME', 'neon_refresh_read_page_at'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

CREATE FUNCTION neon_refresh.rel_nblocks(rel regclass, fork text DEFAULT 'main') RETURNS bigint
AS 'MODULE_PATHNAME', 'neon_refresh_rel_nblocks'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

CREATE FUNCTION neon_refresh.rel_exists(rel regclass, fork text DEFAULT 'main') RETURNS boolean
AS 'MODULE_PATHNAME', 'neon_refresh_rel_exists'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

CREATE FUNCTION neon_refresh.db_size(db oid) RETURNS bigint
AS 'MODULE_PATHNAME', 'neon_refresh_db_size'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA neon_refresh FROM PUBLIC;

GRANT USAGE ON SCHEMA neon_refresh TO pg_monitor;
GRANT SELECT ON neon_refresh.stat, neon_refresh.shards, neon_refresh.events TO pg_monitor;
GRANT EXECUTE ON FUNCTION neon_refresh.stat_row(), neon_refresh.shard_rows(),
    neon_refresh.event_rows() TO pg_monitor;
