/*
 * The pagestream protocol, versions 2 and 3, client side. All integers are big-endian; one
 * message is the payload of one CopyData. Version 3 answers repeat the request, and what they
 * repeat is compared: a difference means that request and answer have come out of step.
 *
 * The decoder never trusts a length: every read goes through a cursor that knows its end.
 */
#include <stdio.h>
#include <string.h>

#include "pg_hook.h"

enum
{
	HEX_ID_LEN = 32,
	NEWEST_VERSION = 3,
	OLDEST_VERSION = 2
};

static bool
version_known(uint32_t version)
{
	return version >= OLDEST_VERSION && version <= NEWEST_VERSION;
}

/* ---- writing: the caller has checked that the message fits -------------------------------- */

static uint8_t *
put(uint8_t *at, uint64_t value, int bytes)
{
	for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8)
		*at++ = (uint8_t) (value >> shift);
	return at;
}

static uint8_t *
put_relation(uint8_t *at, const struct pgh_request *request)
{
	at = put(at, request->tablespace_oid, 4);
	at = put(at, request->database_oid, 4);
	at = put(at, request->rel_number, 4);
	return put(at, request->fork, 1);
}

static enum pgh_result
check_request(const struct pgh_request *request)
{
	switch (request->type)
	{
		case PGH_REQUEST_EXISTS:
		case PGH_REQUEST_NBLOCKS:
		case PGH_REQUEST_GET_PAGE: return request->fork <= PGH_FORK_INIT ? PGH_OK : PGH_ERR_VALUE;
		case PGH_REQUEST_DB_SIZE: return PGH_OK;
		case PGH_REQUEST_GET_SLRU_SEGMENT:
			return request->slru_kind <= PGH_SLRU_MULTIXACT_OFFSETS ? PGH_OK : PGH_ERR_VALUE;
	}
	return PGH_ERR_ARGUMENT;
}

enum pgh_result
pgh_request_encode(const struct pgh_request *request, uint32_t protocol_version, uint8_t *message,
                   size_t message_size, size_t *message_len)
{
	uint8_t *at = message;
	enum pgh_result result = check_request(request);

	if (result != PGH_OK)
		return result;
	if (!version_known(protocol_version))
		return PGH_ERR_PROTOCOL_VERSION;
	if (message_size < PGH_REQUEST_SIZE_MAX)
		return PGH_ERR_BUFFER_TOO_SMALL;
	at = put(at, (uint64_t) request->type, 1);
	if (protocol_version >= 3)
		at = put(at, request->request_id, 8);
	at = put(at, request->request_lsn, 8);
	at = put(at, request->not_modified_since, 8);
	switch (request->type)
	{
		case PGH_REQUEST_EXISTS:
		case PGH_REQUEST_NBLOCKS: at = put_relation(at, request); break;
		case PGH_REQUEST_GET_PAGE:
			at = put_relation(at, request);
			at = put(at, request->block, 4);
			break;
		case PGH_REQUEST_DB_SIZE: at = put(at, request->database_oid, 4); break;
		case PGH_REQUEST_GET_SLRU_SEGMENT:
			at = put(at, request->slru_kind, 1);
			at = put(at, request->slru_segment, 4);
			break;
	}
	*message_len = (size_t) (at - message);
	return PGH_OK;
}

/* ---- reading ------------------------------------------------------------------------------ */

struct cursor
{
	const uint8_t *at;
	size_t left;
	bool short_read; /* sticky: later reads give 0 */
	bool echo_differs;
};

static const uint8_t *
take(struct cursor *cursor, size_t bytes)
{
	const uint8_t *at = cursor->at;

	if (cursor->short_read || bytes > cursor->left)
	{
		cursor->short_read = true;
		return NULL;
	}
	cursor->at += bytes;
	cursor->left -= bytes;
	return at;
}

static uint64_t
take_int(struct cursor *cursor, size_t bytes)
{
	const uint8_t *at = take(cursor, bytes);
	uint64_t value = 0;

	for (size_t i = 0; at != NULL && i < bytes; i++)
		value = value << 8 | at[i];
	return value;
}

static void
take_echo(struct cursor *cursor, size_t bytes, uint64_t expected)
{
	if (take_int(cursor, bytes) != expected)
		cursor->echo_differs = true;
}

static void
take_relation_echo(struct cursor *cursor, const struct pgh_request *request)
{
	take_echo(cursor, 4, request->tablespace_oid);
	take_echo(cursor, 4, request->database_oid);
	take_echo(cursor, 4, request->rel_number);
	take_echo(cursor, 1, request->fork);
}

/* What version 3 repeats of the body; an ERROR answer repeats the header only. */
static void
take_body_echo(struct cursor *cursor, const struct pgh_request *request)
{
	switch (request->type)
	{
		case PGH_REQUEST_EXISTS:
		case PGH_REQUEST_NBLOCKS: take_relation_echo(cursor, request); break;
		case PGH_REQUEST_GET_PAGE:
			take_relation_echo(cursor, request);
			take_echo(cursor, 4, request->block);
			break;
		case PGH_REQUEST_DB_SIZE: take_echo(cursor, 4, request->database_oid); break;
		case PGH_REQUEST_GET_SLRU_SEGMENT:
			take_echo(cursor, 1, request->slru_kind);
			take_echo(cursor, 4, request->slru_segment);
			break;
	}
}

