/*
 * The functions behind the views, and request(). They read shared memory only; nothing here
 * waits, so the views answer while all upstream servers are dead.
 *
 * New columns are added at the end only: a database whose SQL objects are of an older version
 * gets those that it knows, until ALTER EXTENSION UPDATE.
 */
#include "prelude.h"

#include "guc.h"
#include "published.h"
#include "shmem.h"
#include "worker.h"

NR_SQL_FUNCTION(neon_refresh_stat_row);
NR_SQL_FUNCTION(neon_refresh_shard_rows);
NR_SQL_FUNCTION(neon_refresh_event_rows);
NR_SQL_FUNCTION(neon_refresh_request);

#define MAX_COLUMNS 32

/* One row under construction. */
typedef struct Row
{
	Datum values[MAX_COLUMNS];
	bool nulls[MAX_COLUMNS];
	int count;
} Row;

static void
check_loaded(void)
{
	if (nr_shared == NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		                errmsg("neon_refresh must be loaded by shared_preload_libraries")));
}

static void
add(Row *row, Datum value)
{
	Assert(row->count < MAX_COLUMNS);
	row->nulls[row->count] = false;
	row->values[row->count++] = value;
}

static void
add_null(Row *row)
{
	Assert(row->count < MAX_COLUMNS);
	row->values[row->count] = (Datum) 0;
	row->nulls[row->count++] = true;
}

static void
add_text(Row *row, const char *text)
{
	if (text == NULL || text[0] == '\0')
		add_null(row);
	else
		add(row, CStringGetTextDatum(text));
}

/* Text of an event: UTF-8, whatever this database speaks. */
static void
add_foreign_text(Row *row, const char *text)
{
	char *copy = pstrdup(text);

	nr_text_to_server(copy);
	add_text(row, copy);
	pfree(copy);
}

/* A time that was never is NULL. */
static void
add_time(Row *row, uint64 time)
{
	if (time == 0)
		add_null(row);
	else
		add(row, TimestampTzGetDatum((TimestampTz) time));
}

static void
add_time_at(Row *row, pg_atomic_uint64 *time)
{
	add_time(row, pg_atomic_read_u64(time));
}

static void
add_count(Row *row, pg_atomic_uint64 *count)
{
	add(row, Int64GetDatum((int64) pg_atomic_read_u64(count)));
}

/* A tuplestore for the rows of a set-returning function (InitMaterializedSRF is too young). */
static Tuplestorestate *
begin_rows(FunctionCallInfo fcinfo, TupleDesc *descriptor)
{
	ReturnSetInfo *info = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext before;
	Tuplestorestate *store;

	check_loaded();
	if (info == NULL || !IsA(info, ReturnSetInfo) || !(info->allowedModes & SFRM_Materialize))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
		                errmsg("set-valued function called in context that cannot accept a set")));
	if (get_call_result_type(fcinfo, NULL, descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	before = MemoryContextSwitchTo(info->econtext->ecxt_per_query_memory);
	*descriptor = CreateTupleDescCopy(*descriptor);
	store = tuplestore_begin_heap(true, false, work_mem);
	MemoryContextSwitchTo(before);
	info->returnMode = SFRM_Materialize;
	info->setResult = store;
	info->setDesc = *descriptor;
	return store;
}

static void
put(Tuplestorestate *store, TupleDesc descriptor, Row *row)
{
	if (row->count < descriptor->natts)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		                errmsg("the SQL objects of neon_refresh are newer than the loaded library"),
		                errhint("Restart the server, so that it loads the new library.")));
	tuplestore_putvalues(store, descriptor, row->values, row->nulls);
}

/* How a request to the daemon ended, in words. */
static void
add_result(Row *row, enum pgh_result result, uint32 status)
{
	if (result == PGH_ERR_NOT_DONE)
		add_null(row);
	else if (status != 0)
		add_text(row, psprintf("HTTP %u", status));
	else
		add_text(row, pgh_result_text(result));
}

static void
add_worker(Row *row)
{
	NrWorkerState *worker = &nr_shared->worker;
	uint32 pid = pg_atomic_read_u32(&worker->pid);
	uint32 ack_status = pg_atomic_read_u32(&worker->last_ack_status);
	struct pgh_endpoint endpoint;

	if (pid == 0)
	{
		add_null(row);
		add_null(row);
	}
	else
	{
		add(row, Int32GetDatum((int32) pid));
		add_time_at(row, &worker->since);
	}
	add_time_at(row, &worker->suspected_since);
	add(row, Int64GetDatum((int64) (pg_atomic_read_u64(&nr_shared->events.total) +
	                                pg_atomic_read_u64(&nr_shared->events.repeated))));
	add_count(row, &worker->coalesced);
	add_count(row, &worker->requests);
	add_count(row, &worker->requests_failed);
	add_time_at(row, &worker->last_request);
	if (!nr_daemon_endpoint(&endpoint))
		add_text(row, "no address of a daemon is set");
	else if (pg_atomic_read_u64(&worker->last_request) == 0)
		add_null(row);
	else
		add_result(row, pg_atomic_read_u32(&worker->last_result),
		           pg_atomic_read_u32(&worker->last_status));
	add_count(row, &worker->acks);
	add_time_at(row, &worker->last_ack);
	if (ack_status == 0)
		add_null(row);
	else
		add(row, Int32GetDatum((int32) ack_status));
}

