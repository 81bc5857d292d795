/*
 * A list of conninfos: what is taken comes back as its canonical text, what is refused leaves
 * nothing.
 */
#include "fuzz.h"
#include "pg_hook.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct pgh_shard_map map;
	static struct pgh_shard_map again;
	static char text[PGH_SHARD_LIST_SIZE];
	char *list = fuzz_string(data, size);
	uint32_t bad_entry = 0;
	size_t len = 0;
	enum pgh_result result = pgh_shard_map_parse(list, 2048, &map, &bad_entry);

	MUST(map.shard_count <= PGH_MAX_SHARDS && bad_entry <= PGH_MAX_SHARDS);
	MUST(result == PGH_OK || map.shard_count == 0);
	MUST(pgh_shard_map_text(&map, text, sizeof(text), &len) == PGH_OK);
	MUST(pgh_shard_map_parse(text, map.stripe_size_pages, &again, NULL) ==
	     (result == PGH_OK ? PGH_OK : PGH_ERR_STRIPE_SIZE));
	MUST(memcmp(&map, &again, sizeof(map)) == 0);
	free(list);
	return 0;
}
