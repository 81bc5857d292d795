/*
 * Reasons in words. One table row per result; the text follows "could not X: ".
 */
#include "pg_hook.h"

static const char *const texts[PGH_RESULT_COUNT] = {
	[PGH_OK] = "success",
	[PGH_ERR_ARGUMENT] = "invalid argument",
	[PGH_ERR_BUFFER_TOO_SMALL] = "buffer too small",
	[PGH_ERR_NO_MEMORY] = "out of memory",
	[PGH_ERR_TOO_MANY_SHARDS] = "more than 128 shards",
	[PGH_ERR_ENTRY_EMPTY] = "connection string is empty",
	[PGH_ERR_ENTRY_TOO_LONG] = "connection string is longer than 255 bytes",
	[PGH_ERR_CONTROL_CHARACTER] = "connection string contains a control character",
	[PGH_ERR_STRIPE_SIZE] = "stripe size must be at least 1",
	[PGH_ERR_PROTOCOL_VERSION] = "protocol version must be 2 or 3",
	[PGH_ERR_TENANT_ID] = "tenant id is not 32 hexadecimal digits",
	[PGH_ERR_TIMELINE_ID] = "timeline id is not 32 hexadecimal digits",
	[PGH_ERR_MESSAGE_SHORT] = "message is too short",
	[PGH_ERR_MESSAGE_LONG] = "message is too long",
	[PGH_ERR_TAG_UNKNOWN] = "message has an unknown tag",
	[PGH_ERR_TAG_UNEXPECTED] = "message does not answer this kind of request",
	[PGH_ERR_ECHO] = "message answers another request",
	[PGH_ERR_VALUE] = "value is out of range",
	[PGH_ERR_ENDPOINT_SYNTAX] = "endpoint is neither \"http://127.0.0.1:PORT\" nor \"unix:/path\"",
	[PGH_ERR_ENDPOINT_NOT_LOCAL] = "endpoint is not a numeric loopback address",
	[PGH_ERR_ENDPOINT_PORT] = "endpoint has no port between 1 and 65535",
	[PGH_ERR_ENDPOINT_PATH] = "socket path is not absolute or longer than 107 bytes",
	[PGH_ERR_BUSY] = "a request is in flight already",
	[PGH_ERR_NOT_DONE] = "the request has not ended",
	[PGH_ERR_CONNECT] = "connection refused",
	[PGH_ERR_TIMEOUT] = "timeout expired",
	[PGH_ERR_LOST] = "connection lost before a complete HTTP answer",
	[PGH_ERR_ANSWER_SIZE] = "answer is longer than 64 kB",
	[PGH_ERR_INTERRUPTED] = "interrupted",
	[PGH_ERR_LIBRARY] = "unexpected failure of libcurl",
	[PGH_ERR_PEER] = "the listener is no process of this user or of root",
};

const char *
pgh_result_text(enum pgh_result result)
{
	if ((unsigned int) result >= PGH_RESULT_COUNT || texts[result] == NULL)
		return "unknown result";
	return texts[result];
}
