/*
 * pg_hook: the decisions of compute-refresh that need neither PostgreSQL nor Python.
 *
 * Rules: no host header, no globals, no clock but in the trigger (time in microseconds is an
 * argument), memory is the caller's. Every struct is plain: it may be copied, compared after
 * memset, and kept in shared memory (but for struct pgh_trigger, which belongs to one process).
 * All strings are NUL-terminated unless they have a length parameter. An object may be used by
 * one thread at a time; distinct objects are independent.
 *
 * One header a noun. The Python binding reads those that are included here, in this order and
 * without the lines that start with '#', so there are no macros, attributes or conditionals among
 * the declarations.
 */
#ifndef PG_HOOK_H
#define PG_HOOK_H

#include "pgh/result.h"
#include "pgh/shard_map.h"
#include "pgh/pagestream.h"
#include "pgh/suspicion.h"
#include "pgh/report.h"
#include "pgh/peer.h"
#include "pgh/pacing.h"
#include "pgh/policy.h"
#include "pgh/endpoint.h"
#include "pgh/trigger.h"
#include "pgh/redact.h"

#endif
