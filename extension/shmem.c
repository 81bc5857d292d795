/*
 * Shared memory: asked for, attached and initialised. A new area (start, crash restart) gets
 * what the postmaster's settings say at once.
 */
#include "prelude.h"

#include "shmem.h"

NrShared *nr_shared = NULL;

static shmem_startup_hook_type previous_startup = NULL;
static void (*publish_settings)(void) = NULL;

static void
init_suspect(NrSuspect *suspect)
{
	pg_atomic_init_u32(&suspect->failures, 0);
	pg_atomic_init_u32(&suspect->attempts, 0);
	pg_atomic_init_u32(&suspect->suspected, 0);
	pg_atomic_init_u32(&suspect->reported, 0);
	pg_atomic_init_u32(&suspect->renewals, 0);
	pg_atomic_init_u32(&suspect->heals, 0);
	pg_atomic_init_u32(&suspect->logged, NR_LOGGED_WELL);
	pg_atomic_init_u32(&suspect->silence_logged, 0);
	pg_atomic_init_u64(&suspect->raised, 0);
	pg_atomic_init_u64(&suspect->last_failed_us, 0);
	pg_atomic_init_u64(&suspect->last_silent_us, 0);
	pg_atomic_init_u64(&suspect->healed_us, 0);
	pg_atomic_init_u64(&suspect->logged_since, 0);
	pg_atomic_init_u64(&suspect->ended_us, 0);
	pg_atomic_init_u64(&suspect->connected_us, 0);
	pg_atomic_init_u64(&suspect->next_attempt_us, 0);
	pg_atomic_init_u64(&suspect->failing_since, 0);
	pg_atomic_init_u64(&suspect->last_success, 0);
	nr_event_init(&suspect->last_failure);
	ConditionVariableInit(&suspect->healed);
}

static void
init_worker(NrWorkerState *worker)
{
	pg_atomic_init_u32(&worker->proc_number, NR_NO_PROC);
	pg_atomic_init_u32(&worker->pid, 0);
	pg_atomic_init_u64(&worker->since, 0);
	pg_atomic_init_u64(&worker->suspected_since, 0);
	pg_atomic_init_u64(&worker->requests, 0);
	pg_atomic_init_u64(&worker->requests_failed, 0);
	pg_atomic_init_u64(&worker->coalesced, 0);
	pg_atomic_init_u32(&worker->in_flight, 0);
	pg_atomic_init_u64(&worker->last_request, 0);
	pg_atomic_init_u32(&worker->last_result, PGH_OK);
	pg_atomic_init_u32(&worker->last_status, 0);
	pg_atomic_init_u64(&worker->acks, 0);
	pg_atomic_init_u64(&worker->last_ack, 0);
	pg_atomic_init_u32(&worker->last_ack_status, 0);
	pg_atomic_init_u32(&worker->last_ack_result, PGH_ERR_NOT_DONE);
}

static void
init_published(NrPublished *published)
{
	memset(published, 0, sizeof(*published));
	pg_atomic_init_u64(&published->sequence, 0);
	pg_atomic_init_u64(&published->generation, 0);
	pg_atomic_init_u32(&published->log_level, 0);
	pg_atomic_init_u32(&published->not_reloaded, 0);
	for (int i = 0; i < NR_LIMIT_COUNT; i++)
		pg_atomic_init_u32(&published->limits[i], 0);
	published->map.stripe_size_pages = PGH_DEFAULT_STRIPE_SIZE;
}

static void
init_area(NrShared *shared)
{
	pg_atomic_init_u32(&shared->wake, 0);
	pg_atomic_init_u32(&shared->manual_request, 0);
	pg_atomic_init_u32(&shared->after_crash, 0);
	pg_atomic_init_u64(&shared->token_file, 0);
	nr_event_init(&shared->manual);
	init_published(&shared->published);
	init_worker(&shared->worker);
	nr_event_ring_init(&shared->events);
	for (int i = 0; i < NR_SUSPECTS; i++)
		init_suspect(&shared->suspects[i]);
}

static void
startup(void)
{
	static bool made_before = false; /* the postmaster's own memory outlives a crash */
	bool found;

	if (previous_startup)
		previous_startup();

	nr_shared = NULL; /* after a crash the old address means nothing */
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	NrShared *shared = ShmemInitStruct("neon_refresh", sizeof(NrShared), &found);

	if (!found)
	{
		init_area(shared);
		pg_atomic_write_u32(&shared->after_crash, made_before ? 1 : 0);
		made_before = true;
	}
	LWLockRelease(AddinShmemInitLock);
	nr_shared = shared;

	/* Children run this hook too where they do not inherit memory by fork. */
	if (!found && !IsUnderPostmaster)
		publish_settings();
}

static void
request(void)
{
	RequestAddinShmemSpace(MAXALIGN(sizeof(NrShared)));
}

#if NR_HAVE_SHMEM_REQUEST_HOOK
static shmem_request_hook_type previous_request = NULL;

static void
request_hook(void)
{
	if (previous_request)
		previous_request();
	request();
}
#endif

void
nr_shmem_install(void (*publish)(void))
{
	publish_settings = publish;
#if NR_HAVE_SHMEM_REQUEST_HOOK
	previous_request = shmem_request_hook;
	shmem_request_hook = request_hook;
#else
	request();
#endif
	previous_startup = shmem_startup_hook;
	shmem_startup_hook = startup;
}

void
nr_shard_renewed(uint32 shard)
{
	NrSuspect *suspect = &nr_shared->suspects[shard];

	pg_atomic_write_u32(&suspect->failures, 0);
	pg_atomic_write_u32(&suspect->attempts, 0);
	pg_atomic_write_u64(&suspect->next_attempt_us, 0);
	pg_atomic_write_u64(&suspect->failing_since, 0);
	pg_atomic_write_u64(&suspect->healed_us, 0);
	pg_atomic_write_u64(&suspect->ended_us, 0);
	pg_atomic_write_u64(&suspect->connected_us, 0);
	pg_atomic_write_u32(&suspect->silence_logged, 0);
	pg_atomic_fetch_add_u32(&suspect->renewals, 1);
	if (pg_atomic_exchange_u32(&suspect->suspected, 0) != 0)
		nr_wake_worker();
}

void
nr_wake_worker(void)
{
	uint32 proc_number;

	if (pg_atomic_exchange_u32(&nr_shared->wake, 1) != 0)
		return; /* it has not looked since the last time */
	proc_number = pg_atomic_read_u32(&nr_shared->worker.proc_number);
	/* the postmaster comes here too, and must survive shared memory that is damaged */
	if (proc_number < ProcGlobal->allProcCount)
		SetLatch(&ProcGlobal->allProcs[proc_number].procLatch);
}

uint64
nr_now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64) now.tv_sec * 1000000 + now.tv_nsec / 1000 + 1;
}
