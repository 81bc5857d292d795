/*
 * One kind of request to the daemon on a libcurl handle of its own. Starting and going on never
 * block; the worker's loop waits for all handles at once.
 */
#include "prelude.h"

#include "guc.h"
#include "worker.h"

void
nr_post_init(NrPost *post, const char *path)
{
	enum pgh_result result = pgh_trigger_new(&post->trigger);

	post->path = path;
	if (result != PGH_OK)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY),
		                errmsg("could not set up libcurl: %s", pgh_result_text(result))));
}

void
nr_post_close(NrPost *post)
{
	pgh_trigger_free(post->trigger);
	post->trigger = NULL;
}

/* False if the request could not even start: *result says why. A secret body is sent to a process
 * of our own user or of root only. */
bool
nr_post_start(NrPost *post, const StringInfo body, bool secret, enum pgh_result *result)
{
	static const char *const headers[] = {
		"X-Refresh-Source: worker",
	};
	struct pgh_endpoint endpoint;
	struct pgh_post request = {
		.path = post->path,
		.body = (const uint8_t *) body->data,
		.body_len = body->len,
		.headers = headers,
		.header_count = lengthof(headers),
		.timeout_ms = nr_request_timeout_ms,
		.secret = secret,
	};

	*result = PGH_ERR_ENDPOINT_SYNTAX;
	if (nr_daemon_endpoint(&endpoint))
		*result = pgh_trigger_start(post->trigger, &endpoint, &request);
	return *result == PGH_OK;
}

/* One line when the outcome of a kind of request changes, none while it stays the same. */
void
nr_log_answer(const char *what, enum pgh_result result, int status, const char *detail)
{
	if (result == PGH_OK)
		ereport(LOG, (errmsg("daemon answered %s with status %d", what, status)));
	else if (result == PGH_ERR_PEER)
		ereport(LOG, (errmsg("could not send %s to the daemon: %s", what, pgh_result_text(result)),
		              errdetail_log("At the daemon's address, %s.", detail),
		              errhint("Find out who listens there. The daemon must run as the user of "
		                      "this server or as root.")));
	else
		ereport(LOG, (errmsg("could not send %s to the daemon: %s", what, pgh_result_text(result)),
		              detail[0] != '\0' ? errdetail_log("libcurl: %s.", detail) : 0));
}
