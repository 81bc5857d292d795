/*
 * Internal to the core: the handle of one request at a time, and its libcurl callbacks.
 */
#ifndef PGH_TRIGGER_HANDLE_H
#define PGH_TRIGGER_HANDLE_H

#include <curl/curl.h>

#include "peer_user.h"
#include "pg_hook.h"

struct pgh_trigger
{
	CURLM *multi;
	CURL *easy;
	struct curl_slist *headers;
	bool in_flight;
	bool answer_too_long;
	enum pgh_result result;
	int64_t deadline_ms;
	int64_t timer_ms; /* when to call libcurl; -1 = not by time */
	size_t fd_count;
	struct pgh_wait_fd fds[PGH_TRIGGER_FDS_MAX];
	int32_t http_status;
	size_t header_len;
	size_t body_len;
	char detail[CURL_ERROR_SIZE];
	bool secret;                  /* the request in flight is */
	bool peer_refused;            /* a stranger listens */
	struct pgh_peer_user peer;    /* of the connection that was opened last */
	struct pgh_endpoint endpoint; /* of that connection */
	uint8_t *upload;              /* body of a secret request: libcurl asks for it once connected */
	size_t upload_len;
	size_t upload_at;
	uint8_t body[PGH_ANSWER_KEPT + 1];
};

/* Milliseconds of CLOCK_MONOTONIC. */
int64_t pgh_clock_ms(void);

/* What is the same for all requests: the callbacks, and that nothing comes from the environment. */
bool pgh_trigger_set_options(struct pgh_trigger *trigger);

#endif
