/*
 * Publication of the shard map, the marker and the limits in shared memory.
 *
 * Why: at SIGHUP every process reads the file for itself, so no process's own setting tells what
 * another runs with, and a running statement sees no new setting at all. Shared memory it sees.
 *
 * One writer, without a lock (a seqlock; readers retry). On a stock server that is the
 * postmaster: its assign hooks during a reload, and nr_publish_all when the area is new (at
 * start, and after a crash restart, where no assign hook runs). Beside Neon's library there is
 * no assign hook of ours for the list, and the writer is the refresh worker: it reads the file
 * at SIGHUP like everybody and publishes GetConfigOption's bytes and the marker it read with
 * them (nr_publish_from_neon). The limits are single words, always written by the postmaster.
 *
 * List and stripe size belong together, but assign hooks run one by one in the order of the file,
 * and nothing is called at the end of a reload. So where the marker's line is still to come, list
 * and stripe size wait for it, and its hooks publish both. Without a marker the list's hook
 * publishes at once, with the stripe size read so far; the stripe's hook publishes only if the
 * list's came before it in this same reload, or cannot come in any, since the list stands on the
 * postmaster's command line. "This same reload" is told by PgReloadTime, which changes at the end
 * of a reload only.
 *
 * This bends a rule of PostgreSQL: after it has set up shared memory the postmaster keeps away from
 * it, so that it survives a backend that has damaged it, and can restart the server. The purpose of
 * the rule is met all the same, because these hooks
 *   - take no lock or spinlock and allocate nothing there, so they cannot wait for a process that
 *     has died holding one; the writer of a seqlock never waits, and parsing is done before;
 *   - follow no pointer that lies in our area, and copy a struct of fixed size to a fixed place, so
 *     damaged contents lead nowhere. The one index that they read there, the worker's, is compared
 *     with the number of processes before its latch is set, which is a store and a signal;
 *   - leave nothing that must survive: after a crash the area is initialised and nr_publish_all
 *     fills it from the postmaster's own settings.
 * Without it a process would see a new list only after it has handled the signal itself, which one
 * in the middle of a statement does not.
 */
#include "prelude.h"

#include "guc.h"
#include "published.h"
#include "shmem.h"

#define READ_SPINS 1000

static struct pgh_shard_map scratch; /* 33 kB: not for the postmaster's stack, nor to be leaked */
static TimestampTz list_seen_in_pass = 0;
static TimestampTz marker_seen_in_pass = 0;
static bool map_waits = false;  /* for the marker of this reload */
static uint32 not_reloaded = 0; /* the postmaster's own copy outlives shared memory in a crash */

/* Do the assign hooks of this process publish map and marker? */
static bool
hooks_publish(void)
{
	return nr_shared != NULL && !IsUnderPostmaster && !nr_beside_neon;
}

static void
write_begin(NrPublished *published)
{
	pg_atomic_fetch_add_u64(&published->sequence, 1); /* a full barrier */
}

static void
write_end(NrPublished *published)
{
	pg_atomic_fetch_add_u64(&published->sequence, 1);
}

static bool
has_password(const struct pgh_shard_map *map)
{
	for (uint32 shard = 0; shard < map->shard_count; shard++)
	{
		char redacted[PGH_ENDPOINT_SIZE * 2];
		const char *endpoint = map->endpoint[shard];

		(void) pgh_redact(endpoint, strlen(endpoint), redacted, sizeof(redacted));
		if (strcmp(endpoint, redacted) != 0)
			return true;
	}
	return false;
}

/* Publish (list, stripe) if it is new. The check hook has seen the list, so parsing succeeds. */
static void
publish_map(const char *list, int stripe_size)
{
	NrPublished *published = &nr_shared->published;
	bool changed[PGH_MAX_SHARDS];

	if (pgh_shard_map_parse(list, stripe_size, &scratch, NULL) != PGH_OK)
		return;
	if (pg_atomic_read_u64(&published->generation) > 0 &&
	    memcmp(&scratch, &published->map, sizeof(scratch)) == 0)
		return;
	for (uint32 shard = 0; shard < PGH_MAX_SHARDS; shard++)
		changed[shard] = !pgh_shard_endpoint_same(&scratch, &published->map, shard);

	write_begin(published);
	published->map = scratch;
	pg_atomic_fetch_add_u64(&published->generation, 1);
	write_end(published);

	/* after the publication, so that who fails now on an old endpoint sees that it is old */
	for (uint32 shard = 0; shard < PGH_MAX_SHARDS; shard++)
	{
		if (changed[shard])
			nr_shard_renewed(shard);
	}
	if (has_password(&scratch))
		ereport(WARNING, (errmsg("\"neon.pageserver_connstring\" contains a password"),
		                  errdetail("The server logs changed settings with their values."),
		                  errhint("Put the token into \"neon_refresh.auth_token_file\".")));
}

/* Will a hook of the marker run later in this reload? */
static bool
marker_follows(void)
{
	return marker_seen_in_pass != PgReloadTime && nr_setting_in_file(NR_MARKER) &&
	       !nr_setting_overrides_file(NR_MARKER);
}

void
nr_publish_list(const char *list)
{
	if (!hooks_publish())
		return;
	list_seen_in_pass = PgReloadTime;
	if (marker_follows())
		map_waits = true;
	else
		publish_map(list, nr_stripe_size);
}

