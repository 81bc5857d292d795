/*
 * The acknowledgement: it tells the daemon which configuration the server runs with. It is sent
 * after each reload, at the end of trouble and to a daemon that may be new, and repeated until
 * the daemon has answered it with 2xx or 4xx.
 */
#include "prelude.h"

#include "worker.h"

void
nr_ack_want(NrAck *ack, int delay_ms)
{
	uint64 due_us = nr_now_us() + delay_ms * UINT64CONST(1000);

	if (nr_post_in_flight(&ack->post))
		ack->wanted_again = true;
	ack->due_us = ack->wanted ? Min(ack->due_us, due_us) : due_us;
	ack->wanted = true;
	ack->attempt = 0;
}

uint64
nr_ack_due_us(const NrAck *ack)
{
	return ack->wanted && !nr_post_in_flight(&ack->post) ? ack->due_us : PG_UINT64_MAX;
}

static void
retry(NrAck *ack, const NrEventReader *reader, uint64 now_us)
{
	ack->due_us = now_us + pgh_jitter_us(reader->config.retry_min_us, reader->config.retry_max_us,
	                                     ack->attempt++, pgh_random(&ack->seed));
}

static void
note_outcome(NrAck *ack, const NrPostOutcome *outcome)
{
	NrWorkerState *state = &nr_shared->worker;

	pg_atomic_write_u32(&state->last_ack_status, (uint32) outcome->status);
	pg_atomic_write_u32(&state->last_ack_result, outcome->result);
	if (outcome->result == PGH_OK)
		pg_atomic_write_u64(&state->last_ack, (uint64) GetCurrentTimestamp());
	if (outcome->status / 100 == 2)
		pg_atomic_fetch_add_u64(&state->acks, 1);
	nr_post_log(&ack->post, outcome);
}

void
nr_ack_send(NrAck *ack, const NrEventReader *reader, uint64 now_us)
{
	StringInfoData body;
	NrPostOutcome outcome;

	initStringInfo(&body);
	if (!nr_payload_ack(&body, pgh_policy_suspects(&reader->policy), &ack->not_reloaded_told))
	{
		ack->wanted = false;
		return;
	}
	if (!nr_post_start(&ack->post, &body, true, &outcome))
	{
		note_outcome(ack, &outcome);
		retry(ack, reader, now_us);
	}
}

void
nr_ack_ended(NrAck *ack, const NrEventReader *reader, const NrPostOutcome *outcome)
{
	note_outcome(ack, outcome);
	if (ack->wanted_again)
	{
		ack->wanted_again = false;
		return; /* it is due already */
	}
	if (outcome->status / 100 == 2 || outcome->status / 100 == 4)
		ack->wanted = false;
	else
		retry(ack, reader, nr_now_us());
}
