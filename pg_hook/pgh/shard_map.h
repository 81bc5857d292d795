/*
 * The shard map: the list of conninfos in neon.pageserver_connstring.
 */
#ifndef PGH_SHARD_MAP_H
#define PGH_SHARD_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "result.h"

enum
{
	PGH_MAX_SHARDS = 128,
	PGH_ENDPOINT_SIZE = 256,     /* one conninfo, 255 bytes and NUL */
	PGH_SHARD_LIST_SIZE = 32768, /* longest canonical list text with NUL */
	PGH_DEFAULT_STRIPE_SIZE = 2048
};

/* All bytes behind the NULs and behind shard_count are zero, so maps compare with memcmp. */
struct pgh_shard_map
{
	uint32_t shard_count;                             /* 0 = not configured */
	uint32_t stripe_size_pages;                       /* pages of 8 KiB, at least 1 */
	char endpoint[PGH_MAX_SHARDS][PGH_ENDPOINT_SIZE]; /* index = shard number */
};

/*
 * Parse a comma-separated list of conninfos. One trailing comma is ignored; "" gives no shards.
 * A conninfo is not looked into, but for control characters. On error *bad_entry is the index
 * of the offending entry and *map is all zero. bad_entry may be NULL.
 */
enum pgh_result pgh_shard_map_parse(const char *list, uint32_t stripe_size_pages,
                                    struct pgh_shard_map *map, uint32_t *bad_entry);

/* The canonical list: entries joined by ','. *text_len (may be NULL) excludes the NUL. */
enum pgh_result pgh_shard_map_text(const struct pgh_shard_map *map, char *text, size_t text_size,
                                   size_t *text_len);

/* Does this shard have the same endpoint in both maps? A shard that a map lacks differs. */
bool pgh_shard_endpoint_same(const struct pgh_shard_map *a, const struct pgh_shard_map *b,
                             uint32_t shard);

/* Shard of a relation's block, as client and server of the reference compute it; 0 if there
 * are fewer than two shards. */
uint32_t pgh_shard_of_block(uint32_t rel_number, uint32_t block, uint32_t shard_count,
                            uint32_t stripe_size_pages);

#endif
