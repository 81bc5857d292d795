/*
 * This process's copy of the shard map. The published generation is compared before every wait
 * (one atomic read); the 33 kB are copied only when it differs.
 */
#include "prelude.h"

#include "client.h"
#include "published.h"

static struct pgh_shard_map map;
static uint64 map_generation = 0;

const struct pgh_shard_map *
nr_map(void)
{
	return &map;
}

uint64
nr_map_generation(void)
{
	return map_generation;
}

void
nr_map_refresh(void)
{
	if (nr_published_generation() == map_generation)
		return;
	nr_published_read(&map, &map_generation, NULL);
}

/* Is there another endpoint for the request now than when the task took its connection? */
bool
nr_map_moved(NrTask *task)
{
	char before[PGH_ENDPOINT_SIZE];

	if (nr_published_generation() == map_generation)
		return false;
	strlcpy(before, map.endpoint[task->shard], sizeof(before));
	nr_map_refresh();
	return map.shard_count == 0 || pgh_shard_of_request(&map, task->request) != task->shard ||
	       strcmp(before, map.endpoint[task->shard]) != 0;
}
