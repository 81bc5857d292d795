/*
 * The trigger: one HTTP POST to the daemon.
 */
#ifndef PGH_TRIGGER_H
#define PGH_TRIGGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "endpoint.h"
#include "result.h"

enum
{
	PGH_ANSWER_MAX = 65536, /* a longer answer ends the request */
	PGH_ANSWER_KEPT = 4096, /* bytes of it that are kept */
	PGH_TRIGGER_FDS_MAX = 8,
	PGH_WAIT_READ = 1,
	PGH_WAIT_WRITE = 2
};

struct pgh_post
{
	const char *path;    /* begins with '/' */
	const uint8_t *body; /* copied by pgh_trigger_start; may be NULL if body_len is 0 */
	size_t body_len;
	const char *const *headers; /* "Name: value" lines, copied; may be NULL */
	size_t header_count;
	uint32_t timeout_ms; /* all together; at least 1 */
	bool secret;         /* send the body to a process of our own user or of root only */
};

struct pgh_answer
{
	int32_t http_status;
	size_t body_len;     /* bytes received */
	const uint8_t *body; /* the first min(body_len, PGH_ANSWER_KEPT), then a NUL; valid until
						  * the next start or free of the handle */
};

struct pgh_wait_fd
{
	int32_t fd;
	uint32_t events; /* PGH_WAIT_*: what to wait for */
	uint32_t ready;  /* PGH_WAIT_*: what came; set by the waiter, error or hangup = events */
};

struct pgh_trigger;

/* Once in the process that sends, before the first handle; never in the postmaster. */
enum pgh_result pgh_trigger_global_init(void);

/* A handle keeps its connection between requests. Two handles are independent. */
enum pgh_result pgh_trigger_new(struct pgh_trigger **trigger);
void pgh_trigger_free(struct pgh_trigger *trigger); /* NULL is fine; ends a request in flight */

/* Begin; PGH_ERR_BUSY if a request is in flight. Nothing blocks. */
enum pgh_result pgh_trigger_start(struct pgh_trigger *trigger, const struct pgh_endpoint *endpoint,
                                  const struct pgh_post *post);

/* What to wait for now, at most fds_size (PGH_TRIGGER_FDS_MAX is enough) descriptors, and for
 * how long; they may change with every step. 0 and -1 when no request is in flight. */
size_t pgh_trigger_fds(struct pgh_trigger *trigger, struct pgh_wait_fd *fds, size_t fds_size,
                       int32_t *timeout_ms);

/* Go on with what is ready (from pgh_trigger_fds; fd_count 0 = only time passed). Entries that
 * are not this handle's are skipped. True when the request has ended: see pgh_trigger_result. */
bool pgh_trigger_step(struct pgh_trigger *trigger, const struct pgh_wait_fd *fds, size_t fd_count);

bool pgh_trigger_in_flight(const struct pgh_trigger *trigger);

/* How the last request ended. PGH_OK: an HTTP answer of any status is in *answer. Else *answer
 * is empty; PGH_ERR_NOT_DONE while in flight or before the first start. */
enum pgh_result pgh_trigger_result(const struct pgh_trigger *trigger, struct pgh_answer *answer);

/* libcurl's words for the last failure, "" if there are none. PGH_ERR_PEER: who listens. */
const char *pgh_trigger_detail(const struct pgh_trigger *trigger);

/* End a request in flight (result: PGH_ERR_INTERRUPTED); its connection is closed. */
void pgh_trigger_cancel(struct pgh_trigger *trigger);

/* Wait for any of the descriptors or timeout_ms (-1 = none) and fill in their ready; false = the
 * host wants to stop. Spurious returns are fine. */
typedef bool (*pgh_wait_fn)(void *context, struct pgh_wait_fd *fds, size_t fd_count,
                            int32_t timeout_ms);

/* Start, step and result in one, waiting by the host's function. */
enum pgh_result pgh_trigger_post(struct pgh_trigger *trigger, const struct pgh_endpoint *endpoint,
                                 const struct pgh_post *post, pgh_wait_fn wait, void *context,
                                 struct pgh_answer *answer);

#endif
