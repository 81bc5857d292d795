/*
 * The refresh worker. Backends only leave a mark in shared memory and set its latch; it asks
 * the daemon for a new configuration, and tells it what the server runs with (the ack).
 *
 * It has no database connection, so it also serves recovery and standbys, and cannot be held up
 * by storage in trouble. Nothing of it in shared memory is a pointer. It ends with exit code 1,
 * which has the postmaster start it again; SIGTERM ends it at once, in mid-request too, since
 * all waiting is done on its latch. The HTTP client is loaded here, never in the postmaster, whose
 * children would inherit it.
 */
#include "prelude.h"

#include "guc.h"
#include "worker.h"

#define LIBRARY               "neon_refresh"
#define ENTRY_POINT           "neon_refresh_worker_main"
#define RESTART_SECONDS       1
#define WITHOUT_CLIENT_MS     60000 /* before it looks for the HTTP client again */
#define ACK_AFTER_REQUEST_MS  100
#define RELOAD_AFTER_PAGES_MS 20   /* so long the processors belong to the queries that heal */
#define NO_DAEMON_LOOK_MS     1000 /* while something is suspected and no daemon is set */
#define SOCKETS_RESERVED      2

typedef struct Worker
{
	NrEventReader reader;
	NrRefresh refresh;
	NrAck ack;
	MemoryContext cycle;  /* emptied in each turn of the loop */
	uint64 reader_due_us; /* reports of others are to be looked at again; PG_UINT64_MAX = not */
	uint64 reload_due_us; /* ConfigReloadPending only; 0 = not looked at yet */
	bool no_daemon_logged;
} Worker;

static uint32 wait_name = 0;

