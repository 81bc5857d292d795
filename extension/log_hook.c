/*
 * Trouble that other parts of the server report in their own words: the walreceiver, and beside
 * Neon's library its pageserver client and walproposer.
 *
 * emit_log_hook runs in every process, with locks held or inside a signal handler, and in the
 * syslogger, which has no shared memory (touching it there would end the server). So: leave
 * unless this kind of process is on the list; then atomics and SetLatch only.
 */
#include "prelude.h"

#include "guc.h"
#include "log_hook.h"
#include "shmem.h"
#include "trouble.h"

static emit_log_hook_type previous_hook = NULL;

static bool
listens_here(void)
{
	switch (MyBackendType)
	{
		case B_WAL_RECEIVER: return true;
		case B_BACKEND:
		case B_BG_WORKER:
		case B_AUTOVAC_WORKER:
		case B_STARTUP:
		case B_CHECKPOINTER:
		case B_BG_WRITER: return nr_beside_neon;
		default: return false;
	}
}

static void
judge(const ErrorData *report)
{
	struct pgh_verdict verdict;
	const char *sqlstate = unpack_sql_state(report->sqlerrcode);

	if (pgh_classify_report(MyBackendType == B_WAL_RECEIVER, sqlstate, report->message_id,
	                        report->message, report->detail, &verdict) &&
	    (verdict.useful || verdict.certainty != PGH_CERTAINTY_NONE))
		nr_trouble_reported(&verdict, sqlstate, report->message);
}

static void
on_report(ErrorData *report)
{
	static bool inside = false;

	if (previous_hook)
		previous_hook(report);
	if (nr_shared == NULL || !IsUnderPostmaster || !listens_here() || inside)
		return;
	inside = true;
	judge(report);
	inside = false;
}

void
nr_log_hook_install(void)
{
	previous_hook = emit_log_hook;
	emit_log_hook = on_report;
}
