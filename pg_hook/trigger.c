/*
 * One HTTP POST to the daemon over libcurl's multi interface.
 *
 * libcurl never waits here: it names descriptors and a time, the host waits in its own way
 * (PostgreSQL on its latch, Python on poll) and steps. One handle is one libcurl multi handle
 * with one easy handle, so that its connection is kept. Nothing is taken from the environment:
 * no proxy, no .netrc, no redirect to somewhere else.
 *
 * Rules: pgh_trigger_global_init before the first handle, in the process that sends; a handle
 * must not cross a fork.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trigger_handle.h"

#if LIBCURL_VERSION_NUM < 0x072800
#error "libcurl 7.40 or newer is needed for unix sockets"
#endif

/* ---- the handle --------------------------------------------------------------------------- */

enum pgh_result
pgh_trigger_global_init(void)
{
	/* plain HTTP: the TLS library is left to the host */
	return curl_global_init(CURL_GLOBAL_NOTHING) == CURLE_OK ? PGH_OK : PGH_ERR_LIBRARY;
}

enum pgh_result
pgh_trigger_new(struct pgh_trigger **trigger)
{
	struct pgh_trigger *made = calloc(1, sizeof(*made));

	*trigger = NULL;
	if (made == NULL)
		return PGH_ERR_NO_MEMORY;
	made->result = PGH_ERR_NOT_DONE;
	made->timer_ms = -1;
	made->peer.fd = -1;
	made->multi = curl_multi_init();
	made->easy = curl_easy_init();
	if (made->multi == NULL || made->easy == NULL || !pgh_trigger_set_options(made))
	{
		pgh_trigger_free(made);
		return PGH_ERR_LIBRARY;
	}
	*trigger = made;
	return PGH_OK;
}

static void
leave_flight(struct pgh_trigger *trigger, enum pgh_result result)
{
	if (!trigger->in_flight)
		return;
	/* an unfinished transfer's connection is closed by this, a finished one's is kept */
	(void) curl_multi_remove_handle(trigger->multi, trigger->easy);
	curl_slist_free_all(trigger->headers);
	trigger->headers = NULL;
	free(trigger->upload);
	trigger->upload = NULL;
	trigger->in_flight = false;
	trigger->result = result;
	trigger->timer_ms = -1;
	trigger->body[trigger->body_len < PGH_ANSWER_KEPT ? trigger->body_len : PGH_ANSWER_KEPT] = '\0';
}

void
pgh_trigger_cancel(struct pgh_trigger *trigger)
{
	leave_flight(trigger, PGH_ERR_INTERRUPTED);
}

void
pgh_trigger_free(struct pgh_trigger *trigger)
{
	if (trigger == NULL)
		return;
	pgh_trigger_cancel(trigger);
	if (trigger->easy != NULL)
		curl_easy_cleanup(trigger->easy);
	if (trigger->multi != NULL)
		(void) curl_multi_cleanup(trigger->multi);
	free(trigger);
}

/* ---- start -------------------------------------------------------------------------------- */

static bool
append_header(struct pgh_trigger *trigger, const char *line)
{
	struct curl_slist *longer = curl_slist_append(trigger->headers, line);

	if (longer == NULL)
		return false;
	trigger->headers = longer;
	return true;
}

static bool
set_headers(struct pgh_trigger *trigger, const struct pgh_post *post)
{
	/* no second round trip before a body, and a type only where there is something to type */
	bool ok = append_header(trigger, "Expect:") &&
	          append_header(trigger, post->body_len > 0 ? "Content-Type: application/json"
	                                                    : "Content-Type:");

	for (size_t i = 0; ok && i < post->header_count; i++)
		ok = append_header(trigger, post->headers[i]);
	return ok && curl_easy_setopt(trigger->easy, CURLOPT_HTTPHEADER, trigger->headers) == CURLE_OK;
}

static bool
set_url(struct pgh_trigger *trigger, const struct pgh_endpoint *endpoint, const char *path)
{
	char url[PGH_BASE_URL_SIZE + 256];
	size_t base_len = strlen(endpoint->base_url);
	size_t path_len = strlen(path);
	const char *unix_path = endpoint->unix_path[0] == '\0' ? NULL : endpoint->unix_path;

	if (base_len + path_len >= sizeof(url))
		return false;
	memcpy(url, endpoint->base_url, base_len);
	memcpy(url + base_len, path, path_len + 1);
	return curl_easy_setopt(trigger->easy, CURLOPT_URL, url) == CURLE_OK &&
	       curl_easy_setopt(trigger->easy, CURLOPT_UNIX_SOCKET_PATH, unix_path) == CURLE_OK;
}

/* libcurl reuses its connection unless that is another endpoint's, or its peer was not checked. */
static bool
set_connection(struct pgh_trigger *trigger, const struct pgh_endpoint *endpoint)
{
	bool same = strcmp(trigger->endpoint.base_url, endpoint->base_url) == 0 &&
	            strcmp(trigger->endpoint.unix_path, endpoint->unix_path) == 0;
	long fresh = !same || (trigger->secret && !trigger->peer.trusted) ? 1 : 0;

	trigger->endpoint = *endpoint;
	return curl_easy_setopt(trigger->easy, CURLOPT_FRESH_CONNECT, fresh) == CURLE_OK;
}

