/*
 * The loop of a page request. The core decides what a failure means; unless it concerns this
 * page only, the request is tried again, after the backoff that all processes share, until
 * there is an answer, a cancel, or query_cancel_after has passed. The daemon is asked by the
 * worker.
 */
#include "prelude.h"

#include "client.h"
#include "report.h"
#include "shmem.h"

static uint32 wait_name = 0;

/* Wait until a connection to the shard may be tried. */
static NrOutcome
wait_turn(NrTask *task)
{
	NrSuspect *suspect = &nr_shared->suspects[task->shard];
	NrWaitFor what = { .socket = PGINVALID_SOCKET,
	                   .word = &suspect->next_attempt_us,
	                   .name = "NeonPageserverBackoff",
	                   .name_cache = &wait_name };
	uint64 now_us = nr_now_us();
	uint64 wait_us = 0;
	NrWaitResult waited = NR_WAIT_READY;

	if (task->next_try_us > now_us)
	{
		NrWaitFor own = what;

		own.word = NULL;
		if (nr_wait(task, &own, task->next_try_us) == NR_WAIT_MOVED)
			return NR_MOVED;
		now_us = nr_now_us();
	}
	while (waited != NR_WAIT_MOVED && !nr_reconnect_allowed(task->shard, now_us, &wait_us))
	{
		/* the process that gets a useful answer sets next_attempt_us to 0 and wakes all */
		ConditionVariablePrepareToSleep(&suspect->healed);
		what.value = now_us + wait_us;
		waited = nr_wait(task, &what, now_us + wait_us);
		ConditionVariableCancelSleep();
		now_us = nr_now_us();
	}
	return waited == NR_WAIT_MOVED ? NR_MOVED : NR_DONE;
}

static NrOutcome
attempt(NrTask *task)
{
	NrOutcome outcome = NR_DONE;

	if (!task->connection->ready)
	{
		outcome = wait_turn(task);
		if (outcome == NR_DONE)
			outcome = nr_connect(task);
	}
	return outcome == NR_DONE ? nr_exchange(task) : outcome;
}

static void
judge(const NrTask *task, struct pgh_verdict *verdict)
{
	const NrFailure *failure = &task->failure;
	struct pgh_client_event event = {
		.phase = failure->phase,
		.cause = failure->cause,
		.sqlstate = failure->sqlstate,
		.text = failure->text,
		.text_len = strlen(failure->text),
		.idle_before_request = failure->idle_before_request,
		.already_retried = task->already_retried,
	};

	pgh_classify_client(&event, verdict);
}

/*
 * Each useful answer resets the shared backoff. So a request that fails while others are served
 * has a backoff of its own, which only a new endpoint resets. (While nobody is served the shared
 * one is enough, and everybody goes on as soon as it ends.)
 */
static void
set_own_backoff(NrTask *task)
{
	uint64 seed = nr_now_us() ^ ((uint64) MyProcPid << 32);
	uint32 heals = pg_atomic_read_u32(&nr_shared->suspects[task->shard].heals);

	if (task->failures > 1 && task->heals_seen == heals)
		return;
	task->heals_seen = heals;
	task->next_try_us = nr_now_us() + pgh_reconnect_delay_us(task->own_attempts, pgh_random(&seed));
	task->own_attempts++;
}

/* For another endpoint. */
static void
reset_own_backoff(NrTask *task)
{
	task->own_attempts = 0;
	task->next_try_us = 0;
}

/* Returns if the request is to be tried again, else raises its error. */
static void
after_failure(NrTask *task)
{
	enum pgh_cause cause = task->failure.cause;
	struct pgh_verdict verdict;

	judge(task, &verdict);
	if (cause == PGH_CAUSE_PAGE_ERROR && verdict.certainty == PGH_CERTAINTY_NONE)
	{
		nr_shard_recovered(task->shard); /* it works, and refuses this page only */
		nr_error_page(task);
	}
	if (nr_map_moved(task))
	{
		reset_own_backoff(task); /* the endpoint that failed is not in the map any more */
		return;
	}
	nr_connection_drop(task->connection);
	if (verdict.retry_at_once)
	{
		task->already_retried = true;
		return;
	}
	task->failures++;
	nr_trouble_of_shard(task->shard, &task->failure, &verdict);
	set_own_backoff(task);
	if (cause == PGH_CAUSE_MALFORMED)
		nr_error_malformed(task);
}

static void
run(NrTask *task)
{
	for (;;)
	{
		nr_map_refresh();
		nr_connections_prune();
		if (nr_map()->shard_count == 0)
			nr_error_not_configured();
		task->shard = pgh_shard_of_request(nr_map(), task->request);
		task->connection = nr_connection(task->shard);
		switch (attempt(task))
		{
			case NR_DONE: nr_shard_recovered(task->shard); return;
			case NR_FAILED: after_failure(task); break;
			case NR_MOVED:
				reset_own_backoff(task);
				if (!task->connection->ready)
					nr_connection_drop(task->connection);
				break;
		}
	}
}

void
nr_run_task(NrTask *task)
{
	task->begin_us = nr_now_us();
	PG_TRY();
	{
		run(task);
	}
	PG_CATCH();
	{
		/* cancelled in mid-exchange: the next answer on this stream would be to this request */
		if (task->connection != NULL && !task->connection->ready)
			nr_connection_drop(task->connection);
		PG_RE_THROW();
	}
	PG_END_TRY();
}
