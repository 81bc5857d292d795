/*
 * Everything the client writes to the server log or to the SQL client.
 */
#ifndef NR_REPORT_H
#define NR_REPORT_H

#include "client.h"
#include "events.h"

/* The state of a shard changed. LOG. again: it serves some requests and fails others; nothing more
 * is logged until none has failed for quiet_ms. */
void nr_log_shard_failed(const NrEventData *failure, bool again, uint64 quiet_ms);
void nr_log_shard_recovered(uint32 shard, TimestampTz failing_since);

/* A long wait for an answer; once a shard, see nr_silence_claimed. LOG. */
void nr_log_no_response(uint32 shard, uint64 waited_us);

/* ERROR: they do not return. */
_Noreturn void nr_error_not_configured(void);
_Noreturn void nr_error_gave_up(const NrTask *task, int limit_ms);
_Noreturn void nr_error_malformed(const NrTask *task);
_Noreturn void nr_error_page(const NrTask *task);
_Noreturn void nr_error_no_descriptor(void);

#endif
