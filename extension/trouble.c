/*
 * Suspicion: what happened is counted per shard (or per source, where no shard is known) in
 * shared memory. A log line is written when a shard's state changes, not for each attempt and
 * not by each session: the process that claims the change in shared memory writes it. A shard that
 * serves some requests and fails others would change all the time; that is a state of its own,
 * which is logged once, until nobody has failed for a while.
 */
#include "prelude.h"

#include "guc.h"
#include "report.h"
#include "shmem.h"
#include "trouble.h"

/* How exact last_success is: written for each page, its cache line would travel between all
 * backends. */
#define SUCCESS_STEP_US 10000

/* Neon's client reconnects at least once a second while it fails. */
#define SETTLED_US 1500000

/* Failures further apart than this are not consecutive: a session that needs the shard fails more
 * often. */
static uint64
row_us(bool reported)
{
	if (reported)
		return UINT64CONST(1000000) * PGH_POLICY_REPORT_QUIET_S;
	return nr_quiet_of_our_client_us();
}

/* Count a failure; the number in a row, this one included. */
static uint32
count_failure(NrSuspect *suspect, const NrEventData *data)
{
	uint64 never = 0;
	uint64 last_us = pg_atomic_read_u64(&suspect->last_failed_us);

	if (last_us != 0 && nr_now_us() - last_us > row_us(data->phase == NR_NO_PHASE))
	{
		pg_atomic_write_u32(&suspect->failures, 0);
		pg_atomic_write_u64(&suspect->failing_since, 0);
	}

	(void) pg_atomic_compare_exchange_u64(&suspect->failing_since, &never, (uint64) data->at);
	(void) nr_event_write(&suspect->last_failure, data);
	pg_atomic_write_u64(&suspect->last_failed_us, nr_now_us());
	return pg_atomic_fetch_add_u32(&suspect->failures, 1) + 1;
}

static void
raise_suspicion(NrSuspect *suspect, bool reported)
{
	pg_atomic_write_u32(&suspect->reported, reported ? 1 : 0);
	pg_atomic_write_u32(&suspect->suspected, 1);
	pg_atomic_fetch_add_u64(&suspect->raised, 1);
	nr_wake_worker();
}

/* A success: forget the failures. */
static void
end_suspicion(NrSuspect *suspect)
{
	if (pg_atomic_exchange_u32(&suspect->failures, 0) != 0)
		pg_atomic_fetch_add_u32(&suspect->heals, 1);
	pg_atomic_write_u32(&suspect->attempts, 0);
	pg_atomic_write_u64(&suspect->next_attempt_us, 0);
	pg_atomic_write_u64(&suspect->failing_since, 0);
	if (pg_atomic_exchange_u32(&suspect->suspected, 0) != 0)
		nr_wake_worker();
}

/* Trouble that returns within this time after its end is the same trouble. */
static uint64
healthy_gap_us(void)
{
	return UINT64CONST(2000) * Max(nr_retry_max_ms, nr_retry_min_ms);
}

static bool
within(uint64 then_us, uint64 now_us, uint64 span_us)
{
	return then_us != 0 && now_us < then_us + span_us;
}

static bool
claim(pg_atomic_uint32 *word, uint32 from, uint32 to)
{
	return pg_atomic_read_u32(word) == from && pg_atomic_compare_exchange_u32(word, &from, to);
}

static void
log_failure(NrSuspect *suspect, const NrEventData *data)
{
	bool again = within(pg_atomic_read_u64(&suspect->healed_us), nr_now_us(), healthy_gap_us());

	if (!claim(&suspect->logged, NR_LOGGED_WELL, again ? NR_LOGGED_UNSTEADY : NR_LOGGED_TROUBLE))
		return;
	pg_atomic_write_u64(&suspect->logged_since, (uint64) data->at);
	nr_log_shard_failed(data, again, healthy_gap_us() / 1000);
}

static void
log_success(NrSuspect *suspect, uint32 shard)
{
	uint32 logged = pg_atomic_read_u32(&suspect->logged);
	uint64 now_us = nr_now_us();
	uint64 since = pg_atomic_read_u64(&suspect->logged_since);

	if (logged == NR_LOGGED_UNSTEADY &&
	    within(pg_atomic_read_u64(&suspect->last_failed_us), now_us, healthy_gap_us()))
		return;
	if (logged == NR_LOGGED_WELL || !claim(&suspect->logged, logged, NR_LOGGED_WELL))
		return;
	pg_atomic_write_u64(&suspect->healed_us, now_us);
	nr_log_shard_recovered(shard, (TimestampTz) since);
}

