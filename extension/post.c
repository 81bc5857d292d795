/*
 * One kind of request to the daemon, on an HTTP handle of its own. Starting and going on never
 * block; the worker's loop waits for all handles at once.
 *
 * The client comes from a library that only this process loads, so that no backend has libcurl
 * and the libraries it needs. It is loaded here and not named by bgw_library_name: the server
 * would load that before any code of ours, and a library that is missing would mean an error
 * without a hint once a second.
 */
#include "prelude.h"

#include "guc.h"
#include "http_client.h"
#include "worker.h"

#define LIBRARY  "neon_refresh_http"
#define FUNCTION "neon_refresh_http_client_init"

static const NrHttpClient *client = NULL;

static void
load_client(void)
{
	NrHttpClientInit init =
		(NrHttpClientInit) (void *) load_external_function(LIBRARY, FUNCTION, true, NULL);
	const NrHttpClient *loaded = init();

	/* a package that is upgraded under a running server brings the new library to a restarted
	 * worker, while neon_refresh.so is still the old one */
	if (loaded->abi != NR_HTTP_CLIENT_ABI)
		ereport(ERROR,
		        (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		         errmsg("the installed \"%s\" is not of the version of the loaded neon_refresh",
		                LIBRARY)));
	if (loaded->global_init() != PGH_OK)
		ereport(ERROR, (errmsg("could not initialise libcurl")));
	client = loaded;
}

bool
nr_post_load_client(void)
{
	MemoryContext before = CurrentMemoryContext;

	PG_TRY();
	{
		load_client();
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(before);
		error = CopyErrorData();
		FlushErrorState();
		ereport(WARNING,
		        (errcode(error->sqlerrcode),
		         errmsg("the server cannot heal itself: the refresh worker has no HTTP client"),
		         errdetail_internal("%s.", error->message),
		         errhint("Install neon_refresh_http.so and libcurl; after an upgrade restart the "
		                 "server. The worker tries again in a minute and at each reload.")));
	}
	PG_END_TRY();
	return client != NULL;
}

void
nr_post_init(NrPost *post, const char *path, const char *name)
{
	enum pgh_result result = client->create(&post->trigger);

	post->path = path;
	post->name = name;
	if (result != PGH_OK)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY),
		                errmsg("could not set up libcurl: %s", pgh_result_text(result))));
}

void
nr_post_close(NrPost *post)
{
	client->destroy(post->trigger);
	post->trigger = NULL;
}

/* False if the request could not even start: *outcome says why. A secret body is sent to a process
 * of our own user or of root only. */
bool
nr_post_start(NrPost *post, const StringInfo body, bool secret, NrPostOutcome *outcome)
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

	*outcome = (NrPostOutcome){ .result = PGH_ERR_ENDPOINT_SYNTAX, .detail = "" };
	if (nr_daemon_endpoint(&endpoint))
		outcome->result = client->start(post->trigger, &endpoint, &request);
	return outcome->result == PGH_OK;
}

bool
nr_post_in_flight(const NrPost *post)
{
	return client->in_flight(post->trigger);
}

size_t
nr_post_fds(NrPost *post, struct pgh_wait_fd *fds, long *timeout_ms)
{
	int32_t left_ms;
	size_t count = client->fds(post->trigger, fds, PGH_TRIGGER_FDS_MAX, &left_ms);

	*timeout_ms = left_ms;
	return count;
}

bool
nr_post_step(NrPost *post, const struct pgh_wait_fd *fds, size_t fd_count, NrPostOutcome *outcome)
{
	struct pgh_answer answer;

	if (!client->in_flight(post->trigger) || !client->step(post->trigger, fds, fd_count))
		return false;
	outcome->result = client->result(post->trigger, &answer);
	outcome->status = answer.http_status;
	outcome->detail = client->detail(post->trigger);
	return true;
}

void
nr_post_log(NrPost *post, const NrPostOutcome *outcome)
{
	const char *reason = pgh_result_text(outcome->result);
	const char *detail = outcome->detail;

	if (outcome->result == post->logged_result && outcome->status == post->logged_status)
		return;
	post->logged_result = outcome->result;
	post->logged_status = outcome->status;
	if (outcome->result == PGH_OK)
		ereport(LOG, (errmsg("daemon answered %s with status %d", post->name, outcome->status)));
	else if (outcome->result == PGH_ERR_PEER)
		ereport(LOG, (errmsg("could not send %s to the daemon: %s", post->name, reason),
		              errdetail_log("At the daemon's address, %s.", detail),
		              errhint("Find out who listens there. The daemon must run as the user of "
		                      "this server or as root.")));
	else
		ereport(LOG, (errmsg("could not send %s to the daemon: %s", post->name, reason),
		              detail[0] != '\0' ? errdetail_log("libcurl: %s.", detail) : 0));
}
