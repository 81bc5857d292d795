/*
 * What libcurl calls while a request is under way, and the options that are the same for all.
 */
#define _GNU_SOURCE /* SOCK_CLOEXEC */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "trigger_handle.h"

int64_t
pgh_clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static size_t
on_body(char *data, size_t size, size_t count, void *user)
{
	struct pgh_trigger *trigger = user;
	size_t len = size * count;

	if (len > PGH_ANSWER_MAX - trigger->body_len)
	{
		trigger->answer_too_long = true;
		return 0; /* ends the transfer */
	}
	if (trigger->body_len < PGH_ANSWER_KEPT)
	{
		size_t room = PGH_ANSWER_KEPT - trigger->body_len;

		memcpy(trigger->body + trigger->body_len, data, len < room ? len : room);
	}
	trigger->body_len += len;
	return len;
}

/* Header lines come here; they only must not go on for ever. */
static size_t
on_header(char *data, size_t size, size_t count, void *user)
{
	struct pgh_trigger *trigger = user;
	size_t len = size * count;

	(void) data;
	if (len > PGH_ANSWER_MAX - trigger->header_len)
	{
		trigger->answer_too_long = true;
		return 0;
	}
	trigger->header_len += len;
	return len;
}

static curl_socket_t
on_open(void *user, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct pgh_trigger *trigger = user;
	int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);

	(void) purpose;
	if (fd < 0)
		return CURL_SOCKET_BAD;
	if (trigger->secret)
		trigger->peer_refused =
			!pgh_peer_user_before(&trigger->peer, fd, &address->addr, address->addrlen);
	else
		trigger->peer = (struct pgh_peer_user){ .fd = -1 };
	if (!trigger->peer_refused)
		return fd;
	close(fd);
	return CURL_SOCKET_BAD;
}

/* The body of a secret request. libcurl sends the head first, so there is a connection. */
static size_t
on_upload(char *to, size_t size, size_t count, void *user)
{
	struct pgh_trigger *trigger = user;
	size_t left = trigger->upload_len - trigger->upload_at;
	size_t len = size * count < left ? size * count : left;

	trigger->peer_refused = !pgh_peer_user_after(&trigger->peer);
	if (trigger->peer_refused)
		return CURL_READFUNC_ABORT;
	if (len > 0)
		memcpy(to, trigger->upload + trigger->upload_at, len);
	trigger->upload_at += len;
	return len;
}

/* The kept connection was closed by the daemon: the request is sent once more. */
static int
on_rewind(void *user, curl_off_t offset, int origin)
{
	struct pgh_trigger *trigger = user;

	if (origin != SEEK_SET || offset != 0)
		return CURL_SEEKFUNC_CANTSEEK;
	trigger->upload_at = 0;
	return CURL_SEEKFUNC_OK;
}

static uint32_t
events_of(int what)
{
	switch (what)
	{
		case CURL_POLL_IN: return PGH_WAIT_READ;
		case CURL_POLL_OUT: return PGH_WAIT_WRITE;
		case CURL_POLL_INOUT: return PGH_WAIT_READ | PGH_WAIT_WRITE;
		default: return 0; /* CURL_POLL_REMOVE */
	}
}

static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *user, void *unused)
{
	struct pgh_trigger *trigger = user;
	size_t i = 0;

	(void) easy;
	(void) unused;
	while (i < trigger->fd_count && trigger->fds[i].fd != (int32_t) fd)
		i++;
	if (events_of(what) == 0)
	{
		if (i < trigger->fd_count)
			trigger->fds[i] = trigger->fds[--trigger->fd_count];
		return 0;
	}
	if (i == PGH_TRIGGER_FDS_MAX)
		return -1;
	if (i == trigger->fd_count)
		trigger->fd_count++;
	trigger->fds[i] = (struct pgh_wait_fd){ .fd = (int32_t) fd, .events = events_of(what) };
	return 0;
}

static int
on_timer(CURLM *multi, long timeout_ms, void *user)
{
	struct pgh_trigger *trigger = user;

	(void) multi;
	trigger->timer_ms = timeout_ms < 0 ? -1 : pgh_clock_ms() + timeout_ms;
	return 0;
}

bool
pgh_trigger_set_options(struct pgh_trigger *trigger)
{
	CURL *easy = trigger->easy;
	CURLM *multi = trigger->multi;
	bool ok =
		curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket) == CURLM_OK &&
		curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, trigger) == CURLM_OK &&
		curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer) == CURLM_OK &&
		curl_multi_setopt(multi, CURLMOPT_TIMERDATA, trigger) == CURLM_OK &&
		/* one connection is known by its peer, so no other may be kept */
		curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, 1L) == CURLM_OK &&
		curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, trigger->detail) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_WRITEDATA, trigger) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_HEADERDATA, trigger) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, trigger) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_upload) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_READDATA, trigger) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, on_rewind) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_SEEKDATA, trigger) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_PROXY, "") == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_NOPROXY, "*") == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_MAXCONNECTS, 1L) == CURLE_OK &&
		curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1) == CURLE_OK;

#if LIBCURL_VERSION_NUM >= 0x075500
	ok = ok && curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http") == CURLE_OK;
#else
	ok = ok && curl_easy_setopt(easy, CURLOPT_PROTOCOLS, (long) CURLPROTO_HTTP) == CURLE_OK;
#endif
	return ok;
}
