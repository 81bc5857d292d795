/*
 * How a call ended, for the functions that may fail.
 */
#ifndef PGH_RESULT_H
#define PGH_RESULT_H

enum pgh_result
{
	PGH_OK = 0,
	PGH_ERR_ARGUMENT,         /* the caller broke the contract of the function */
	PGH_ERR_BUFFER_TOO_SMALL, /* the caller's buffer does not hold the output */
	PGH_ERR_NO_MEMORY,
	/* shard map */
	PGH_ERR_TOO_MANY_SHARDS,
	PGH_ERR_ENTRY_EMPTY,
	PGH_ERR_ENTRY_TOO_LONG,
	PGH_ERR_CONTROL_CHARACTER,
	PGH_ERR_STRIPE_SIZE,
	/* pagestream */
	PGH_ERR_PROTOCOL_VERSION,
	PGH_ERR_TENANT_ID,
	PGH_ERR_TIMELINE_ID,
	PGH_ERR_MESSAGE_SHORT,
	PGH_ERR_MESSAGE_LONG,
	PGH_ERR_TAG_UNKNOWN,
	PGH_ERR_TAG_UNEXPECTED, /* a known answer, but not to this kind of request */
	PGH_ERR_ECHO,           /* the answer repeats another request than ours */
	PGH_ERR_VALUE,          /* a field is out of its range */
	/* endpoint */
	PGH_ERR_ENDPOINT_SYNTAX,
	PGH_ERR_ENDPOINT_NOT_LOCAL,
	PGH_ERR_ENDPOINT_PORT,
	PGH_ERR_ENDPOINT_PATH,
	/* trigger */
	PGH_ERR_BUSY,        /* the handle already carries a request */
	PGH_ERR_NOT_DONE,    /* the request has not ended yet */
	PGH_ERR_CONNECT,     /* refused */
	PGH_ERR_TIMEOUT,     /* timeout_ms passed */
	PGH_ERR_LOST,        /* the connection broke, or the answer is not HTTP */
	PGH_ERR_ANSWER_SIZE, /* the answer is larger than PGH_ANSWER_MAX */
	PGH_ERR_INTERRUPTED, /* the host's wait asked to stop */
	PGH_ERR_LIBRARY,     /* libcurl refused something that cannot fail */
	PGH_ERR_PEER,        /* a secret request, and a stranger listens */
	PGH_RESULT_COUNT
};

/* Short lower-case reason without full stop, fit to follow "could not X: ". Never NULL. */
const char *pgh_result_text(enum pgh_result result);

#endif