bool
nr_silence_claimed(uint32 shard)
{
	NrSuspect *suspect = &nr_shared->suspects[shard];

	pg_atomic_write_u64(&suspect->last_silent_us, nr_now_us());
	return claim(&suspect->silence_logged, 0, 1);
}

/* Other sessions may still wait: log the next silence only if none has waited for a while. */
static void
end_silence(NrSuspect *suspect)
{
	uint64 quiet_us =
		Max(healthy_gap_us(), UINT64CONST(2000) * (uint64) nr_response_log_timeout_ms);

	if (!within(pg_atomic_read_u64(&suspect->last_silent_us), nr_now_us(), quiet_us))
		pg_atomic_write_u32(&suspect->silence_logged, 0);
}

void
nr_trouble_of_shard(uint32 shard, const NrFailure *failure, const struct pgh_verdict *verdict)
{
	NrSuspect *suspect = &nr_shared->suspects[shard];
	NrEventData data = {
		.shard = (int32) shard,
		.phase = failure->phase,
		.source = PGH_SOURCE_PAGESERVER,
		.trouble = verdict->trouble,
		.certainty = verdict->certainty,
	};
	uint32 failures;

	strlcpy(data.sqlstate, failure->sqlstate, sizeof(data.sqlstate));
	nr_event_set_text(&data, failure->text, strlen(failure->text));
	(void) nr_event_append(&data);
	failures = count_failure(suspect, &data);
	log_failure(suspect, &data);
	if (pgh_verdict_raises(verdict, failures, nr_failure_threshold))
		raise_suspicion(suspect, false);
}

void
nr_shard_recovered(uint32 shard)
{
	NrSuspect *suspect = &nr_shared->suspects[shard];
	uint64 now = (uint64) GetCurrentTimestamp();
	bool healthy =
		pg_atomic_read_u32(&suspect->failures) == 0 && pg_atomic_read_u32(&suspect->suspected) == 0;

	if (healthy && now - pg_atomic_read_u64(&suspect->last_success) < SUCCESS_STEP_US)
		return;
	pg_atomic_write_u64(&suspect->last_success, now);
	if (!healthy)
	{
		end_suspicion(suspect);
		ConditionVariableBroadcast(&suspect->healed);
	}
	if (pg_atomic_read_u32(&suspect->logged) != NR_LOGGED_WELL)
		log_success(suspect, shard);
	if (pg_atomic_read_u32(&suspect->silence_logged) != 0)
		end_silence(suspect);
}

static NrEventData
report_data(const struct pgh_verdict *verdict, const char *sqlstate, const char *text)
{
	NrEventData data = {
		.shard = verdict->shard,
		.phase = NR_NO_PHASE,
		.source = verdict->source,
		.trouble = verdict->trouble,
		.certainty = verdict->certainty,
		.useful = verdict->useful,
		.peer = verdict->peer,
	};

	nr_sqlstate_copy(data.sqlstate, sqlstate);
	nr_event_set_text(&data, text, text != NULL ? strlen(text) : 0);
	return data;
}

void
nr_trouble_reported(const struct pgh_verdict *verdict, const char *sqlstate, const char *text)
{
	NrSuspect *suspect = &nr_shared->suspects[nr_suspect_index(verdict->source, verdict->shard)];
	NrEventData data = report_data(verdict, sqlstate, text);
	bool by_peer = verdict->source == PGH_SOURCE_SAFEKEEPER;
	uint32 failures;

	nr_event_append_report(&data);
	if (verdict->useful)
	{
		pg_atomic_write_u64(&suspect->last_success, (uint64) data.at);
		if (!by_peer)
			end_suspicion(suspect);
		else
			nr_wake_worker();
		return;
	}
	pg_atomic_write_u64(&suspect->ended_us, 0);
	failures = count_failure(suspect, &data);
	if (by_peer)
		nr_wake_worker(); /* it judges which of the safekeepers fails, and for how long */
	else if (pgh_verdict_raises(verdict, failures, nr_failure_threshold))
		raise_suspicion(suspect, true);
}

