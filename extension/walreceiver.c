/*
 * Notices a silent primary. Nothing else reports it: libpq waits for a connection without end, and
 * the walreceiver logs nothing before wal_receiver_timeout. So in recovery the worker looks at
 * the walreceiver's state once a second.
 *
 * A healthy idle stream may be silent for half of wal_receiver_timeout, when the walreceiver
 * requests a reply; silence before that means nothing.
 */
#include "prelude.h"

#include "published.h"
#include "shmem.h"
#include "trouble.h"
#include "worker.h"

#define LOOK_MS   1000
#define REPEAT_US 10000000 /* shorter than the time after which a reported suspicion ends */

typedef struct Receiver
{
	bool active;
	bool connected;
	pg_time_t started; /* seconds */
	TimestampTz last_message;
} Receiver;

static void
look(Receiver *receiver)
{
	SpinLockAcquire(&WalRcv->mutex);
	receiver->active = WalRcv->pid != 0 && (WalRcv->walRcvState == WALRCV_STREAMING ||
	                                        WalRcv->walRcvState == WALRCV_STARTING);
	receiver->connected = WalRcv->ready_to_display;
	receiver->started = WalRcv->startTime;
	receiver->last_message = WalRcv->lastMsgReceiptTime;
	SpinLockRelease(&WalRcv->mutex);
}

/* Milliseconds of silence beyond what is allowed; 0 = none. */
static long
silent_ms(const Receiver *receiver, const char **what)
{
	TimestampTz now = GetCurrentTimestamp();
	long allowed;
	long silent;

	if (!receiver->active)
		return 0;
	if (!receiver->connected)
	{
		*what = "no connection to the primary";
		/* the time of the start is in whole seconds */
		allowed = nr_published_limit(NR_LIMIT_CONNECT_MS) + 1000;
		silent = TimestampDifferenceMilliseconds(time_t_to_timestamptz(receiver->started), now);
	}
	else
	{
		*what = "no message from the primary";
		if (wal_receiver_timeout == 0 || receiver->last_message == 0)
			return 0;
		allowed = wal_receiver_timeout / 2 +
		          Min(nr_published_limit(NR_LIMIT_SUSPECT_MS), wal_receiver_timeout / 4);
		silent = TimestampDifferenceMilliseconds(receiver->last_message, now);
	}
	return silent > allowed ? silent : 0;
}

/* A promoted server has no primary any more: end the suspicion of it. */
static void
forget_primary(void)
{
	NrSuspect *suspect = &nr_shared->suspects[PGH_MAX_SHARDS + PGH_SOURCE_PRIMARY];
	struct pgh_verdict verdict = { .source = PGH_SOURCE_PRIMARY, .shard = -1, .useful = true };

	if (pg_atomic_read_u32(&suspect->failures) != 0 || pg_atomic_read_u32(&suspect->suspected) != 0)
		nr_trouble_reported(&verdict, NULL, "promoted: no primary is followed any more");
}

long
nr_primary_watch(void)
{
	static bool followed = false;
	static bool alarmed = false;
	static uint64 repeat_us = 0;
	struct pgh_verdict verdict = { .source = PGH_SOURCE_PRIMARY, .shard = -1 };
	uint64 now_us = nr_now_us();
	const char *what = "";
	Receiver receiver;
	long silent;

	if (WalRcv == NULL)
		return -1;
	if (!RecoveryInProgress())
	{
		if (followed)
			forget_primary();
		followed = false;
		return -1;
	}
	look(&receiver);
	/* a primary is in recovery too while it starts, but has no walreceiver */
	followed = followed || receiver.started != 0;
	silent = silent_ms(&receiver, &what);
	if (silent > 0 && now_us >= repeat_us)
	{
		char text[NR_TEXT_SIZE];

		snprintf(text, sizeof(text), "%s for %ld ms", what, silent);
		verdict.trouble = PGH_TROUBLE_SILENT;
		verdict.certainty = PGH_CERTAINTY_SUSPECT;
		nr_trouble_reported(&verdict, NULL, text);
		alarmed = true;
		repeat_us = now_us + REPEAT_US;
	}
	else if (silent == 0 && alarmed && receiver.active && receiver.connected)
	{
		verdict.useful = true;
		nr_trouble_reported(&verdict, NULL, "the primary is heard again");
		alarmed = false;
		repeat_us = 0;
	}
	return LOOK_MS;
}
