/*
 * What other C code may call, offered through a rendezvous variable. See neon_refresh_api.h.
 */
#include "prelude.h"

#include "neon_refresh_api.h"
#include "published.h"
#include "rendezvous.h"
#include "shmem.h"
#include "trouble.h"

static bool
report(const char *source, int shard, const char *sqlstate, const char *text, bool useful)
{
	struct pgh_verdict verdict = {
		.trouble = useful ? PGH_TROUBLE_NONE : PGH_TROUBLE_DEAD,
		.certainty = useful ? PGH_CERTAINTY_NONE : PGH_CERTAINTY_SUSPECT,
		.useful = useful,
		.shard = shard,
	};

	if (nr_shared == NULL || shard < -1 || shard >= PGH_MAX_SHARDS)
		return false;
	for (int i = 0; i < PGH_SOURCE_COUNT; i++)
	{
		if (strcmp(source, pgh_source_text(i)) != 0)
			continue;
		verdict.source = i;
		nr_trouble_reported(&verdict, sqlstate, text);
		return true;
	}
	return false;
}

static bool
report_trouble(const char *source, int shard, const char *sqlstate, const char *text)
{
	return report(source, shard, sqlstate, text, false);
}

static bool
report_useful(const char *source, int shard)
{
	return report(source, shard, NULL, NULL, true);
}

static uint64_t
map_generation(void)
{
	return nr_shared != NULL ? nr_published_generation() : 0;
}

void
nr_rendezvous_offer(void)
{
	static NeonRefreshApi api = {
		.version = NEON_REFRESH_API_VERSION,
		.size = sizeof(NeonRefreshApi),
		.report_trouble = report_trouble,
		.report_useful = report_useful,
		.map_generation = map_generation,
	};

	*find_rendezvous_variable(NEON_REFRESH_RENDEZVOUS) = &api;
}