void
nr_stream_end_reported(const struct pgh_verdict *verdict, const char *sqlstate, const char *text)
{
	NrSuspect *suspect = &nr_shared->suspects[nr_suspect_index(verdict->source, verdict->shard)];
	NrEventData data = report_data(verdict, sqlstate, text);
	uint64 none = 0;

	nr_event_append_report(&data);
	(void) nr_event_write(&suspect->last_failure, &data);
	if (pg_atomic_compare_exchange_u64(&suspect->ended_us, &none, nr_now_us()))
		nr_wake_worker();
}

void
nr_connection_reported(uint32 shard)
{
	NrSuspect *suspect = &nr_shared->suspects[shard];

	pg_atomic_write_u64(&suspect->ended_us, 0);
	pg_atomic_write_u64(&suspect->connected_us, nr_now_us());
	if (pg_atomic_read_u32(&suspect->suspected) != 0)
		nr_wake_worker();
}

/* When the suspicion that reports have raised will have settled; PG_UINT64_MAX = not by itself. */
static uint64
settled_at(NrSuspect *suspect)
{
	uint64 connected_us = pg_atomic_read_u64(&suspect->connected_us);
	NrEventData last;

	if (pg_atomic_read_u32(&suspect->suspected) == 0 ||
	    pg_atomic_read_u32(&suspect->reported) == 0 ||
	    connected_us <= pg_atomic_read_u64(&suspect->last_failed_us))
		return PG_UINT64_MAX;
	/* a silent server accepts connections, so only an answer ends this suspicion */
	if (!nr_event_read(&suspect->last_failure, &last) || last.trouble == PGH_TROUBLE_SILENT)
		return PG_UINT64_MAX;
	return connected_us + SETTLED_US;
}

static void
count_stream_end(NrSuspect *suspect)
{
	NrEventData data;
	struct pgh_verdict verdict = { .certainty = PGH_CERTAINTY_SUSPECT };

	pg_atomic_write_u64(&suspect->ended_us, 0);
	if (!nr_event_read(&suspect->last_failure, &data))
		return;
	if (pgh_verdict_raises(&verdict, count_failure(suspect, &data), nr_failure_threshold))
		raise_suspicion(suspect, true);
}

uint64
nr_reports_settle(uint64 now_us)
{
	uint64 next_us = PG_UINT64_MAX;

	for (int i = 0; nr_beside_neon && i < PGH_MAX_SHARDS; i++)
	{
		NrSuspect *suspect = &nr_shared->suspects[i];
		uint64 ended_us = pg_atomic_read_u64(&suspect->ended_us);
		uint64 due_us = ended_us + PGH_STREAM_WAIT_MS * UINT64CONST(1000);
		uint64 settled_us = settled_at(suspect);

		if (ended_us != 0 && due_us <= now_us)
			count_stream_end(suspect);
		else if (ended_us != 0)
			next_us = Min(next_us, due_us);
		if (settled_us <= now_us)
			end_suspicion(suspect);
		else
			next_us = Min(next_us, settled_us);
	}
	return next_us;
}

/*
 * The backoff is shared: while a shard fails, one process at a time may try to reconnect, and
 * each attempt makes the next pause longer. A shard that does not fail is open to all.
 */
bool
nr_reconnect_allowed(uint32 shard, uint64 now_us, uint64 *wait_us)
{
	NrSuspect *suspect = &nr_shared->suspects[shard];
	static uint64 seed = 0;
	uint64 next;

	if (pg_atomic_read_u32(&suspect->failures) == 0)
		return true;
	if (seed == 0)
		seed = now_us ^ ((uint64) MyProcPid << 32);
	next = pg_atomic_read_u64(&suspect->next_attempt_us);
	while (next <= now_us)
	{
		uint32 attempts = pg_atomic_read_u32(&suspect->attempts) + 1;
		uint64 delay = pgh_reconnect_delay_us(attempts, pgh_random(&seed));

		if (pg_atomic_compare_exchange_u64(&suspect->next_attempt_us, &next, now_us + delay))
		{
			pg_atomic_fetch_add_u32(&suspect->attempts, 1);
			return true;
		}
	}
	*wait_us = next - now_us;
	return false;
}
