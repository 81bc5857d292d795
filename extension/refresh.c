/*
 * The request for a new configuration. When one is due is for the core's policy to say; this
 * says why it is made, sends it, and records for the views how it ended.
 */
#include "prelude.h"

#include "guc.h"
#include "worker.h"

void
nr_refresh_take_requests(NrRefresh *refresh, NrEventReader *reader, uint64 now_us)
{
	if (pg_atomic_exchange_u32(&nr_shared->manual_request, 0) != 0)
	{
		refresh->manual = true;
		pgh_policy_ask(&reader->policy, &reader->config, now_us);
	}
	if (pg_atomic_exchange_u32(&nr_shared->after_crash, 0) != 0)
	{
		refresh->after_crash = true;
		pgh_policy_ask(&reader->policy, &reader->config, now_us);
	}
}

static void
note_outcome(NrRefresh *refresh, const NrPostOutcome *outcome)
{
	NrWorkerState *state = &nr_shared->worker;

	pg_atomic_write_u32(&state->last_result, outcome->result);
	pg_atomic_write_u32(&state->last_status, (uint32) outcome->status);
	pg_atomic_write_u32(&state->in_flight, 0);
	if (outcome->result != PGH_OK || outcome->status / 100 != 2)
		pg_atomic_fetch_add_u64(&state->requests_failed, 1);
	nr_post_log(&refresh->post, outcome);
}

/* The event that the request names as its reason. */
static NrEventData
reason(NrRefresh *refresh, const NrEventReader *reader)
{
	NrEventData event = { .shard = -1, .phase = NR_NO_PHASE, .manual = true };

	if (nr_event_reader_latest(reader, &event))
		refresh->after_crash = false;
	else if (refresh->manual)
		(void) nr_event_read(&nr_shared->manual, &event);
	else if (refresh->after_crash)
		strlcpy(event.text, "the server has restarted after a crash", sizeof(event.text));
	return event;
}

void
nr_refresh_send(NrRefresh *refresh, NrEventReader *reader, uint64 now_us)
{
	NrWorkerState *state = &nr_shared->worker;
	NrEventData event = reason(refresh, reader);
	NrPostOutcome outcome;
	StringInfoData body;
	struct pgh_endpoint endpoint;
	/* any process may listen on a loopback port, and the marker is for the daemon alone */
	bool secret = nr_daemon_endpoint(&endpoint) && endpoint.unix_path[0] != '\0';

	initStringInfo(&body);
	nr_payload_refresh(&body, &event, reader->policy.pending_events, secret);
	(void) pgh_policy_sent(&reader->policy, now_us);
	refresh->manual = false;
	refresh->after_crash = false;
	refresh->sent_since_healthy = true;
	pg_atomic_fetch_add_u64(&state->requests, 1);
	pg_atomic_write_u64(&state->last_request, (uint64) GetCurrentTimestamp());
	pg_atomic_write_u32(&state->in_flight, 1);
	if (!nr_post_start(&refresh->post, &body, secret, &outcome))
	{
		note_outcome(refresh, &outcome);
		pgh_policy_finished(&reader->policy, &reader->config, now_us);
	}
}

bool
nr_refresh_ended(NrRefresh *refresh, NrEventReader *reader, const NrPostOutcome *outcome)
{
	note_outcome(refresh, outcome);
	pgh_policy_finished(&reader->policy, &reader->config, nr_now_us());
	return outcome->status / 100 == 2;
}
