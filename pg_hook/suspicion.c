/*
 * What an event of our own pageserver client means.
 *
 * A failure is certain only if a server says itself that it does not have the tenant or shard.
 * Everything else may be a restart or a bad network and is suspect. Two ends of a connection are
 * not counted the first time: one while it was idle, and an orderly shutdown. An immediate
 * reconnect tells whether the server is back.
 */
#include <string.h>

#include "judgement.h"

/* ---- text --------------------------------------------------------------------------------- */

struct pgh_span
pgh_span_of(const char *text)
{
	return (struct pgh_span){ .at = text, .len = text == NULL ? 0 : strlen(text) };
}

bool
pgh_span_begins(struct pgh_span text, const char *prefix)
{
	size_t len = strlen(prefix);

	return len <= text.len && (len == 0 || memcmp(text.at, prefix, len) == 0);
}

static bool
span_equals(struct pgh_span text, const char *other)
{
	return text.len == strlen(other) && pgh_span_begins(text, other);
}

bool
pgh_span_contains(struct pgh_span text, const char *part)
{
	for (; text.len > 0; text.at++, text.len--)
		if (pgh_span_begins(text, part))
			return true;
	return *part == '\0';
}

struct pgh_span
pgh_span_behind(struct pgh_span text, const char *word)
{
	size_t len = strlen(word);

	for (; text.len >= len; text.at++, text.len--)
		if (pgh_span_begins(text, word))
			return (struct pgh_span){ .at = text.at + len, .len = text.len - len };
	return (struct pgh_span){ 0 };
}

/* ---- tables: the first row that matches decides ------------------------------------------- */

/* An ErrorResponse. */
struct server_rule
{
	enum pgh_phase from; /* first and last phase of the row */
	enum pgh_phase to;
	const char *sqlstate; /* prefix */
	const char *text;     /* NULL = any */
	bool whole;           /* the text is exactly this, not only its beginning */
	bool orderly;         /* worth one free reconnect */
	enum pgh_trouble trouble;
	enum pgh_certainty certainty;
};

#define HANDSHAKE PGH_PHASE_CONNECT, PGH_PHASE_PAGESTREAM
#define LOGIN     PGH_PHASE_CONNECT, PGH_PHASE_STARTUP
#define QUERY     PGH_PHASE_PAGESTREAM, PGH_PHASE_PAGESTREAM
#define STREAM    PGH_PHASE_RESPONSE, PGH_PHASE_RESPONSE
#define ALWAYS    PGH_PHASE_CONNECT, PGH_PHASE_RESPONSE
#define SUSPECT   PGH_CERTAINTY_SUSPECT
#define CERTAIN   PGH_CERTAINTY_CERTAIN
#define WRONG     PGH_TROUBLE_WRONG
#define DEAD      PGH_TROUBLE_DEAD
#define SILENT    PGH_TROUBLE_SILENT
#define NONSENSE  PGH_TROUBLE_NONSENSE

static const struct server_rule server_rules[] = {
	{ ALWAYS, "57P01", NULL, false, true, WRONG, SUSPECT },
	/* the tenant, or the shard of this page, is not here */
	{ STREAM, "08006", "reconnect", true, false, WRONG, CERTAIN },
	{ STREAM, "XX000", "not found", true, false, WRONG, CERTAIN },
	{ STREAM, "XX000", "Tenant is broken", false, false, WRONG, CERTAIN },
	/* the ten minutes of client silence ended just as we sent */
	{ STREAM, "08006", "timed out", true, true, SILENT, SUSPECT },
	{ STREAM, "08006", "Timed out waiting", false, false, SILENT, SUSPECT },
	{ STREAM, "08", NULL, false, false, DEAD, SUSPECT },
	{ STREAM, "57", NULL, false, false, WRONG, SUSPECT },
	{ STREAM, "XX000", "JWT authentication error", false, false, WRONG, SUSPECT },
	{ STREAM, "XX000", "reconnect to switch tenant", false, false, WRONG, SUSPECT },
	{ STREAM, "", NULL, false, false, NONSENSE, SUSPECT },
	/* not a pageserver at all */
	{ QUERY, "42", NULL, false, false, NONSENSE, SUSPECT },
	{ QUERY, "XX000", "unsupported command", false, false, NONSENSE, SUSPECT },
	{ QUERY, "08P01", NULL, false, false, NONSENSE, SUSPECT },
	/* not ready yet, or full */
	{ LOGIN, "57P03", NULL, false, false, DEAD, SUSPECT },
	{ HANDSHAKE, "53", NULL, false, false, DEAD, SUSPECT },
	{ HANDSHAKE, "", NULL, false, false, WRONG, SUSPECT },
};

/* An ERROR answer inside the stream, which goes on. What is not here is an error of its own
 * right (a bad request, a page that cannot be read) and says nothing about the place. */
struct page_rule
{
	const char *begins;
	const char *contains;
	enum pgh_trouble trouble;
	enum pgh_certainty certainty;
};