static bool
keep_upload(struct pgh_trigger *trigger, const struct pgh_post *post)
{
	trigger->upload_at = 0;
	trigger->upload_len = post->body_len;
	trigger->upload = malloc(post->body_len);
	if (trigger->upload == NULL)
		return false;
	memcpy(trigger->upload, post->body, post->body_len);
	return true;
}

static bool
set_body(struct pgh_trigger *trigger, const struct pgh_post *post)
{
	const char *body = post->body_len > 0 ? (const char *) post->body : "";

	if (trigger->secret)
	{
		if (!keep_upload(trigger, post))
			return false;
		body = NULL; /* on_upload gives it */
	}
	/* the size must be known before the copy */
	return curl_easy_setopt(trigger->easy, CURLOPT_POST, 1L) == CURLE_OK &&
	       curl_easy_setopt(trigger->easy, CURLOPT_POSTFIELDSIZE_LARGE,
	                        (curl_off_t) post->body_len) == CURLE_OK &&
	       curl_easy_setopt(trigger->easy, CURLOPT_COPYPOSTFIELDS, body) == CURLE_OK;
}

static bool
valid_post(const struct pgh_post *post)
{
	if (post->path == NULL || post->path[0] != '/' || post->timeout_ms == 0 ||
	    post->timeout_ms > INT32_MAX || (post->body == NULL && post->body_len > 0) ||
	    (post->headers == NULL && post->header_count > 0))
		return false;
	for (const char *at = post->path; *at != '\0'; at++)
		if ((unsigned char) *at <= ' ' || *at == 0x7f)
			return false;
	for (size_t i = 0; i < post->header_count; i++)
		for (const char *at = post->headers[i]; *at != '\0'; at++)
			if ((unsigned char) *at < ' ' && *at != '\t')
				return false;
	return true;
}

enum pgh_result
pgh_trigger_start(struct pgh_trigger *trigger, const struct pgh_endpoint *endpoint,
                  const struct pgh_post *post)
{
	long timeout_ms = (long) post->timeout_ms;

	if (trigger->in_flight)
		return PGH_ERR_BUSY;
	if (!valid_post(post) || endpoint->base_url[0] == '\0')
		return PGH_ERR_ARGUMENT;
	trigger->result = PGH_ERR_NOT_DONE;
	trigger->answer_too_long = false;
	trigger->http_status = 0;
	trigger->header_len = 0;
	trigger->body_len = 0;
	trigger->detail[0] = '\0';
	trigger->secret = post->secret && post->body_len > 0;
	trigger->peer_refused = false;
	trigger->deadline_ms = pgh_clock_ms() + timeout_ms;
	trigger->in_flight = true; /* from here on, leave_flight cleans up */
	if (!set_connection(trigger, endpoint) || !set_url(trigger, endpoint, post->path) ||
	    !set_headers(trigger, post) || !set_body(trigger, post) ||
	    curl_easy_setopt(trigger->easy, CURLOPT_TIMEOUT_MS, timeout_ms) != CURLE_OK ||
	    curl_easy_setopt(trigger->easy, CURLOPT_CONNECTTIMEOUT_MS, timeout_ms) != CURLE_OK ||
	    curl_multi_add_handle(trigger->multi, trigger->easy) != CURLM_OK)
	{
		leave_flight(trigger, PGH_ERR_LIBRARY);
		return PGH_ERR_LIBRARY;
	}
	return PGH_OK;
}

/* ---- go on -------------------------------------------------------------------------------- */

bool
pgh_trigger_in_flight(const struct pgh_trigger *trigger)
{
	return trigger->in_flight;
}

size_t
pgh_trigger_fds(struct pgh_trigger *trigger, struct pgh_wait_fd *fds, size_t fds_size,
                int32_t *timeout_ms)
{
	size_t count = 0;
	int64_t wake_ms = trigger->deadline_ms;
	int64_t left_ms;

	*timeout_ms = -1;
	if (!trigger->in_flight)
		return 0;
	for (; count < trigger->fd_count && count < fds_size; count++)
		fds[count] = trigger->fds[count];
	if (trigger->timer_ms >= 0 && trigger->timer_ms < wake_ms)
		wake_ms = trigger->timer_ms;
	left_ms = wake_ms - pgh_clock_ms();
	*timeout_ms = left_ms < 0 ? 0 : (int32_t) left_ms;
	return count;
}

