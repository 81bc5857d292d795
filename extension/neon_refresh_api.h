/*
 * For other C code in the server: tell neon_refresh about the state of an upstream server.
 *
 *   NeonRefreshApi **slot = (NeonRefreshApi **) find_rendezvous_variable(NEON_REFRESH_RENDEZVOUS);
 *   if (*slot != NULL && (*slot)->version >= 1)
 *       (*slot)->report_trouble("pageserver", shard, "08006", "connection lost");
 *
 * The slot is filled when neon_refresh is in shared_preload_libraries. All functions may be
 * called in any process that has shared memory, at any moment, with locks held too: they
 * neither lock, allocate, wait nor report. New members are added at the end with a new version.
 */
#ifndef NEON_REFRESH_API_H
#define NEON_REFRESH_API_H

#include <stdbool.h>
#include <stdint.h>

#define NEON_REFRESH_RENDEZVOUS  "neon_refresh"
#define NEON_REFRESH_API_VERSION 1

typedef struct NeonRefreshApi
{
	uint32_t version; /* NEON_REFRESH_API_VERSION */
	uint32_t size;    /* of this struct, in bytes */

	/* source: "pageserver", "safekeeper" or "primary"; shard: -1 = not known; sqlstate: 5
	 * characters or NULL; text: one line or NULL, passwords are removed. False = no such source. */
	bool (*report_trouble)(const char *source, int shard, const char *sqlstate, const char *text);

	/* The same source works: ends its suspicion. */
	bool (*report_useful)(const char *source, int shard);

	/* Generation of the published shard map: it changes when an endpoint does. */
	uint64_t (*map_generation)(void);
} NeonRefreshApi;

#endif
