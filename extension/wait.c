/*
 * The only place where a page request sleeps. Every sleep ends by query cancel, termination, a
 * reload that moves the request (the reload sets the latch), query_cancel_after, or its own
 * deadline. In background workers, which may ignore SIGHUP, a reload need not set the latch: they
 * look again every BG_WORKER_LOOK_MS.
 */
#include "prelude.h"

#include "client.h"
#include "published.h"
#include "report.h"
#include "shmem.h"

#define BG_WORKER_LOOK_MS 100

/* Milliseconds to sleep now, rounded up; -1 = for ever. */
static long
sleep_ms(uint64 now_us, uint64 deadline_us, uint64 limit_us)
{
	uint64 until = deadline_us;
	long ms = -1;

	if (limit_us != 0 && (until == 0 || limit_us < until))
		until = limit_us;
	if (until != 0)
		ms = until <= now_us ? 0 : (long) Min((until - now_us + 999) / 1000, INT_MAX);
	if (MyBackendType == B_BG_WORKER && (ms < 0 || ms > BG_WORKER_LOOK_MS))
		ms = BG_WORKER_LOOK_MS;
	return ms;
}

/* Sleep once; true if the socket is ready. */
static bool
sleep_once(const NrWaitFor *what, long timeout_ms)
{
	uint32 name = nr_wait_event(what->name_cache, what->name);
	uint32 events;

	if (what->set != NULL)
	{
		WaitEvent event;

		if (WaitEventSetWait(what->set, timeout_ms, &event, 1, name) == 0)
			return false;
		events = event.events;
	}
	else
	{
		events = WaitLatchOrSocket(MyLatch,
		                           WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | what->events |
		                               (timeout_ms >= 0 ? WL_TIMEOUT : 0),
		                           what->socket, timeout_ms, name);
	}
	if (events & WL_LATCH_SET)
	{
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	return (events & (WL_SOCKET_READABLE | WL_SOCKET_WRITEABLE)) != 0;
}

static uint64
sooner(uint64 deadline_us, const NrWaitFor *what)
{
	uint64 other;

	if (what->since_us == 0)
		return deadline_us;
	other = what->since_us + (uint64) nr_published_limit(what->limit) * 1000;
	return deadline_us == 0 ? other : Min(deadline_us, other);
}

NrWaitResult
nr_wait(NrTask *task, const NrWaitFor *what, uint64 deadline_us)
{
	for (;;)
	{
		int limit_ms = nr_published_limit(NR_LIMIT_CANCEL_MS);
		uint64 limit_us = limit_ms > 0 ? task->begin_us + (uint64) limit_ms * 1000 : 0;
		uint64 until_us = sooner(deadline_us, what);
		uint64 now_us;

		CHECK_FOR_INTERRUPTS();
		if (nr_map_moved(task))
			return NR_WAIT_MOVED;
		now_us = nr_now_us();
		if (limit_us != 0 && now_us >= limit_us)
			nr_error_gave_up(task, limit_ms);
		if (until_us != 0 && now_us >= until_us)
			return NR_WAIT_DEADLINE;
		if (what->word != NULL && pg_atomic_read_u64(what->word) != what->value)
			return NR_WAIT_READY;
		if (sleep_once(what, sleep_ms(now_us, until_us, limit_us)))
			return NR_WAIT_READY;
	}
}
