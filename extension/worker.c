/*
 * The refresh worker. Backends only leave a mark in shared memory and set its latch; it asks
 * the daemon for a new configuration, and tells it what the server runs with (the ack).
 *
 * It has no database connection, so it also serves recovery and standbys, and cannot be held up
 * by storage in trouble. Nothing of it in shared memory is a pointer. It ends with exit code 1,
 * which has the postmaster start it again; SIGTERM ends it at once, in mid-request too, since
 * all waiting is done on its latch. libcurl is initialised here, never in the postmaster.
 */
#include "prelude.h"

#include "guc.h"
#include "worker.h"

#define LIBRARY              "neon_refresh"
#define ENTRY_POINT          "neon_refresh_worker_main"
#define RESTART_SECONDS      1
#define ACK_AFTER_REQUEST_MS 100
#define PAGES_FIRST_MS       20   /* after trouble the processors belong to the queries that heal */
#define IDLE_LOOK_MS         1000 /* while something is suspected, but nobody can be asked */
#define SOCKETS_RESERVED     2

typedef struct Worker
{
	NrEventReader reader;
	NrPost refresh;
	NrPost ack;
	MemoryContext cycle; /* emptied in each turn of the loop */
	uint64 seed;
	uint64 reader_due_us; /* reports of others are to be looked at again; PG_UINT64_MAX = not */
	bool after_crash;     /* what was suspected before a crash is lost, so the daemon is asked */
	bool no_daemon;       /* the log says that there is nobody to ask */
	bool manual;          /* somebody called request() and nothing has been sent since */
	bool ack_wanted;      /* not yet answered for good */
	bool ack_again;       /* wanted anew while one is in flight */
	bool complained;      /* the daemon was asked since the last time that all was well */
	uint64 ack_due_us;    /* ack_wanted only */
	uint64 reload_due_us; /* ConfigReloadPending only; 0 = not looked at yet */
	uint32 ack_attempt;
	uint32 not_reloaded_told;       /* by the latest ack */
	enum pgh_result refresh_logged; /* outcome of the last log line of each kind */
	int refresh_logged_status;
	enum pgh_result ack_logged;
	int ack_logged_status;
} Worker;

static uint32 wait_name = 0;