/* As ps shows it. */
static const char *
worker_title(void)
{
	if (cluster_name[0] == '\0')
		return "postgres: " NR_WORKER_NAME;
	return psprintf("postgres: %s: " NR_WORKER_NAME, cluster_name);
}

static void
add_since_1_1(Row *row)
{
	NrWorkerState *worker = &nr_shared->worker;

	if (pg_atomic_read_u32(&worker->pid) == 0)
	{
		add_null(row);
		add_null(row);
	}
	else
	{
		add_text(row, worker_title());
		add(row, DirectFunctionCall2(timestamp_mi, TimestampTzGetDatum(GetCurrentTimestamp()),
		                             TimestampTzGetDatum(pg_atomic_read_u64(&worker->since))));
	}
	add(row, BoolGetDatum(pg_atomic_read_u32(&worker->in_flight) != 0));
	add_count(row, &nr_shared->events.dropped);
}

/* What the postmaster did not reload, separated by commas. */
static void
add_not_reloaded(Row *row)
{
	uint32 flags = nr_published_not_reloaded();
	StringInfoData text;

	initStringInfo(&text);
	for (uint32 flag = 1; flag <= flags; flag <<= 1)
	{
		if ((flags & flag) != 0)
			appendStringInfo(&text, "%s%s", text.len > 0 ? ", " : "", nr_not_reloaded_text(flag));
	}
	add_text(row, text.data);
}

static void
add_since_1_2(Row *row)
{
	NrWorkerState *worker = &nr_shared->worker;
	uint32 result = pg_atomic_read_u32(&worker->last_ack_result);

	add_not_reloaded(row);
	add_result(row, result, pg_atomic_read_u32(&worker->last_ack_status));
}

/* Does the server log leave out reports of this level? (LOG ranks between ERROR and FATAL.) */
static bool
is_hidden(int level)
{
	int logged = nr_published_log_level();

	if (level == LOG)
		return logged > ERROR;
	if (logged == LOG)
		return level < FATAL;
	return level < logged;
}

/* Does log_min_messages hide reports that are our only news of a source? */
static bool
is_blind(void)
{
	/* the walreceiver */
	if (nr_source_enabled(PGH_SOURCE_PRIMARY) && (is_hidden(ERROR) || is_hidden(LOG)))
		return true;
	if (!nr_beside_neon)
		return false;
	return (nr_source_enabled(PGH_SOURCE_PAGESERVER) && (is_hidden(LOG) || is_hidden(ERROR))) ||
	       (nr_source_enabled(PGH_SOURCE_SAFEKEEPER) && (is_hidden(WARNING) || is_hidden(LOG)));
}

/* stat_row(): one row, its columns in the order in which the SQL files have brought them */
Datum
neon_refresh_stat_row(PG_FUNCTION_ARGS)
{
	TupleDesc descriptor;
	Tuplestorestate *store = begin_rows(fcinfo, &descriptor);
	struct pgh_shard_map *map = palloc(sizeof(*map));
	struct pgh_endpoint endpoint;
	uint64 generation;
	Row row = { .count = 0 };

	nr_published_read(map, &generation, NULL);
	add(&row, BoolGetDatum(nr_published_limit(NR_LIMIT_ENABLED) != 0));
	add(&row, BoolGetDatum(nr_beside_neon));
	add(&row, BoolGetDatum(nr_daemon_endpoint(&endpoint)));
	add(&row, BoolGetDatum(is_blind()));
	add(&row, Int64GetDatum((int64) generation));
	add(&row, Int32GetDatum((int32) map->shard_count));
	add(&row, Int32GetDatum((int32) map->stripe_size_pages));
	add_worker(&row);
	add_since_1_1(&row);
	add_since_1_2(&row);
	put(store, descriptor, &row);
	return (Datum) 0;
}

static const char *
state_of(NrSuspect *suspect)
{
	if (pg_atomic_read_u32(&suspect->suspected) != 0)
		return "suspected";
	if (pg_atomic_read_u32(&suspect->failures) != 0)
		return "failing";
	return pg_atomic_read_u64(&suspect->last_success) != 0 ? "healthy" : "unknown";
}

