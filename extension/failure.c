/*
 * The failure of a request, as it is first known: in libpq's or the server's words.
 */
#include "prelude.h"

#include "client.h"

NrOutcome
nr_fail(NrTask *task, enum pgh_phase phase, enum pgh_cause cause, const char *sqlstate,
        const char *text)
{
	NrFailure *failure = &task->failure;

	memset(failure, 0, sizeof(*failure));
	failure->phase = phase;
	failure->cause = cause;
	nr_sqlstate_copy(failure->sqlstate, sqlstate);
	/* before it is cut: half a URL does not show where its password ends */
	if (text != NULL)
		(void) pgh_redact(text, strcspn(text, "\n"), failure->text, sizeof(failure->text));
	return NR_FAILED;
}
