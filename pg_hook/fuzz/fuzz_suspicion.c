/*
 * Texts of servers and reports of others: format string, message and detail apart by newlines,
 * the first byte chooses phase, cause and process.
 */
#include "fuzz.h"
#include "pg_hook.h"

static void
check_verdict(const struct pgh_verdict *verdict)
{
	MUST((verdict->certainty == PGH_CERTAINTY_NONE) == (verdict->trouble == PGH_TROUBLE_NONE));
	MUST(verdict->shard >= -1 && verdict->shard < PGH_MAX_SHARDS);
	MUST(!verdict->useful || verdict->certainty == PGH_CERTAINTY_NONE);
}

/* Whatever is said: a stream ends once, and counts only if it ends again after a reconnect. */
static void
check_stream(struct pgh_verdict *verdict, const char *message, const char *endpoint)
{
	struct pgh_stream stream = { 0 };
	enum pgh_report_endpoint names = pgh_report_names(message, endpoint);
	enum pgh_report_value value = pgh_stream_report(&stream, verdict, names, 1, 1000);

	MUST(names == PGH_REPORT_ENDPOINT_UNKNOWN || strchr(message, '"') != NULL ||
	     strchr(message, '\'') != NULL);
	if (verdict->stream == PGH_STREAM_ENDED)
	{
		MUST(value == PGH_REPORT_WAITS);
		MUST(pgh_stream_report(&stream, verdict, names, 1, 1001) == PGH_REPORT_REPEATS);
	}
}

static char *
cut_line(char *text)
{
	char *end = strchr(text, '\n');

	if (end == NULL)
		return text + strlen(text);
	*end = '\0';
	return end + 1;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const states[] = { "", "08006", "57P01", "XX000", "58030", "55000", "0" };
	struct pgh_client_event event = { 0 };
	struct pgh_verdict verdict;
	const char *sqlstate;
	char *text;
	char *message;
	char *detail;

	if (size < 2)
		return 0;
	sqlstate = states[data[1] % (sizeof(states) / sizeof(states[0]))];
	event.phase = (enum pgh_phase)(data[0] & 3);
	event.cause = (enum pgh_cause)((data[0] >> 2 & 7) % 6);
	event.already_retried = (data[0] & 64) != 0;
	event.idle_before_request = (data[0] & 128) != 0;
	event.sqlstate = sqlstate;
	event.text = (const char *) data + 2; /* no NUL behind it */
	event.text_len = size - 2;
	pgh_classify_client(&event, &verdict);
	check_verdict(&verdict);

	text = fuzz_string(data + 2, size - 2);
	message = cut_line(text);
	detail = cut_line(message);
	(void) pgh_classify_report((data[0] & 32) != 0, sqlstate, text, message, detail, &verdict);
	check_verdict(&verdict);
	check_stream(&verdict, message, detail);
	free(text);
	return 0;
}
