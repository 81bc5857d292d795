/*
 * The bodies of the worker's requests. All text in shared memory is clean UTF-8 (events.c), so
 * the daemon always gets valid JSON.
 */
#include "prelude.h"

#include "published.h"
#include "worker.h"

static void
append_member(StringInfo body, const char *name, const char *text)
{
	appendStringInfo(body, "%s\"%s\": ", body->data[body->len - 1] == '{' ? "" : ", ", name);
	escape_json(body, text);
}

void
nr_payload_refresh(StringInfo body, const NrEventData *event, uint32 count, bool with_marker)
{
	char marker[NR_MARKER_SIZE];
	uint64 generation;

	nr_published_read(NULL, &generation, marker);
	resetStringInfo(body);
	appendStringInfoChar(body, '{');
	append_member(body, "source", event->manual ? "manual" : pgh_source_text(event->source));
	if (event->shard >= 0)
		appendStringInfo(body, ", \"shard\": %d", event->shard);
	else
		appendStringInfoString(body, ", \"shard\": null");
	append_member(body, "class", pgh_trouble_text(event->trouble));
	append_member(body, "sqlstate", event->sqlstate);
	append_member(body, "text", event->text);
	appendStringInfo(body, ", \"count\": %u", count);
	if (with_marker)
		append_member(body, "running", marker);
	appendStringInfoChar(body, '}');
}

/* Lower-case hex SHA-256 of marker, stripe size and list, each a line but for the last. */
static bool
hash_map(const struct pgh_shard_map *map, const char *marker, char *hex)
{
	uint8 digest[PG_SHA256_DIGEST_LENGTH];
	char *list = palloc(PGH_SHARD_LIST_SIZE);
	char *hashed;
	bool done;

	if (pgh_shard_map_text(map, list, PGH_SHARD_LIST_SIZE, NULL) != PGH_OK)
		return false;
	hashed = psprintf("%s\n%u\n%s", marker, map->stripe_size_pages, list);
	done = nr_sha256(hashed, strlen(hashed), digest);
	for (int i = 0; done && i < PG_SHA256_DIGEST_LENGTH; i++)
		snprintf(hex + 2 * i, 3, "%02x", digest[i]);
	pfree(hashed);
	pfree(list);
	return done;
}

static void
append_not_reloaded(StringInfo body, uint32 not_reloaded)
{
	bool first = true;

	if (not_reloaded == 0)
		return;
	appendStringInfoString(body, ", \"not_reloaded\": [");
	for (uint32 flag = 1; flag <= not_reloaded; flag <<= 1)
	{
		if ((not_reloaded & flag) == 0)
			continue;
		appendStringInfo(body, "%s\"%s\"", first ? "" : ", ", nr_not_reloaded_text(flag));
		first = false;
	}
	appendStringInfoChar(body, ']');
}

/*
 * Marker and map of one moment, and what was not reloaded with this marker: the flags are
 * cleared before a marker is published and set after, so that equal flags on both sides of the
 * read are those of the marker or of an older reload with the same result.
 */
static uint32
read_published(struct pgh_shard_map *map, char *marker)
{
	uint64 generation;
	uint32 before;
	uint32 after = nr_published_not_reloaded();

	do
	{
		before = after;
		pg_read_barrier();
		nr_published_read(map, &generation, marker);
		pg_read_barrier();
		after = nr_published_not_reloaded();
	} while (before != after);
	return after;
}

/* False if there is no marker to acknowledge. */
bool
nr_payload_ack(StringInfo body, bool suspects, uint32 *not_reloaded)
{
	static struct pgh_shard_map map; /* too large for the stack of a process with a small one */
	char marker[NR_MARKER_SIZE];
	char hex[2 * PG_SHA256_DIGEST_LENGTH + 1];

	*not_reloaded = read_published(&map, marker);
	if (marker[0] == '\0' || !hash_map(&map, marker, hex))
		return false;
	resetStringInfo(body);
	appendStringInfoChar(body, '{');
	append_member(body, "marker", marker);
	appendStringInfo(body, ", \"shard_count\": %u, \"stripe_size\": %u", map.shard_count,
	                 map.stripe_size_pages);
	append_member(body, "map_sha256", hex);
	appendStringInfo(body, ", \"pid\": %d, \"suspects\": %s", PostmasterPid,
	                 suspects ? "true" : "false");
	append_not_reloaded(body, *not_reloaded);
	appendStringInfoChar(body, '}');
	return true;
}