void
nr_worker_register(void)
{
	BackgroundWorker worker;

	/* a single-user server has no workers; only the postmaster registers one */
	if (IsUnderPostmaster || !IsPostmasterEnvironment)
		return;
	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS;
	worker.bgw_start_time = BgWorkerStart_PostmasterStart;
	worker.bgw_restart_time = RESTART_SECONDS;
	strlcpy(worker.bgw_library_name, LIBRARY, sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, ENTRY_POINT, sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, NR_WORKER_NAME, BGW_MAXLEN);
	strlcpy(worker.bgw_type, NR_WORKER_NAME, BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
	if (!nr_worker_registered(LIBRARY, ENTRY_POINT))
		ereport(WARNING,
		        (errmsg("the server cannot heal itself: no slot is left for the refresh worker"),
		         errhint("Raise \"max_worker_processes\" and restart.")));
}

static void
detach(int code pg_attribute_unused(), Datum argument pg_attribute_unused())
{
	pg_atomic_write_u32(&nr_shared->worker.proc_number, NR_NO_PROC);
	pg_atomic_write_u32(&nr_shared->worker.pid, 0);
	pg_atomic_write_u32(&nr_shared->worker.in_flight, 0);
}

static void
attach(void)
{
	NrWorkerState *state = &nr_shared->worker;

	pg_atomic_write_u64(&state->since, (uint64) GetCurrentTimestamp());
	pg_atomic_write_u32(&state->pid, (uint32) MyProcPid);
	pg_atomic_write_u32(&state->proc_number, (uint32) NR_MY_PROC_NUMBER);
	on_shmem_exit(detach, (Datum) 0);
}

/*
 * Is it time for our own reload? The postmaster has already published the new map, so it is
 * deferred while queries heal, which then have the processor to themselves. Beside Neon's library
 * it is not: there the worker publishes.
 *
 * Queries heal from the first request until the acknowledgement that the trouble is over.
 * (Publishing ends the suspicion before the signal for the reload arrives here.)
 */
static bool
reload_due(Worker *worker, uint64 now_us)
{
	bool heals =
		worker->refresh.sent_since_healthy || (worker->ack.wanted && worker->ack.due_us > now_us);

	if (!ConfigReloadPending)
		return false;
	if (worker->reload_due_us == 0)
		worker->reload_due_us =
			now_us + (heals && !nr_beside_neon ? RELOAD_AFTER_PAGES_MS * UINT64CONST(1000) : 0);
	return worker->reload_due_us <= now_us;
}

/* When to send an ack: after a deferred reload, which needs one in any case. */
static uint64
ack_due_us(const Worker *worker)
{
	return worker->reload_due_us != 0 ? PG_UINT64_MAX : nr_ack_due_us(&worker->ack);
}

static void
reload(Worker *worker)
{
	ConfigReloadPending = false;
	worker->reload_due_us = 0;
	ProcessConfigFile(PGC_SIGHUP);
	nr_publish_log_level();
	nr_event_reader_configure(&worker->reader);
	if (nr_beside_neon)
		nr_publish_from_neon();
	nr_ack_want(&worker->ack, 0);
}

static bool
daemon_exists(void)
{
	struct pgh_endpoint endpoint;

	return nr_daemon_endpoint(&endpoint);
}

/* Once until there is an address again. */
static void
log_no_daemon(Worker *worker)
{
	if (worker->no_daemon_logged)
		return;
	worker->no_daemon_logged = true;
	ereport(WARNING,
	        (errmsg("cannot ask for a new configuration: no address of the daemon is set"),
	         errdetail("Neither \"neon_refresh.endpoint\" nor \"neon.extension_server_port\" is "
	                   "set."),
	         errhint("Set \"neon_refresh.endpoint\" and reload; that needs no restart.")));
}

static bool
may_ask(const Worker *worker)
{
	return nr_enabled || worker->refresh.manual;
}

static void
want_ack_if_changed(Worker *worker)
{
	/* this ack says that the trouble is over, so it must not overtake a request */
	if (worker->refresh.sent_since_healthy && !pgh_policy_suspects(&worker->reader.policy) &&
	    !nr_post_in_flight(&worker->refresh.post))
	{
		worker->refresh.sent_since_healthy = false;
		nr_ack_want(&worker->ack, RELOAD_AFTER_PAGES_MS);
	}
	/* The postmaster publishes what it could not reload after it has signalled us. If our own
	 * reload is still to come, an ack follows that. Only new flags count: flags are cleared when a
	 * reload begins, while the marker is still the last one's. */
	if (!ConfigReloadPending && (nr_published_not_reloaded() & ~worker->ack.not_reloaded_told) != 0)
		nr_ack_want(&worker->ack, 0);
}

/* Start what is due. */
static void
send_due(Worker *worker, uint64 now_us)
{
	bool due;

	nr_refresh_take_requests(&worker->refresh, &worker->reader, now_us);
	due = nr_event_reader_due(&worker->reader, now_us) && may_ask(worker);
	if (!daemon_exists())
	{
		if (due)
			log_no_daemon(worker);
		return;
	}
	worker->no_daemon_logged = false;
	want_ack_if_changed(worker);
	if (due && !nr_post_in_flight(&worker->refresh.post))
		nr_refresh_send(&worker->refresh, &worker->reader, now_us);
	if (ack_due_us(worker) <= now_us)
		nr_ack_send(&worker->ack, &worker->reader, now_us);
}

/* Milliseconds until something is due by time alone; -1 = never. */
static long
next_due_ms(const Worker *worker, uint64 now_us)
{
	uint64 until = PG_UINT64_MAX;
	bool exists = daemon_exists();

	if (!exists || !may_ask(worker))
		until = pgh_policy_suspects(&worker->reader.policy) ? now_us + NO_DAEMON_LOOK_MS * 1000
		                                                    : PG_UINT64_MAX;
	else
	{
		uint64 wait_us = pgh_policy_wait_us(&worker->reader.policy, now_us);

		/* the end of one in flight comes first, and its handle knows its deadline */
		if (wait_us != PG_UINT64_MAX && !nr_post_in_flight(&worker->refresh.post))
			until = now_us + wait_us;
	}
	until = Min(until, worker->reader_due_us);
	if (ConfigReloadPending)
		until = Min(until, worker->reload_due_us);
	if (exists)
		until = Min(until, ack_due_us(worker));
	if (until == PG_UINT64_MAX)
		return -1;
	return until <= now_us ? 0 : (long) Min((until - now_us + 999) / 1000, INT_MAX);
}

static long
shorter(long a, long b)
{
	if (a < 0 || b < 0)
		return Max(a, b);
	return Min(a, b);
}

/* Wait for the latch, the sockets or the time, and note which sockets are ready. */
static void
wait_for_all(struct pgh_wait_fd *fds, size_t fd_count, long timeout_ms)
{
	WaitEventSet *set = nr_wait_event_set_create((int) fd_count + 2);
	WaitEvent events[2 * PGH_TRIGGER_FDS_MAX + 2];
	int ready;

	AddWaitEventToSet(set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	for (size_t i = 0; i < fd_count; i++)
	{
		uint32 wanted = (fds[i].events & PGH_WAIT_READ ? WL_SOCKET_READABLE : 0) |
		                (fds[i].events & PGH_WAIT_WRITE ? WL_SOCKET_WRITEABLE : 0);

		if (wanted != 0)
			AddWaitEventToSet(set, wanted, fds[i].fd, NULL, &fds[i]);
	}
	ready = WaitEventSetWait(set, timeout_ms, events, lengthof(events),
	                         nr_wait_event(&wait_name, "NeonRefreshMain"));
	for (int i = 0; i < ready; i++)
	{
		struct pgh_wait_fd *fd = events[i].user_data;

		if (fd == NULL)
			continue;
		fd->ready = (events[i].events & WL_SOCKET_READABLE ? PGH_WAIT_READ : 0) |
		            (events[i].events & WL_SOCKET_WRITEABLE ? PGH_WAIT_WRITE : 0);
	}
	FreeWaitEventSet(set);
	ResetLatch(MyLatch);
}

/* One turn: wait, then go on with what is in flight. */
static void
wait_and_step(Worker *worker, long timeout_ms)
{
	struct pgh_wait_fd fds[2 * PGH_TRIGGER_FDS_MAX];
	NrPostOutcome outcome;
	long refresh_ms;
	long ack_ms;
	size_t count;

	memset(fds, 0, sizeof(fds));
	count = nr_post_fds(&worker->refresh.post, fds, &refresh_ms);
	count += nr_post_fds(&worker->ack.post, fds + count, &ack_ms);
	wait_for_all(fds, count, shorter(timeout_ms, shorter(refresh_ms, ack_ms)));
	if (ShutdownRequestPending)
		return;
	/* the daemon may have been restarted and not know what the server runs with. Usually a reload
	 * follows, whose ack tells it; one at once would only delay the heal */
	if (nr_post_step(&worker->refresh.post, fds, count, &outcome) &&
	    nr_refresh_ended(&worker->refresh, &worker->reader, &outcome) && !worker->ack.wanted)
		nr_ack_want(&worker->ack, ACK_AFTER_REQUEST_MS);
	if (nr_post_step(&worker->ack.post, fds, count, &outcome))
		nr_ack_ended(&worker->ack, &worker->reader, &outcome);
}

/* Without the HTTP client there is nothing to do. After the exit the postmaster starts the worker
 * again, which looks for the client again: so wait for a minute or a reload first. */
static void
exit_without_client(void)
{
	int events = 0;

	while (!ShutdownRequestPending && !ConfigReloadPending && !(events & WL_TIMEOUT))
	{
		events = WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
		                   WITHOUT_CLIENT_MS, nr_wait_event(&wait_name, "NeonRefreshMain"));
		ResetLatch(MyLatch);
	}
	proc_exit(1);
}

static void
set_up(Worker *worker)
{
	uint64 seed = nr_now_us() ^ ((uint64) MyProcPid << 32);

	for (int i = 0; i < SOCKETS_RESERVED; i++)
		(void) AcquireExternalFD();
	/* the server's hash functions register their contexts with one */
	CurrentResourceOwner = ResourceOwnerCreate(NULL, "neon_refresh worker");
	worker->cycle =
		AllocSetContextCreate(TopMemoryContext, "neon_refresh cycle", ALLOCSET_SMALL_SIZES);
	nr_event_reader_init(&worker->reader, pgh_random(&seed));
	worker->ack.seed = pgh_random(&seed);
	nr_post_init(&worker->refresh.post, "/refresh_configuration", "the refresh request");
	nr_post_init(&worker->ack.post, "/configuration_ack", "the acknowledgement");
	if (nr_beside_neon)
		nr_publish_from_neon();
	nr_ack_want(&worker->ack, 0);
}

void
neon_refresh_worker_main(Datum argument pg_attribute_unused())
{
	Worker *worker = MemoryContextAllocZero(TopMemoryContext, sizeof(Worker));

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	if (!nr_post_load_client())
		exit_without_client();
	set_up(worker);
	attach();
	/* a reload between the postmaster's fork and our handler would be lost otherwise */
	ConfigReloadPending = true;
	while (!ShutdownRequestPending)
	{
		MemoryContext before = MemoryContextSwitchTo(worker->cycle);
		uint64 now_us;

		if (reload_due(worker, nr_now_us()))
			reload(worker);
		pg_atomic_exchange_u32(&nr_shared->wake, 0); /* before looking: what comes now wakes us */
		long watch_ms = nr_primary_watch();

		now_us = nr_now_us();
		worker->reader_due_us = nr_event_reader_read(&worker->reader, now_us);
		send_due(worker, now_us);
		wait_and_step(worker, shorter(watch_ms, next_due_ms(worker, now_us)));
		MemoryContextSwitchTo(before);
		MemoryContextReset(worker->cycle);
	}
	nr_post_close(&worker->refresh.post);
	nr_post_close(&worker->ack.post);
	proc_exit(1);
}
