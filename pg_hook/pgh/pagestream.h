/*
 * Pagestream, protocol versions 2 and 3: requests and answers as bytes.
 */
#ifndef PGH_PAGESTREAM_H
#define PGH_PAGESTREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "result.h"
#include "shard_map.h"

enum
{
	PGH_PAGE_SIZE = 8192,
	PGH_SLRU_PAGES_MAX = 32,
	PGH_REQUEST_SIZE_MAX = 42,
	PGH_PAGESTREAM_QUERY_SIZE = 96 /* longest query with NUL fits */
};

enum pgh_request_type
{
	PGH_REQUEST_EXISTS = 0,
	PGH_REQUEST_NBLOCKS = 1,
	PGH_REQUEST_GET_PAGE = 2,
	PGH_REQUEST_DB_SIZE = 3,
	PGH_REQUEST_GET_SLRU_SEGMENT = 4
};

enum pgh_response_type
{
	PGH_RESPONSE_EXISTS = 100,
	PGH_RESPONSE_NBLOCKS = 101,
	PGH_RESPONSE_GET_PAGE = 102,
	PGH_RESPONSE_ERROR = 103,
	PGH_RESPONSE_DB_SIZE = 104,
	PGH_RESPONSE_GET_SLRU_SEGMENT = 105
};

enum pgh_fork
{
	PGH_FORK_MAIN = 0,
	PGH_FORK_FSM = 1,
	PGH_FORK_VM = 2,
	PGH_FORK_INIT = 3
};

enum pgh_slru_kind
{
	PGH_SLRU_CLOG = 0,
	PGH_SLRU_MULTIXACT_MEMBERS = 1,
	PGH_SLRU_MULTIXACT_OFFSETS = 2
};

struct pgh_request
{
	enum pgh_request_type type;
	uint8_t fork;                /* enum pgh_fork */
	uint8_t slru_kind;           /* enum pgh_slru_kind; GET_SLRU_SEGMENT only */
	uint64_t request_id;         /* version 3 only; new for each sending */
	uint64_t request_lsn;        /* UINT64_MAX = the newest the server has */
	uint64_t not_modified_since; /* an LSN */
	uint32_t tablespace_oid;
	uint32_t database_oid; /* of the relation, or of DB_SIZE */
	uint32_t rel_number;
	uint32_t block;        /* GET_PAGE only */
	uint32_t slru_segment; /* GET_SLRU_SEGMENT only */
};

/* A decoded answer; the pointers reach into the message that was decoded. */
struct pgh_response
{
	enum pgh_response_type type;
	bool exists;           /* EXISTS */
	uint32_t block_count;  /* NBLOCKS: blocks; GET_PAGE: 1; GET_SLRU_SEGMENT: pages */
	int64_t db_size_bytes; /* DB_SIZE */
	const uint8_t *pages;  /* GET_PAGE, GET_SLRU_SEGMENT: block_count * PGH_PAGE_SIZE bytes */
	const char *text;      /* ERROR: not NUL-terminated, any bytes */
	size_t text_len;
};

/* Where to send a request: a page by its hash, the init fork and all metadata to shard 0.
 * The map must have a shard (shard_count > 0), else the result is meaningless. */
uint32_t pgh_shard_of_request(const struct pgh_shard_map *map, const struct pgh_request *request);

/* Payload of one CopyData. *message_len is set on success; PGH_REQUEST_SIZE_MAX always fits. */
enum pgh_result pgh_request_encode(const struct pgh_request *request, uint32_t protocol_version,
                                   uint8_t *message, size_t message_size, size_t *message_len);

/*
 * Decode the payload of one CopyData as the answer to the request. Anything but PGH_OK means
 * the stream cannot be trusted any more: drop the connection. An ERROR answer whose echo is not
 * ours is PGH_ERR_ECHO as well, with type and text set for the report.
 */
enum pgh_result pgh_response_decode(const uint8_t *message, size_t message_len,
                                    uint32_t protocol_version, const struct pgh_request *request,
                                    struct pgh_response *response);

/* "pagestream_v3 TENANT TIMELINE"; the ids are 32 hex digits, written in lower case. */
enum pgh_result pgh_pagestream_query(uint32_t protocol_version, const char *tenant_id,
                                     const char *timeline_id, char *query, size_t query_size);

/* Is this 32 hex digits and nothing else? */
bool pgh_id_valid(const char *id);

#endif