void
nr_publish_stripe(int stripe_size)
{
	if (!hooks_publish() || nr_pageserver_connstring == NULL)
		return;
	if (marker_follows())
		map_waits = true;
	else if (list_seen_in_pass == PgReloadTime || nr_setting_overrides_file(NR_CONNSTRING))
		publish_map(nr_pageserver_connstring, stripe_size);
}

void
nr_publish_waiting_map(void)
{
	if (!hooks_publish())
		return;
	marker_seen_in_pass = PgReloadTime;
	if (map_waits)
		publish_map(nr_pageserver_connstring, nr_stripe_size);
	map_waits = false;
}

static void
publish_marker(const char *marker)
{
	NrPublished *published = &nr_shared->published;

	if (strcmp(published->marker, marker) == 0)
		return;
	write_begin(published);
	memset(published->marker, 0, NR_MARKER_SIZE);
	strlcpy(published->marker, marker, NR_MARKER_SIZE);
	write_end(published);
}

void
nr_publish_marker(const char *marker)
{
	nr_publish_waiting_map(); /* first, so that who sees the marker sees its map */
	if (hooks_publish())
		publish_marker(marker);
}

void
nr_publish_limit(NrLimit limit, int value)
{
	if (nr_shared != NULL && !IsUnderPostmaster)
		pg_atomic_write_u32(&nr_shared->published.limits[limit], (uint32) value);
}

void
nr_publish_log_level(void)
{
	pg_atomic_write_u32(&nr_shared->published.log_level, (uint32) log_min_messages);
}

int
nr_published_log_level(void)
{
	return (int) pg_atomic_read_u32(&nr_shared->published.log_level);
}

void
nr_publish_reload_begin(void)
{
	not_reloaded = 0;
	pg_atomic_write_u32(&nr_shared->published.not_reloaded, 0);
}

/* The marker is published and the children are signalled by now, so the worker may have
 * acknowledged the marker already: it is woken to send an ack that tells this too. */
void
nr_publish_not_reloaded(uint32 flag)
{
	not_reloaded |= flag;
	pg_atomic_write_u32(&nr_shared->published.not_reloaded, not_reloaded);
	nr_wake_worker();
}

uint32
nr_published_not_reloaded(void)
{
	return pg_atomic_read_u32(&nr_shared->published.not_reloaded);
}

const char *
nr_not_reloaded_text(uint32 flag)
{
	switch (flag)
	{
		case NR_NOT_RELOADED_SSL: return "ssl";
		case NR_NOT_RELOADED_HBA: return "hba";
		default: return "ident";
	}
}

void
nr_publish_from_neon(void)
{
	const char *list = GetConfigOption(NR_CONNSTRING, true, false);
	const char *stripe = GetConfigOption("neon.stripe_size", true, false);

	publish_map(list != NULL ? list : "", stripe != NULL ? atoi(stripe) : PGH_DEFAULT_STRIPE_SIZE);
	publish_marker(nr_config_generation);
}

void
nr_publish_all(void)
{
	nr_publish_limit(NR_LIMIT_ENABLED, nr_enabled ? 1 : 0);
	nr_publish_limit(NR_LIMIT_CONNECT_MS, nr_connect_timeout_ms);
	nr_publish_limit(NR_LIMIT_SUSPECT_MS, nr_response_suspect_after_ms);
	nr_publish_limit(NR_LIMIT_CANCEL_MS, nr_query_cancel_after_ms);
	pg_atomic_write_u32(&nr_shared->published.not_reloaded, not_reloaded);
	nr_publish_log_level();
	if (nr_beside_neon)
	{
		nr_publish_from_neon();
		return;
	}
	publish_map(nr_pageserver_connstring, nr_stripe_size);
	publish_marker(nr_config_generation);
}

uint64
nr_published_generation(void)
{
	return pg_atomic_read_u64(&nr_shared->published.generation);
}

int
nr_published_limit(NrLimit limit)
{
	return (int) pg_atomic_read_u32(&nr_shared->published.limits[limit]);
}

bool
nr_published_endpoint(uint32 shard, char endpoint[PGH_ENDPOINT_SIZE])
{
	NrPublished *published = &nr_shared->published;
	uint64 before = pg_atomic_read_u64(&published->sequence);

	endpoint[0] = '\0';
	if (before % 2 != 0 || shard >= PGH_MAX_SHARDS)
		return false;
	pg_read_barrier();
	if (shard >= published->map.shard_count)
		return false;
	memcpy(endpoint, published->map.endpoint[shard], PGH_ENDPOINT_SIZE);
	pg_read_barrier();
	if (pg_atomic_read_u64(&published->sequence) == before)
		return true;
	endpoint[0] = '\0';
	return false;
}

/* Copies of one moment; map or marker may be NULL. */
void
nr_published_read(struct pgh_shard_map *map, uint64 *generation, char *marker)
{
	NrPublished *published = &nr_shared->published;

	for (int spins = 1;; spins++)
	{
		uint64 before = pg_atomic_read_u64(&published->sequence);

		if (before % 2 == 0)
		{
			pg_read_barrier();
			*generation = pg_atomic_read_u64(&published->generation);
			if (map != NULL)
				*map = published->map;
			if (marker != NULL)
				memcpy(marker, published->marker, NR_MARKER_SIZE);
			pg_read_barrier();
			if (pg_atomic_read_u64(&published->sequence) == before)
				return;
		}
		/* the writer was preempted within its few microseconds: let it run */
		if (spins % READ_SPINS == 0)
			(void) WaitLatch(NULL, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 1, PG_WAIT_EXTENSION);
	}
}
