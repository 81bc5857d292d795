/*
 * The one area of shared memory. Nothing in it points into a process; nothing in it is locked
 * (but the condition variables, which hold a spinlock of their own): atomics with one meaning
 * each, so that any process may write at any moment, also in an error report inside a signal
 * handler.
 */
#ifndef NR_SHMEM_H
#define NR_SHMEM_H

#include "events.h"
#include "pg_hook.h"
#include "published.h"

/* Suspects: the shards of the pageserver, then each source as a whole (shard unknown). */
#define NR_SUSPECTS (PGH_MAX_SHARDS + PGH_SOURCE_COUNT)

/* What the server log says of a shard. Whoever notices a change first logs it, once. */
typedef enum NrLogged
{
	NR_LOGGED_WELL,    /* nothing, or that it answers again */
	NR_LOGGED_TROUBLE, /* that it is in trouble */
	NR_LOGGED_UNSTEADY /* that some requests fail while others are served */
} NrLogged;

typedef struct NrSuspect
{
	pg_atomic_uint32 failures;       /* in a row, since the last useful answer */
	pg_atomic_uint32 attempts;       /* reconnects in a row that the shared backoff let through */
	pg_atomic_uint32 suspected;      /* 1 = raised and not ended */
	pg_atomic_uint32 reported;       /* 1 = known by reports of others only */
	pg_atomic_uint32 renewals;       /* new endpoints; counted before `suspected` is cleared */
	pg_atomic_uint32 heals;          /* useful answers that ended failures */
	pg_atomic_uint32 logged;         /* NrLogged: what the server log says of it */
	pg_atomic_uint32 silence_logged; /* 1 = the log says that we wait for an answer */
	pg_atomic_uint64 raised;         /* how often suspicion was raised; the worker counts along */
	pg_atomic_uint64 last_failed_us; /* the last failure (monotonic); 0 = never */
	pg_atomic_uint64 last_silent_us; /* the last time that silence was worth a line (monotonic) */
	pg_atomic_uint64 healed_us;      /* when the log said that it answers again; 0 = never here */
	pg_atomic_uint64 logged_since;   /* TimestampTz; failure that the log speaks of */
	pg_atomic_uint64 ended_us;     /* a reported end of a stream waits for what follows; 0 = none */
	pg_atomic_uint64 connected_us; /* the last report of a connection (monotonic); 0 = never */
	pg_atomic_uint64 next_attempt_us; /* no reconnect before (monotonic); 0 = at once */
	pg_atomic_uint64 failing_since;   /* TimestampTz of the first of these failures */
	pg_atomic_uint64 last_success;    /* TimestampTz; 0 = never */
	NrEvent last_failure;
	ConditionVariable healed; /* a useful answer wakes those who wait for next_attempt_us */
} NrSuspect;

/* What the worker did; written by it alone, read by the views. */
typedef struct NrWorkerState
{
	pg_atomic_uint32 proc_number; /* NR_NO_PROC = no worker */
	pg_atomic_uint32 pid;
	pg_atomic_uint64 since;           /* TimestampTz */
	pg_atomic_uint64 suspected_since; /* TimestampTz; 0 = no suspicion */
	pg_atomic_uint64 requests;
	pg_atomic_uint64 requests_failed;
	pg_atomic_uint64 coalesced;
	pg_atomic_uint32 in_flight;    /* 1 = a request is out and not answered */
	pg_atomic_uint64 last_request; /* TimestampTz */
	pg_atomic_uint32 last_result;  /* enum pgh_result */
	pg_atomic_uint32 last_status;  /* HTTP; 0 = no answer */
	pg_atomic_uint64 acks;         /* answered with 2xx */
	pg_atomic_uint64 last_ack;     /* TimestampTz of the last answer */
	pg_atomic_uint32 last_ack_status;
	pg_atomic_uint32 last_ack_result; /* enum pgh_result; PGH_ERR_NOT_DONE = none yet */
} NrWorkerState;

typedef struct NrShared
{
	pg_atomic_uint32 wake;           /* 1 = the worker has something to look at */
	pg_atomic_uint32 manual_request; /* 1 = somebody called request(): */
	NrEvent manual;                  /* the last such request */
	pg_atomic_uint32 after_crash;    /* 1 = initialised after a crash, so suspicions are lost */
	pg_atomic_uint64 token_file;     /* what the log says of the token file: see conninfo.c */
	NrPublished published;
	NrWorkerState worker;
	NrEventRing events;
	NrSuspect suspects[NR_SUSPECTS];
} NrShared;

#define NR_NO_PROC PG_UINT32_MAX

/* NULL until the hook has run, and in processes without shared memory. */
extern NrShared *nr_shared;

/* publish: fills a new area with what the postmaster's settings say. */
void nr_shmem_install(void (*publish)(void));

/* Index into suspects; shard is -1 where there is none. */
static inline uint32
nr_suspect_index(enum pgh_source source, int32 shard)
{
	return shard >= 0 && shard < PGH_MAX_SHARDS ? (uint32) shard : PGH_MAX_SHARDS + source;
}

/* The endpoint of a shard changed: forget its failures. */
void nr_shard_renewed(uint32 shard);

/* Wake the worker, so that it looks here. Any process may call it at any moment. */
void nr_wake_worker(void);

/* CLOCK_MONOTONIC, the same in all processes. Never 0. */
uint64 nr_now_us(void);

#endif