static void
add_suspect(Row *row, NrSuspect *suspect)
{
	NrEventData last;

	add_text(row, state_of(suspect));
	add(row, Int64GetDatum((int64) pg_atomic_read_u32(&suspect->failures)));
	add_time_at(row, &suspect->failing_since);
	if (nr_event_read(&suspect->last_failure, &last))
	{
		add_text(row, pgh_trouble_text(last.trouble));
		add_foreign_text(row, last.text);
		add_time(row, (uint64) last.at);
	}
	else
	{
		add_null(row);
		add_null(row);
		add_null(row);
	}
	add_time_at(row, &suspect->last_success);
}

/* shard_rows(): one row a shard, then one for each source that has been in trouble as a whole */
Datum
neon_refresh_shard_rows(PG_FUNCTION_ARGS)
{
	TupleDesc descriptor;
	Tuplestorestate *store = begin_rows(fcinfo, &descriptor);
	struct pgh_shard_map *map = palloc(sizeof(*map));
	uint64 generation;

	nr_published_read(map, &generation, NULL);
	for (uint32 shard = 0; shard < PGH_MAX_SHARDS; shard++)
	{
		Row row = { .count = 0 };
		char redacted[PGH_ENDPOINT_SIZE];

		/* beyond the list only what is suspected (by other code) or has failed */
		if (shard >= map->shard_count &&
		    strcmp(state_of(&nr_shared->suspects[shard]), "unknown") == 0)
			continue;
		(void) pgh_redact(map->endpoint[shard], strlen(map->endpoint[shard]), redacted,
		                  sizeof(redacted));
		add(&row, Int32GetDatum((int32) shard));
		add_text(&row, pgh_source_text(PGH_SOURCE_PAGESERVER));
		add_text(&row, redacted);
		add_suspect(&row, &nr_shared->suspects[shard]);
		put(store, descriptor, &row);
	}
	for (int source = 0; source < PGH_SOURCE_COUNT; source++)
	{
		NrSuspect *suspect = &nr_shared->suspects[PGH_MAX_SHARDS + source];
		Row row = { .count = 0 };

		if (strcmp(state_of(suspect), "unknown") == 0)
			continue;
		add_null(&row);
		add_text(&row, pgh_source_text(source));
		add_null(&row);
		add_suspect(&row, suspect);
		put(store, descriptor, &row);
	}
	return (Datum) 0;
}

static void
put_event(Tuplestorestate *store, TupleDesc descriptor, const NrEventData *event)
{
	uint64 last_at;
	Row row = { .count = 0 };

	add(&row, Int64GetDatum((int64) event->number));
	add_time(&row, (uint64) event->at);
	add(&row, Int32GetDatum(event->pid));
	add_text(&row, event->manual ? "manual" : pgh_source_text(event->source));
	if (event->shard >= 0)
		add(&row, Int32GetDatum(event->shard));
	else
		add_null(&row);
	add_text(&row, event->useful ? "useful" : pgh_trouble_text(event->trouble));
	add_text(&row, pgh_certainty_text(event->certainty));
	if (event->phase != NR_NO_PHASE)
		add_text(&row, pgh_phase_text(event->phase));
	else
		add_null(&row);
	add_text(&row, event->sqlstate);
	add_foreign_text(&row, event->text);
	add(&row, Int64GetDatum((int64) nr_event_repeats(event->number, &last_at)));
	add_time(&row, last_at != 0 ? last_at : (uint64) event->at);
	put(store, descriptor, &row);
}

/* event_rows(): the last events, oldest first */
Datum
neon_refresh_event_rows(PG_FUNCTION_ARGS)
{
	TupleDesc descriptor;
	Tuplestorestate *store = begin_rows(fcinfo, &descriptor);
	uint64 total = pg_atomic_read_u64(&nr_shared->events.total);
	uint64 number = total > NR_EVENTS ? total - NR_EVENTS : 0;

	while (number++ < total)
	{
		NrEventData event;

		if (nr_event_get(number, &event))
			put_event(store, descriptor, &event);
	}
	return (Datum) 0;
}

/* request(reason text) returns boolean: false if there is no worker to do it, or no daemon */
Datum
neon_refresh_request(PG_FUNCTION_ARGS)
{
	const char *reason = PG_ARGISNULL(0) ? "" : text_to_cstring(PG_GETARG_TEXT_PP(0));
	NrEventData event = { .shard = -1, .phase = NR_NO_PHASE, .manual = true };
	struct pgh_endpoint endpoint;

	check_loaded();
	nr_event_set_text(&event, reason, strlen(reason));
	(void) nr_event_append(&event);
	(void) nr_event_write(&nr_shared->manual, &event);
	pg_atomic_write_u32(&nr_shared->manual_request, 1);
	nr_wake_worker();
	PG_RETURN_BOOL(nr_daemon_endpoint(&endpoint) &&
	               pg_atomic_read_u32(&nr_shared->worker.pid) != 0);
}