static enum pgh_result
result_of(const struct pgh_trigger *trigger, CURLcode code)
{
	switch (code)
	{
		case CURLE_OK: return PGH_OK;
		case CURLE_COULDNT_CONNECT: return PGH_ERR_CONNECT;
		case CURLE_OPERATION_TIMEDOUT: return PGH_ERR_TIMEOUT;
		case CURLE_OUT_OF_MEMORY: return PGH_ERR_NO_MEMORY;
		case CURLE_WRITE_ERROR:
			return trigger->answer_too_long ? PGH_ERR_ANSWER_SIZE : PGH_ERR_LIBRARY;
		case CURLE_SEND_ERROR:
		case CURLE_RECV_ERROR:
		case CURLE_GOT_NOTHING:
		case CURLE_PARTIAL_FILE:
		case CURLE_UNSUPPORTED_PROTOCOL: /* an answer that is not HTTP */
		case CURLE_WEIRD_SERVER_REPLY:
		case CURLE_BAD_CONTENT_ENCODING: return PGH_ERR_LOST;
		default: return PGH_ERR_LIBRARY;
	}
}

static void
describe_peer(struct pgh_trigger *trigger)
{
	if (trigger->peer.known)
		snprintf(trigger->detail, sizeof(trigger->detail), "user id %lu listens",
		         (unsigned long) trigger->peer.uid);
	else
		snprintf(trigger->detail, sizeof(trigger->detail), "it is not known who listens");
}

static void
collect(struct pgh_trigger *trigger)
{
	int left;
	CURLMsg *message;

	while ((message = curl_multi_info_read(trigger->multi, &left)) != NULL)
	{
		enum pgh_result result;
		long status = 0;

		if (message->msg != CURLMSG_DONE)
			continue;
		result = result_of(trigger, message->data.result);
		if (trigger->peer_refused)
		{
			result = PGH_ERR_PEER;
			describe_peer(trigger);
		}
		if (result == PGH_OK &&
		    curl_easy_getinfo(trigger->easy, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK)
			trigger->http_status = (int32_t) status;
		leave_flight(trigger, result);
		return; /* message points into what leave_flight has changed */
	}
}

static void
act(struct pgh_trigger *trigger, curl_socket_t fd, int what)
{
	int running;

	if (curl_multi_socket_action(trigger->multi, fd, what, &running) != CURLM_OK)
		leave_flight(trigger, PGH_ERR_LIBRARY);
}

static bool
is_watched(const struct pgh_trigger *trigger, int32_t fd)
{
	for (size_t i = 0; i < trigger->fd_count; i++)
		if (trigger->fds[i].fd == fd)
			return true;
	return false;
}

bool
pgh_trigger_step(struct pgh_trigger *trigger, const struct pgh_wait_fd *fds, size_t fd_count)
{
	for (size_t i = 0; i < fd_count && trigger->in_flight; i++)
	{
		int what = (fds[i].ready & PGH_WAIT_READ ? CURL_CSELECT_IN : 0) |
		           (fds[i].ready & PGH_WAIT_WRITE ? CURL_CSELECT_OUT : 0);

		if (what != 0 && is_watched(trigger, fds[i].fd))
			act(trigger, fds[i].fd, what);
	}
	if (trigger->in_flight && trigger->timer_ms >= 0 && pgh_clock_ms() >= trigger->timer_ms)
	{
		trigger->timer_ms = -1;
		act(trigger, CURL_SOCKET_TIMEOUT, 0);
	}
	if (trigger->in_flight)
		collect(trigger);
	/* libcurl's own timeout comes first; this is for a library that forgets */
	if (trigger->in_flight && pgh_clock_ms() > trigger->deadline_ms)
	{
		act(trigger, CURL_SOCKET_TIMEOUT, 0);
		collect(trigger);
		leave_flight(trigger, PGH_ERR_TIMEOUT);
	}
	return !trigger->in_flight;
}

/* ---- result ------------------------------------------------------------------------------- */

enum pgh_result
pgh_trigger_result(const struct pgh_trigger *trigger, struct pgh_answer *answer)
{
	*answer = (struct pgh_answer){ 0 };
	if (trigger->result == PGH_OK)
	{
		answer->http_status = trigger->http_status;
		answer->body_len = trigger->body_len;
		answer->body = trigger->body;
	}
	return trigger->result;
}

const char *
pgh_trigger_detail(const struct pgh_trigger *trigger)
{
	return trigger->detail;
}

enum pgh_result
pgh_trigger_post(struct pgh_trigger *trigger, const struct pgh_endpoint *endpoint,
                 const struct pgh_post *post, pgh_wait_fn wait, void *context,
                 struct pgh_answer *answer)
{
	struct pgh_wait_fd fds[PGH_TRIGGER_FDS_MAX];
	size_t count = 0;
	enum pgh_result result = pgh_trigger_start(trigger, endpoint, post);

	*answer = (struct pgh_answer){ 0 };
	if (result != PGH_OK)
		return result;
	while (!pgh_trigger_step(trigger, fds, count))
	{
		int32_t timeout_ms;

		count = pgh_trigger_fds(trigger, fds, PGH_TRIGGER_FDS_MAX, &timeout_ms);
		if (!wait(context, fds, count, timeout_ms))
			pgh_trigger_cancel(trigger);
	}
	return pgh_trigger_result(trigger, answer);
}
