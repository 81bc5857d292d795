/*
 * What the postmaster runs with, for every process to see: the shard map, the marker of the
 * configuration and the limits of a blocked request. See published.c for the rules.
 */
#ifndef NR_PUBLISHED_H
#define NR_PUBLISHED_H

#include "pg_hook.h"

#define NR_MARKER_SIZE 256

typedef enum NrLimit
{
	NR_LIMIT_ENABLED,
	NR_LIMIT_CONNECT_MS,
	NR_LIMIT_SUSPECT_MS,
	NR_LIMIT_CANCEL_MS,
	NR_LIMIT_COUNT
} NrLimit;

/* Flags: what the postmaster has logged as "was not reloaded". It goes on with the old contents,
 * and would not start with what the files say now. */
#define NR_NOT_RELOADED_SSL   1
#define NR_NOT_RELOADED_HBA   2
#define NR_NOT_RELOADED_IDENT 4

typedef struct NrPublished
{
	pg_atomic_uint64 sequence;   /* odd while it is being written */
	pg_atomic_uint64 generation; /* of the map, from 1; a change of the marker does not count */
	pg_atomic_uint32 limits[NR_LIMIT_COUNT];
	pg_atomic_uint32 log_level;    /* log_min_messages of the configuration files */
	pg_atomic_uint32 not_reloaded; /* NR_NOT_RELOADED_*, of the latest reload */
	struct pgh_shard_map map;
	char marker[NR_MARKER_SIZE];
} NrPublished;

/* Writers: assign hooks and the start of shared memory in the postmaster. */
void nr_publish_all(void);
void nr_publish_list(const char *list);
void nr_publish_stripe(int stripe_size);
void nr_publish_marker(const char *marker);
void nr_publish_waiting_map(void); /* the marker in the file is refused: do not wait for it */
void nr_publish_limit(NrLimit limit, int value);

/* The postmaster at a reload: it begins, and something was not reloaded. */
void nr_publish_reload_begin(void);
void nr_publish_not_reloaded(uint32 flag);

/* Beside Neon's library: the worker, after each look at the file. */
void nr_publish_from_neon(void);

/* The worker, after each look at the files: log_min_messages, which sessions may change for
 * themselves, as the server as a whole has it. */
void nr_publish_log_level(void);

/* Readers: any process. */
uint64 nr_published_generation(void);
int nr_published_limit(NrLimit limit);
int nr_published_log_level(void);
/* The endpoint of a shard, in an error report too: false if the map changes right now, or has no
 * such shard (then it is ""). */
bool nr_published_endpoint(uint32 shard, char endpoint[PGH_ENDPOINT_SIZE]);
uint32 nr_published_not_reloaded(void);
const char *nr_not_reloaded_text(uint32 flag); /* "ssl", "hba" or "ident" */
void nr_published_read(struct pgh_shard_map *map, uint64 *generation, char *marker);

#endif