static const struct page_rule page_rules[] = {
	{ "Not found: Timed out waiting", "", SILENT, SUSPECT },
	{ "Not found: Tenant", "", WRONG, CERTAIN },
	{ "Not found: Timeline", "was not found", WRONG, CERTAIN },
	{ "Not found: ", "", WRONG, SUSPECT },
	{ "LSN timeout", "", SILENT, SUSPECT },
};

/* libpq's words, in connect and startup, where it gives no SQLSTATE. */
static const char *const nonsense_words[] = {
	"lost synchronization with server",
	"expected authentication request from server",
	"invalid response to SSL negotiation",
	"invalid response to GSSAPI negotiation",
	"unexpected response from server",
	"message contents do not agree",
	"message type 0x",
	"authentication method",
};

static const char *const refusal_words[] = {
	"ERROR:  ", "FATAL:  ", "fe_sendauth", "server does not support SSL", "certificate",
};

/* ---- judgement ---------------------------------------------------------------------------- */

static void
set_verdict(struct pgh_verdict *verdict, enum pgh_trouble trouble, enum pgh_certainty certainty)
{
	verdict->trouble = trouble;
	verdict->certainty = certainty;
}

void
pgh_judge_page_error(struct pgh_span text, struct pgh_verdict *verdict)
{
	for (size_t i = 0; i < sizeof(page_rules) / sizeof(page_rules[0]); i++)
	{
		const struct page_rule *rule = &page_rules[i];

		if (pgh_span_begins(text, rule->begins) && pgh_span_contains(text, rule->contains))
		{
			set_verdict(verdict, rule->trouble, rule->certainty);
			return;
		}
	}
}

static bool
contains_any(struct pgh_span text, const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (pgh_span_contains(text, words[i]))
			return true;
	return false;
}

enum pgh_trouble
pgh_judge_connection_text(struct pgh_span text)
{
	if (contains_any(text, nonsense_words, sizeof(nonsense_words) / sizeof(nonsense_words[0])))
		return NONSENSE;
	if (contains_any(text, refusal_words, sizeof(refusal_words) / sizeof(refusal_words[0])))
		return WRONG;
	return DEAD;
}

static bool
rule_matches(const struct server_rule *rule, enum pgh_phase phase, struct pgh_span sqlstate,
             struct pgh_span text)
{
	if (phase < rule->from || phase > rule->to || !pgh_span_begins(sqlstate, rule->sqlstate))
		return false;
	if (rule->text == NULL)
		return true;
	return rule->whole ? span_equals(text, rule->text) : pgh_span_begins(text, rule->text);
}

static void
judge_server_error(const struct pgh_client_event *event, struct pgh_span text,
                   struct pgh_verdict *verdict)
{
	struct pgh_span sqlstate = pgh_span_of(event->sqlstate);

	for (size_t i = 0; i < sizeof(server_rules) / sizeof(server_rules[0]); i++)
	{
		const struct server_rule *rule = &server_rules[i];

		if (!rule_matches(rule, event->phase, sqlstate, text))
			continue;
		if (rule->orderly && !event->already_retried)
			verdict->retry_at_once = true;
		else
			set_verdict(verdict, rule->trouble, rule->certainty);
		return;
	}
}

void
pgh_classify_client(const struct pgh_client_event *event, struct pgh_verdict *verdict)
{
	struct pgh_span text = { .at = event->text, .len = event->text == NULL ? 0 : event->text_len };

	*verdict = (struct pgh_verdict){ .source = PGH_SOURCE_PAGESERVER, .shard = -1 };
	switch (event->cause)
	{
		case PGH_CAUSE_ANSWER: verdict->useful = true; break;
		case PGH_CAUSE_CONNECTION:
			if (event->idle_before_request && !event->already_retried)
				verdict->retry_at_once = true;
			else if (event->phase == PGH_PHASE_RESPONSE)
				set_verdict(verdict, DEAD, SUSPECT);
			else
				set_verdict(verdict, pgh_judge_connection_text(text), SUSPECT);
			break;
		case PGH_CAUSE_DEADLINE: set_verdict(verdict, SILENT, SUSPECT); break;
		case PGH_CAUSE_SERVER_ERROR: judge_server_error(event, text, verdict); break;
		case PGH_CAUSE_PAGE_ERROR: pgh_judge_page_error(text, verdict); break;
		case PGH_CAUSE_MALFORMED: set_verdict(verdict, NONSENSE, SUSPECT); break;
	}
}

bool
pgh_verdict_raises(const struct pgh_verdict *verdict, uint32_t consecutive_failures,
                   uint32_t failure_threshold)
{
	switch (verdict->certainty)
	{
		case PGH_CERTAINTY_NONE: return false;
		case PGH_CERTAINTY_SUSPECT: return consecutive_failures >= failure_threshold;
		case PGH_CERTAINTY_CERTAIN: return true;
	}
	return false;
}