static void
take_text(struct cursor *cursor, struct pgh_response *response)
{
	response->text = (const char *) cursor->at;
	/* the NUL that ends the text may be missing, and nothing behind it counts */
	response->text_len = strnlen(response->text, cursor->left);
	(void) take(cursor, cursor->left);
}

static bool
take_value(struct cursor *cursor, struct pgh_response *response)
{
	uint64_t value;

	switch (response->type)
	{
		case PGH_RESPONSE_EXISTS:
			value = take_int(cursor, 1);
			response->exists = value == 1;
			return value <= 1;
		case PGH_RESPONSE_NBLOCKS:
			response->block_count = (uint32_t) take_int(cursor, 4);
			return true;
		case PGH_RESPONSE_GET_PAGE:
			response->block_count = 1;
			response->pages = take(cursor, PGH_PAGE_SIZE);
			return true;
		case PGH_RESPONSE_DB_SIZE:
			value = take_int(cursor, 8);
			if (value > INT64_MAX)
				return false;
			response->db_size_bytes = (int64_t) value;
			return true;
		case PGH_RESPONSE_GET_SLRU_SEGMENT:
			value = take_int(cursor, 4);
			if (value > PGH_SLRU_PAGES_MAX)
				return false;
			response->block_count = (uint32_t) value;
			response->pages = take(cursor, value * PGH_PAGE_SIZE);
			return true;
		case PGH_RESPONSE_ERROR: take_text(cursor, response); return true;
	}
	return false;
}

static enum pgh_response_type
expected_type(enum pgh_request_type type)
{
	switch (type)
	{
		case PGH_REQUEST_EXISTS: return PGH_RESPONSE_EXISTS;
		case PGH_REQUEST_NBLOCKS: return PGH_RESPONSE_NBLOCKS;
		case PGH_REQUEST_GET_PAGE: return PGH_RESPONSE_GET_PAGE;
		case PGH_REQUEST_DB_SIZE: return PGH_RESPONSE_DB_SIZE;
		case PGH_REQUEST_GET_SLRU_SEGMENT: return PGH_RESPONSE_GET_SLRU_SEGMENT;
	}
	return PGH_RESPONSE_ERROR;
}

static enum pgh_result
decode_body(struct cursor *cursor, uint32_t version, const struct pgh_request *request,
            struct pgh_response *response)
{
	bool in_range;

	if (version >= 3)
	{
		take_echo(cursor, 8, request->request_id);
		take_echo(cursor, 8, request->request_lsn);
		take_echo(cursor, 8, request->not_modified_since);
		if (response->type != PGH_RESPONSE_ERROR)
			take_body_echo(cursor, request);
	}
	in_range = take_value(cursor, response);
	if (cursor->short_read)
		return PGH_ERR_MESSAGE_SHORT;
	if (cursor->echo_differs)
		return PGH_ERR_ECHO;
	if (!in_range)
		return PGH_ERR_VALUE;
	return cursor->left > 0 ? PGH_ERR_MESSAGE_LONG : PGH_OK;
}

enum pgh_result
pgh_response_decode(const uint8_t *message, size_t message_len, uint32_t protocol_version,
                    const struct pgh_request *request, struct pgh_response *response)
{
	struct cursor cursor = { .at = message, .left = message_len };
	uint64_t tag;
	enum pgh_result result = check_request(request);

	memset(response, 0, sizeof(*response));
	if (result != PGH_OK)
		return result;
	if (!version_known(protocol_version))
		return PGH_ERR_PROTOCOL_VERSION;
	tag = take_int(&cursor, 1);
	if (cursor.short_read)
		return PGH_ERR_MESSAGE_SHORT;
	if (tag < PGH_RESPONSE_EXISTS || tag > PGH_RESPONSE_GET_SLRU_SEGMENT)
		return PGH_ERR_TAG_UNKNOWN;
	response->type = (enum pgh_response_type) tag;
	if (response->type != PGH_RESPONSE_ERROR && response->type != expected_type(request->type))
		return PGH_ERR_TAG_UNEXPECTED;
	return decode_body(&cursor, protocol_version, request, response);
}

/* ---- the query that starts a stream ------------------------------------------------------- */

bool
pgh_id_valid(const char *id)
{
	size_t len = strspn(id, "0123456789abcdefABCDEF");

	return len == HEX_ID_LEN && id[len] == '\0';
}

enum pgh_result
pgh_pagestream_query(uint32_t protocol_version, const char *tenant_id, const char *timeline_id,
                     char *query, size_t query_size)
{
	int len;

	if (!version_known(protocol_version))
		return PGH_ERR_PROTOCOL_VERSION;
	if (!pgh_id_valid(tenant_id))
		return PGH_ERR_TENANT_ID;
	if (!pgh_id_valid(timeline_id))
		return PGH_ERR_TIMELINE_ID;
	len = snprintf(query, query_size, "pagestream_v%u %s %s", (unsigned int) protocol_version,
	               tenant_id, timeline_id);
	if (len < 0 || (size_t) len >= query_size)
		return PGH_ERR_BUFFER_TOO_SMALL;
	for (char *at = query; *at != '\0'; at++)
		if (*at >= 'A' && *at <= 'F')
			*at = (char) (*at - 'A' + 'a');
	return PGH_OK;
}
