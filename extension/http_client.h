/*
 * The boundary between the two libraries: the HTTP client that neon_refresh_http.so, which links
 * libcurl, offers to the refresh worker in neon_refresh.so, which every process of the server
 * loads and which does not.
 *
 * It is one exported function that returns a table, as an archive module's is; so neither library
 * exports anything else for the other, and no name of theirs can meet another library's. The
 * members are the functions of the C core of the same names.
 */
#ifndef NR_HTTP_CLIENT_H
#define NR_HTTP_CLIENT_H

#include "pg_hook.h"

typedef struct NrHttpClient
{
	uint32 abi; /* NR_HTTP_CLIENT_ABI of its build; stays the first member */
	enum pgh_result (*global_init)(void);
	enum pgh_result (*create)(struct pgh_trigger **trigger);
	void (*destroy)(struct pgh_trigger *trigger);
	enum pgh_result (*start)(struct pgh_trigger *trigger, const struct pgh_endpoint *endpoint,
	                         const struct pgh_post *post);
	size_t (*fds)(struct pgh_trigger *trigger, struct pgh_wait_fd *fds, size_t fds_size,
	              int32_t *timeout_ms);
	bool (*step)(struct pgh_trigger *trigger, const struct pgh_wait_fd *fds, size_t fd_count);
	bool (*in_flight)(const struct pgh_trigger *trigger);
	enum pgh_result (*result)(const struct pgh_trigger *trigger, struct pgh_answer *answer);
	const char *(*detail)(const struct pgh_trigger *trigger);
} NrHttpClient;

typedef const NrHttpClient *(*NrHttpClientInit)(void);

#endif