void
nr_worker_register(void)
{
	BackgroundWorker worker;

	/* a single-user server starts none, and children that load the libraries anew need not */
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

static void
want_ack(Worker *worker, int delay_ms)
{
	uint64 due_us = nr_now_us() + delay_ms * UINT64CONST(1000);

	if (pgh_trigger_in_flight(worker->ack.trigger))
		worker->ack_again = true;
	worker->ack_due_us = worker->ack_wanted ? Min(worker->ack_due_us, due_us) : due_us;
	worker->ack_wanted = true;
	worker->ack_attempt = 0;
}

/*
 * Is it time to read the files anew? Not yet while queries may be healing: what they need the
 * postmaster has published, and it has ended the suspicion of what is new, of which we may know
 * before the signal comes. Beside Neon's library it is for us to publish.
 */
static bool
reload_due(Worker *worker, uint64 now_us)
{
	bool heals = worker->complained || (worker->ack_wanted && worker->ack_due_us > now_us);

	if (!ConfigReloadPending)
		return false;
	if (worker->reload_due_us == 0)
		worker->reload_due_us =
			now_us + (heals && !nr_beside_neon ? PAGES_FIRST_MS * UINT64CONST(1000) : 0);
	return worker->reload_due_us <= now_us;
}

/* When an ack is due: one that a deferred reload will want anyway waits for it. */
static uint64
ack_due_us(const Worker *worker)
{
	if (!worker->ack_wanted || worker->reload_due_us != 0 ||
	    pgh_trigger_in_flight(worker->ack.trigger))
		return PG_UINT64_MAX;
	return worker->ack_due_us;
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
	want_ack(worker, 0);
}

/* ---- the refresh request -------------------------------------------------------------------- */

/* The most recent event of what is suspected; false if nothing is. */
static bool
latest_suspicion(const NrEventReader *reader, NrEventData *latest)
{
	bool found = false;

	for (int i = 0; i < NR_SUSPECTS; i++)
	{
		NrSuspect *suspect = &nr_shared->suspects[i];
		NrEventData event;

		if (!reader->known[i] || !nr_event_read(&suspect->last_failure, &event))
			continue;
		if (!found || event.at > latest->at)
			*latest = event;
		found = true;
	}
	return found;
}

static void
note_refresh_outcome(Worker *worker, enum pgh_result result, int status, const char *detail)
{
	NrWorkerState *state = &nr_shared->worker;

	pg_atomic_write_u32(&state->last_result, result);
	pg_atomic_write_u32(&state->last_status, (uint32) status);
	pg_atomic_write_u32(&state->in_flight, 0);
	if (result != PGH_OK || status / 100 != 2)
		pg_atomic_fetch_add_u64(&state->requests_failed, 1);
	if (result != worker->refresh_logged || status != worker->refresh_logged_status)
		nr_log_answer("the refresh request", result, status, detail);
	worker->refresh_logged = result;
	worker->refresh_logged_status = status;
}

static void
send_refresh(Worker *worker, uint64 now_us)
{
	NrWorkerState *state = &nr_shared->worker;
	struct pgh_policy *policy = &worker->reader.policy;
	NrEventData event = { .shard = -1, .phase = NR_NO_PHASE, .manual = true };
	StringInfoData body;
	enum pgh_result result;
	struct pgh_endpoint endpoint;
	/* a loopback port may be anybody's, and anybody may be asked; the marker is for the daemon */
	bool secret = nr_daemon_endpoint(&endpoint) && endpoint.unix_path[0] != '\0';

	if (latest_suspicion(&worker->reader, &event))
		worker->after_crash = false;
	else if (worker->manual)
		(void) nr_event_read(&nr_shared->manual, &event);
	else if (worker->after_crash)
		strlcpy(event.text, "the server has restarted after a crash", sizeof(event.text));
	initStringInfo(&body);
	nr_payload_refresh(&body, &event, policy->pending_events, secret);
	(void) pgh_policy_sent(policy, now_us);
	worker->manual = false;
	worker->after_crash = false;
	worker->complained = true;
	pg_atomic_fetch_add_u64(&state->requests, 1);
	pg_atomic_write_u64(&state->last_request, (uint64) GetCurrentTimestamp());
	pg_atomic_write_u32(&state->in_flight, 1);
	if (!nr_post_start(&worker->refresh, &body, secret, &result))
	{
		note_refresh_outcome(worker, result, 0, "");
		pgh_policy_finished(policy, &worker->reader.config, now_us);
	}
}

static void
end_refresh(Worker *worker)
{
	struct pgh_answer answer;
	enum pgh_result result = pgh_trigger_result(worker->refresh.trigger, &answer);

	note_refresh_outcome(worker, result, answer.http_status,
	                     pgh_trigger_detail(worker->refresh.trigger));
	pgh_policy_finished(&worker->reader.policy, &worker->reader.config, nr_now_us());
	/* this daemon may be a new one, which does not know what the server runs with; a reload is
	 * likely to tell it sooner, and at once it would only delay the heal */
	if (answer.http_status / 100 == 2 && !worker->ack_wanted)
		want_ack(worker, ACK_AFTER_REQUEST_MS);
}

/* ---- the ack -------------------------------------------------------------------------------- */

static void
retry_ack(Worker *worker, uint64 now_us)
{
	worker->ack_due_us = now_us + pgh_jitter_us(worker->reader.config.retry_min_us,
	                                            worker->reader.config.retry_max_us,
	                                            worker->ack_attempt++, pgh_random(&worker->seed));
}

static void
note_ack_outcome(Worker *worker, enum pgh_result result, int status, const char *detail)
{
	NrWorkerState *state = &nr_shared->worker;

	pg_atomic_write_u32(&state->last_ack_status, (uint32) status);
	pg_atomic_write_u32(&state->last_ack_result, result);
	if (result == PGH_OK)
		pg_atomic_write_u64(&state->last_ack, (uint64) GetCurrentTimestamp());
	if (status / 100 == 2)
		pg_atomic_fetch_add_u64(&state->acks, 1);
	if (result != worker->ack_logged || status != worker->ack_logged_status)
		nr_log_answer("the acknowledgement", result, status, detail);
	worker->ack_logged = result;
	worker->ack_logged_status = status;
}

static void
send_ack(Worker *worker, uint64 now_us)
{
	StringInfoData body;
	enum pgh_result result;

	initStringInfo(&body);
	if (!nr_payload_ack(&body, pgh_policy_suspects(&worker->reader.policy),
	                    &worker->not_reloaded_told))
	{
		worker->ack_wanted = false;
		return;
	}
	if (!nr_post_start(&worker->ack, &body, true, &result))
	{
		note_ack_outcome(worker, result, 0, "");
		retry_ack(worker, now_us);
	}
}

/* 2xx and 4xx are final, everything else is said again. */
static void
end_ack(Worker *worker)
{
	struct pgh_answer answer;
	enum pgh_result result = pgh_trigger_result(worker->ack.trigger, &answer);

	note_ack_outcome(worker, result, answer.http_status, pgh_trigger_detail(worker->ack.trigger));
	if (worker->ack_again)
	{
		worker->ack_again = false;
		return; /* wanted and due already */
	}
	if (answer.http_status / 100 == 2 || answer.http_status / 100 == 4)
		worker->ack_wanted = false;
	else
		retry_ack(worker, nr_now_us());
}

/* ---- the loop ------------------------------------------------------------------------------- */

static bool
daemon_exists(void)
{
	struct pgh_endpoint endpoint;

	return nr_daemon_endpoint(&endpoint);
}

/* Once until there is somebody to ask again. */
static void
log_no_daemon(Worker *worker, bool due)
{
	if (!due || worker->no_daemon || !(nr_enabled || worker->manual))
		return;
	worker->no_daemon = true;
	ereport(WARNING,
	        (errmsg("cannot ask for a new configuration: no address of the daemon is set"),
	         errdetail("Neither \"neon_refresh.endpoint\" nor \"neon.extension_server_port\" is "
	                   "set."),
	         errhint("Set \"neon_refresh.endpoint\" and reload; that needs no restart.")));
}

/* Start what is due. */
static void
send_due(Worker *worker, uint64 now_us)
{
	bool due;

	if (pg_atomic_exchange_u32(&nr_shared->manual_request, 0) != 0)
	{
		worker->manual = true;
		pgh_policy_ask(&worker->reader.policy, &worker->reader.config, now_us);
	}
	if (pg_atomic_exchange_u32(&nr_shared->after_crash, 0) != 0)
	{
		worker->after_crash = true;
		pgh_policy_ask(&worker->reader.policy, &worker->reader.config, now_us);
	}
	due = nr_event_reader_due(&worker->reader, now_us);
	if (!daemon_exists())
	{
		log_no_daemon(worker, due);
		return;
	}
	worker->no_daemon = false;
	/* the acknowledgement after trouble says that it is over, so it must not overtake a request */
	if (worker->complained && !pgh_policy_suspects(&worker->reader.policy) &&
	    !pgh_trigger_in_flight(worker->refresh.trigger))
	{
		worker->complained = false;
		want_ack(worker, PAGES_FIRST_MS);
	}
	/* The postmaster says it after it has signalled us; our own reload wants an ack anyway. That
	 * flags are cleared is no news: a reload begins, and the marker is still that of the last. */
	if (!ConfigReloadPending && (nr_published_not_reloaded() & ~worker->not_reloaded_told) != 0)
		want_ack(worker, 0);
	if (due && (nr_enabled || worker->manual) && !pgh_trigger_in_flight(worker->refresh.trigger))
		send_refresh(worker, now_us);
	if (ack_due_us(worker) <= now_us)
		send_ack(worker, now_us);
}

/* Milliseconds until something is due by time alone; -1 = never. */
static long
next_due_ms(const Worker *worker, uint64 now_us)
{
	uint64 until = PG_UINT64_MAX;

	if (!daemon_exists() || !(nr_enabled || worker->manual))
		until = pgh_policy_suspects(&worker->reader.policy) ? now_us + IDLE_LOOK_MS * 1000
		                                                    : PG_UINT64_MAX;
	else
	{
		uint64 wait_us = pgh_policy_wait_us(&worker->reader.policy, now_us);

		/* in flight its end is what matters, and the handle knows its deadline */
		if (wait_us != PG_UINT64_MAX && !pgh_trigger_in_flight(worker->refresh.trigger))
			until = now_us + wait_us;
	}
	until = Min(until, worker->reader_due_us);
	if (ConfigReloadPending)
		until = Min(until, worker->reload_due_us);
	if (daemon_exists())
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
	int32_t refresh_ms;
	int32_t ack_ms;
	size_t count;

	memset(fds, 0, sizeof(fds));
	count = pgh_trigger_fds(worker->refresh.trigger, fds, PGH_TRIGGER_FDS_MAX, &refresh_ms);
	count += pgh_trigger_fds(worker->ack.trigger, fds + count, PGH_TRIGGER_FDS_MAX, &ack_ms);
	wait_for_all(fds, count, shorter(timeout_ms, shorter(refresh_ms, ack_ms)));
	if (ShutdownRequestPending)
		return;
	if (pgh_trigger_in_flight(worker->refresh.trigger) &&
	    pgh_trigger_step(worker->refresh.trigger, fds, count))
		end_refresh(worker);
	if (pgh_trigger_in_flight(worker->ack.trigger) &&
	    pgh_trigger_step(worker->ack.trigger, fds, count))
		end_ack(worker);
}

static void
set_up(Worker *worker)
{
	enum pgh_result result = pgh_trigger_global_init();

	if (result != PGH_OK)
		ereport(ERROR, (errmsg("could not set up libcurl: %s", pgh_result_text(result))));
	for (int i = 0; i < SOCKETS_RESERVED; i++)
		(void) AcquireExternalFD();
	/* the server's hash functions register their contexts with one */
	CurrentResourceOwner = ResourceOwnerCreate(NULL, "neon_refresh worker");
	worker->seed = nr_now_us() ^ ((uint64) MyProcPid << 32);
	worker->cycle =
		AllocSetContextCreate(TopMemoryContext, "neon_refresh cycle", ALLOCSET_SMALL_SIZES);
	nr_event_reader_init(&worker->reader, pgh_random(&worker->seed));
	nr_post_init(&worker->refresh, "/refresh_configuration");
	nr_post_init(&worker->ack, "/configuration_ack");
	if (nr_beside_neon)
		nr_publish_from_neon();
	want_ack(worker, 0);
}

void
neon_refresh_worker_main(Datum argument pg_attribute_unused())
{
	Worker *worker = MemoryContextAllocZero(TopMemoryContext, sizeof(Worker));

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
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
	nr_post_close(&worker->refresh);
	nr_post_close(&worker->ack);
	proc_exit(1);
}
