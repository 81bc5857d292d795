/*
 * The shard map: the list of conninfos in neon.pageserver_connstring, and which shard a block
 * belongs to. Client and pageserver must compute the same shard, so the hash is part of the
 * protocol: MurmurHash3's finaliser and PostgreSQL's hash_combine, on 32 bits.
 */
#include <string.h>

#include "pg_hook.h"

static bool
is_control(unsigned char c)
{
	return c < 0x20 || c == 0x7f;
}

static enum pgh_result
copy_entry(char *endpoint, const char *entry, size_t len)
{
	if (len == 0)
		return PGH_ERR_ENTRY_EMPTY;
	if (len >= PGH_ENDPOINT_SIZE)
		return PGH_ERR_ENTRY_TOO_LONG;
	for (size_t i = 0; i < len; i++)
		if (is_control((unsigned char) entry[i]))
			return PGH_ERR_CONTROL_CHARACTER;
	memcpy(endpoint, entry, len);
	return PGH_OK;
}

static enum pgh_result
parse_entries(const char *list, struct pgh_shard_map *map)
{
	while (*list != '\0')
	{
		size_t len = strcspn(list, ",");
		enum pgh_result result;

		if (map->shard_count == PGH_MAX_SHARDS)
			return PGH_ERR_TOO_MANY_SHARDS;
		result = copy_entry(map->endpoint[map->shard_count], list, len);
		if (result != PGH_OK)
			return result;
		map->shard_count++;
		list += len;
		/* the loop's end after this step is the trailing comma that does not count */
		if (*list == ',')
			list++;
	}
	return PGH_OK;
}

enum pgh_result
pgh_shard_map_parse(const char *list, uint32_t stripe_size_pages, struct pgh_shard_map *map,
                    uint32_t *bad_entry)
{
	enum pgh_result result = PGH_ERR_STRIPE_SIZE;

	memset(map, 0, sizeof(*map));
	if (stripe_size_pages > 0)
		result = parse_entries(list, map);
	if (bad_entry != NULL)
		*bad_entry = map->shard_count;
	if (result == PGH_OK)
		map->stripe_size_pages = stripe_size_pages;
	else
		memset(map, 0, sizeof(*map));
	return result;
}

enum pgh_result
pgh_shard_map_text(const struct pgh_shard_map *map, char *text, size_t text_size, size_t *text_len)
{
	size_t used = 0;

	if (map->shard_count > PGH_MAX_SHARDS || text_size == 0)
		return PGH_ERR_ARGUMENT;
	for (uint32_t shard = 0; shard < map->shard_count; shard++)
	{
		size_t len = strnlen(map->endpoint[shard], PGH_ENDPOINT_SIZE);

		/* room for the separator and the final NUL */
		if (len + 2 > text_size - used)
			return PGH_ERR_BUFFER_TOO_SMALL;
		if (shard > 0)
			text[used++] = ',';
		memcpy(text + used, map->endpoint[shard], len);
		used += len;
	}
	text[used] = '\0';
	if (text_len != NULL)
		*text_len = used;
	return PGH_OK;
}

bool
pgh_shard_endpoint_same(const struct pgh_shard_map *a, const struct pgh_shard_map *b,
                        uint32_t shard)
{
	if (shard >= PGH_MAX_SHARDS || shard >= a->shard_count || shard >= b->shard_count)
		return false;
	return strncmp(a->endpoint[shard], b->endpoint[shard], PGH_ENDPOINT_SIZE) == 0;
}

static uint32_t
murmur_finish(uint32_t x)
{
	x ^= x >> 16;
	x *= UINT32_C(0x85ebca6b);
	x ^= x >> 13;
	x *= UINT32_C(0xc2b2ae35);
	return x ^ (x >> 16);
}

static uint32_t
combine(uint32_t a, uint32_t b)
{
	return a ^ (b + UINT32_C(0x9e3779b9) + (a << 6) + (a >> 2));
}

uint32_t
pgh_shard_of_block(uint32_t rel_number, uint32_t block, uint32_t shard_count,
                   uint32_t stripe_size_pages)
{
	if (shard_count < 2 || stripe_size_pages == 0)
		return 0;
	return combine(murmur_finish(rel_number), murmur_finish(block / stripe_size_pages)) %
	       shard_count;
}

uint32_t
pgh_shard_of_request(const struct pgh_shard_map *map, const struct pgh_request *request)
{
	/* the pageserver keeps init forks and everything that is no page on shard 0 */
	if (request->type != PGH_REQUEST_GET_PAGE || request->fork == PGH_FORK_INIT)
		return 0;
	return pgh_shard_of_block(request->rel_number, request->block, map->shard_count,
	                          map->stripe_size_pages);
}
