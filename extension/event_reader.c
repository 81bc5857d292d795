/*
 * Reads what other processes left in shared memory and passes it to the core's policy, which
 * decides when to ask the daemon. Shards and sources have counters, so nothing is lost however many
 * events there were; safekeepers are read from the ring, since it matters which of them fails.
 */
#include "prelude.h"

#include "guc.h"
#include "trouble.h"
#include "worker.h"

#define EVENTS_AT_ONCE 1000
#define UNREADABLE_AGE 16 /* an event this much older than the newest stays unreadable */

/*
 * A session that waits for a failing shard reports a failure at least this often: after the
 * longest pause, connect_timeout and response_suspect_after. Twice that time without a failure
 * means that no session waits any more, so the daemon need not be asked: the next failure raises
 * suspicion again, and then it is asked at once.
 */
uint64
nr_quiet_of_our_client_us(void)
{
	uint64 apart_ms =
		PGH_RECONNECT_MAX_MS + (uint64) nr_connect_timeout_ms + nr_response_suspect_after_ms;

	return 2 * apart_ms * 1000;
}

void
nr_event_reader_configure(NrEventReader *reader)
{
	pgh_policy_config_init(&reader->config);
	reader->config.retry_min_us = (uint64) nr_retry_min_ms * 1000;
	reader->config.retry_max_us = (uint64) Max(nr_retry_max_ms, nr_retry_min_ms) * 1000;
	reader->config.own_quiet_us = nr_quiet_of_our_client_us();
}

void
nr_event_reader_init(NrEventReader *reader, uint64 seed)
{
	memset(reader, 0, sizeof(*reader));
	pgh_policy_init(&reader->policy, seed);
	nr_event_reader_configure(reader);
	reader->events_seen = pg_atomic_read_u64(&nr_shared->events.total);
	for (int i = 0; i < NR_SUSPECTS; i++)
	{
		NrSuspect *suspect = &nr_shared->suspects[i];
		uint64 raised = pg_atomic_read_u64(&suspect->raised);

		/* a suspicion that an earlier worker left counts as one event */
		reader->raised_seen[i] = raised - (pg_atomic_read_u32(&suspect->suspected) ? 1 : 0);
		reader->renewals_seen[i] = pg_atomic_read_u32(&suspect->renewals);
	}
}

static enum pgh_source
source_of(int index)
{
	return index < PGH_MAX_SHARDS ? PGH_SOURCE_PAGESERVER : index - PGH_MAX_SHARDS;
}

static int32
shard_of(int index)
{
	return index < PGH_MAX_SHARDS ? index : -1;
}

/*
 * Read in the order raised, suspected, renewals: raising a suspicion writes `raised` last, and a
 * renewal writes `renewals` first. So a cleared `suspected` is never seen without the renewal that
 * cleared it, nor a failure of the new endpoint before the renewal.
 */
static void
take_suspect(NrEventReader *reader, int index, uint64 now_us)
{
	NrSuspect *suspect = &nr_shared->suspects[index];
	enum pgh_source source = source_of(index);
	uint64 raised = pg_atomic_read_u64(&suspect->raised);
	uint64 news = Min(raised - reader->raised_seen[index], EVENTS_AT_ONCE);
	bool enabled = nr_source_enabled(source);
	bool suspected;
	uint32 renewals;

	pg_read_barrier();
	suspected = pg_atomic_read_u32(&suspect->suspected) != 0;
	pg_read_barrier();
	renewals = pg_atomic_read_u32(&suspect->renewals);

	reader->raised_seen[index] = raised;
	if (renewals != reader->renewals_seen[index])
	{
		reader->renewals_seen[index] = renewals;
		reader->known[index] = false;
		pgh_policy_renewed(&reader->policy, &reader->config, shard_of(index), now_us);
	}
	for (uint64 i = 0; enabled && suspected && i < news; i++)
	{
		pgh_policy_event(&reader->policy, &reader->config, source, shard_of(index),
		                 pg_atomic_read_u32(&suspect->reported) != 0, now_us);
		reader->known[index] = true;
	}
	if (reader->known[index] && (!enabled || !suspected))
	{
		pgh_policy_end(&reader->policy, source, shard_of(index), now_us);
		reader->known[index] = false;
	}
}

