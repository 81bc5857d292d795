/*
 * Stands for a process that is at the next slot of the ring of events: who reports meanwhile finds
 * it taken, and that event is dropped.
 */
#include "postgres.h"

#include "fmgr.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "shmem.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(busy_slot);

/* busy_slot(number bigint) returns bigint: take the slot of the next event and return its number;
 * with a number, let that event's slot go. */
Datum
busy_slot(PG_FUNCTION_ARGS)
{
	bool found;
	NrShared *shared = ShmemInitStruct("neon_refresh", sizeof(NrShared), &found);
	int64 number = PG_GETARG_INT64(0);

	if (number != 0)
		pg_atomic_fetch_sub_u64(&shared->events.slots[number % NR_EVENTS].event.sequence, 1);
	else
	{
		number = (int64) pg_atomic_read_u64(&shared->events.total) + 1;
		pg_atomic_fetch_add_u64(&shared->events.slots[number % NR_EVENTS].event.sequence, 1);
	}
	PG_RETURN_INT64(number);
}