static void
take_safekeeper(NrEventReader *reader, const NrEventData *event, uint64 now_us)
{
	int index = PGH_MAX_SHARDS + PGH_SOURCE_SAFEKEEPER;
	NrSuspect *suspect = &nr_shared->suspects[index];

	if (event->useful)
	{
		if (pgh_peer_recovered(&reader->peers, event->peer))
			pg_atomic_write_u32(&suspect->suspected, 0);
	}
	else if (pgh_peer_failed(&reader->peers, event->peer, now_us,
	                         (uint64) nr_safekeeper_suspect_after_ms * 1000,
	                         reader->config.report_quiet_us))
	{
		pg_atomic_write_u32(&suspect->reported, 1);
		pg_atomic_write_u32(&suspect->suspected, 1);
		pg_atomic_fetch_add_u64(&suspect->raised, 1);
	}
}

static void
take_event(NrEventReader *reader, const NrEventData *event, uint64 now_us)
{
	if (event->source == PGH_SOURCE_SAFEKEEPER && !event->manual)
		take_safekeeper(reader, event, now_us);
}

/* What was reported again in the same words since the last look. */
static void
take_repeats(NrEventReader *reader, uint64 now_us)
{
	uint64 total = pg_atomic_read_u64(&nr_shared->events.total);
	uint64 number = total > NR_EVENTS ? total - NR_EVENTS : 0;

	while (number++ < reader->events_seen)
	{
		uint64 *seen = &reader->repeats_seen[number % NR_EVENTS];
		uint64 last_at;
		uint64 repeats = nr_event_repeats(number, &last_at);
		NrEventData event;

		if (repeats > *seen && nr_event_get(number, &event))
			take_event(reader, &event, now_us);
		*seen = repeats;
	}
}

static void
take_ring(NrEventReader *reader, uint64 now_us)
{
	uint64 total = pg_atomic_read_u64(&nr_shared->events.total);

	if (total - reader->events_seen > NR_EVENTS)
		reader->events_seen = total - NR_EVENTS;
	while (reader->events_seen < total)
	{
		NrEventData event;

		if (nr_event_get(reader->events_seen + 1, &event))
			take_event(reader, &event, now_us);
		else if (!nr_event_dropped(reader->events_seen + 1) &&
		         total - reader->events_seen < UNREADABLE_AGE)
			break; /* it is being written, and its writer will wake us */
		reader->events_seen++;
		reader->repeats_seen[reader->events_seen % NR_EVENTS] = 0;
	}
}

uint64
nr_event_reader_read(NrEventReader *reader, uint64 now_us)
{
	uint64 again_us = nr_reports_settle(now_us);

	take_repeats(reader, now_us);
	take_ring(reader, now_us);
	for (int index = 0; index < NR_SUSPECTS; index++)
		take_suspect(reader, index, now_us);
	return again_us;
}

/*
 * There was no failure for a long time. If others had reported it, it is taken for over. If our
 * own client had failed, nobody has tried since, so the failures stay counted until the next
 * useful answer.
 */
static void
suspect_expired(NrSuspect *suspect)
{
	pg_atomic_write_u32(&suspect->suspected, 0);
	if (pg_atomic_read_u32(&suspect->reported) != 0)
		pg_atomic_write_u32(&suspect->failures, 0);
}

/* What the policy has ended by silence is ended in shared memory too. */
bool
nr_event_reader_due(NrEventReader *reader, uint64 now_us)
{
	bool due = pgh_policy_due(&reader->policy, &reader->config, now_us);
	const struct pgh_policy *policy = &reader->policy;
	NrWorkerState *worker = &nr_shared->worker;

	for (int index = 0; index < NR_SUSPECTS; index++)
	{
		bool suspected = index < PGH_MAX_SHARDS
		                     ? policy->shard_seen_us[index] != 0
		                     : policy->source_seen_us[index - PGH_MAX_SHARDS] != 0;

		if (!reader->known[index] || suspected)
			continue;
		reader->known[index] = false;
		suspect_expired(&nr_shared->suspects[index]);
	}
	pg_atomic_write_u64(&worker->coalesced, policy->coalesced_total);
	if (!pgh_policy_suspects(policy))
		pg_atomic_write_u64(&worker->suspected_since, 0);
	else if (pg_atomic_read_u64(&worker->suspected_since) == 0)
		pg_atomic_write_u64(&worker->suspected_since, (uint64) GetCurrentTimestamp());
	return due;
}

bool
nr_event_reader_latest(const NrEventReader *reader, NrEventData *latest)
{
	bool found = false;

	for (int i = 0; i < NR_SUSPECTS; i++)
	{
		NrEventData event;

		if (!reader->known[i] || !nr_event_read(&nr_shared->suspects[i].last_failure, &event))
			continue;
		if (!found || event.at > latest->at)
			*latest = event;
		found = true;
	}
	return found;
}
