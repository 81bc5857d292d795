/*
 * What the reports of others mean: Neon's pageserver client, its walproposer, and PostgreSQL's
 * walreceiver.
 *
 * Matched is the format string, which is neither translated nor filled in: an SQL user who
 * raises an error with the same words has "%s" there. Values (shard, node) are taken from the
 * message. Called from inside ereport, maybe with locks held or in a signal handler.
 */
#include <string.h>

#include "suspicion.h"

#define SUSPECT  PGH_CERTAINTY_SUSPECT
#define CERTAIN  PGH_CERTAINTY_CERTAIN
#define WRONG    PGH_TROUBLE_WRONG
#define DEAD     PGH_TROUBLE_DEAD
#define SILENT   PGH_TROUBLE_SILENT
#define NONSENSE PGH_TROUBLE_NONSENSE

enum meaning
{
	TROUBLE,
	TROUBLE_OR_REFUSAL, /* the values hold libpq's words, which may tell more */
	USEFUL,
	NOTHING
};

/* The first row whose text is in the right place decides. */
struct report_rule
{
	const char *text;
	bool anywhere; /* else at the beginning */
	enum meaning meaning;
	enum pgh_trouble trouble;
	enum pgh_certainty certainty;
};

static const struct report_rule neon_rules[] = {
	{ "could not establish connection to pageserver", false, TROUBLE_OR_REFUSAL, DEAD, SUSPECT },
	{ "could not connect to pageserver", false, TROUBLE_OR_REFUSAL, DEAD, SUSPECT },
	{ "could not send pagestream command to pageserver", false, TROUBLE_OR_REFUSAL, DEAD, SUSPECT },
	{ "could not complete handshake with pageserver", false, TROUBLE_OR_REFUSAL, DEAD, SUSPECT },
	{ "could not get response from pageserver", false, TROUBLE_OR_REFUSAL, DEAD, SUSPECT },
	{ "no response received from pageserver for", false, TROUBLE, SILENT, SUSPECT },
	{ "no response from pageserver for", false, TROUBLE, SILENT, SUSPECT },
	/* the reason (reconnect, shutdown, not found) is not in the report */
	{ "psql end of copy data", true, TROUBLE, WRONG, SUSPECT },
	{ "could not read COPY data", true, TROUBLE, NONSENSE, SUSPECT },
	{ "unexpected PQgetCopyData return value", true, TROUBLE, NONSENSE, SUSPECT },
	{ "failure while parsing response", true, TROUBLE, NONSENSE, SUSPECT },
	{ "pageserver_send disconnect", false, TROUBLE, DEAD, SUSPECT },
	{ "pageserver_flush disconnect", false, TROUBLE, DEAD, SUSPECT },
};

static const struct report_rule walproposer_rules[] = {
	{ "immediate failure to connect with node", false, TROUBLE_OR_REFUSAL, DEAD, SUSPECT },
	{ "failed to connect to node", false, TROUBLE_OR_REFUSAL, DEAD, SUSPECT },
	{ "EOF from node", false, TROUBLE, DEAD, SUSPECT },
	{ "failed to read from node", false, TROUBLE, DEAD, SUSPECT },
	{ "failed to send ", false, TROUBLE_OR_REFUSAL, DEAD, SUSPECT },
	{ "terminating connection to safekeeper", false, TROUBLE, SILENT, SUSPECT },
	{ "received bad response from safekeeper", false, TROUBLE, NONSENSE, SUSPECT },
	/* "connected with node" proves a port only */
	{ "received AcceptorGreeting from safekeeper", false, USEFUL, PGH_TROUBLE_NONE,
	  PGH_CERTAINTY_NONE },
};

static const struct report_rule walreceiver_rules[] = {
	/* from 16 on, the receiver's name comes first */
	{ "could not connect to the primary server", true, TROUBLE_OR_REFUSAL, DEAD, SUSPECT },
	{ "could not receive data from WAL stream", false, TROUBLE_OR_REFUSAL, DEAD, SUSPECT },
	{ "could not send data to WAL stream", false, TROUBLE_OR_REFUSAL, DEAD, SUSPECT },
	{ "terminating walreceiver due to timeout", false, TROUBLE, SILENT, SUSPECT },
	{ "database system identifier differs between", false, TROUBLE, WRONG, CERTAIN },
	{ "highest timeline ", false, TROUBLE, WRONG, SUSPECT },
	{ "could not start WAL streaming", false, TROUBLE, WRONG, SUSPECT },
	{ "started streaming WAL from primary", false, USEFUL, PGH_TROUBLE_NONE, PGH_CERTAINTY_NONE },
	{ "restarted WAL streaming", false, USEFUL, PGH_TROUBLE_NONE, PGH_CERTAINTY_NONE },
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static bool
apply_rules(const struct report_rule *rules, size_t count, struct pgh_span id,
            struct pgh_span message, struct pgh_verdict *verdict)
{
	for (size_t i = 0; i < count; i++)
	{
		const struct report_rule *rule = &rules[i];

		if (rule->anywhere ? !pgh_span_contains(id, rule->text) : !pgh_span_begins(id, rule->text))
			continue;
		verdict->useful = rule->meaning == USEFUL;
		verdict->trouble = rule->trouble;
		verdict->certainty = rule->certainty;
		if (rule->meaning == TROUBLE_OR_REFUSAL)
			verdict->trouble = pgh_judge_connection_text(message);
		return true;
	}
	return false;
}

/* Behind the groups in square brackets: "[NEON_SMGR] [shard %d] [reqid %lx] text". */
static struct pgh_span
skip_tags(struct pgh_span text)
{
	while (pgh_span_begins(text, "["))
	{
		const char *end = memchr(text.at, ']', text.len);

		if (end == NULL)
			break;
		text.len -= (size_t) (end + 1 - text.at);
		text.at = end + 1;
		while (pgh_span_begins(text, " "))
		{
			text.at++;
			text.len--;
		}
	}
	return text;
}

/* Where the text behind the first occurrence of a word begins; empty if there is none. */
static struct pgh_span
behind(struct pgh_span text, const char *word)
{
	size_t len = strlen(word);

	for (; text.len >= len; text.at++, text.len--)
		if (pgh_span_begins(text, word))
			return (struct pgh_span){ .at = text.at + len, .len = text.len - len };
	return (struct pgh_span){ 0 };
}

static int32_t
shard_in(struct pgh_span message)
{
	struct pgh_span digits = behind(message, "[shard ");
	int32_t shard = -1;

	for (size_t i = 0; i < digits.len && digits.at[i] >= '0' && digits.at[i] <= '9'; i++)
	{
		shard = (shard < 0 ? 0 : shard * 10) + (digits.at[i] - '0');
		if (shard >= PGH_MAX_SHARDS)
			return -1;
	}
	return shard;
}

/* Hash of HOST:PORT behind "node" or "safekeeper"; it may be quoted or end in punctuation. */
static uint64_t
peer_in(struct pgh_span message)
{
	struct pgh_span name = behind(message, "safekeeper ");
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	size_t len = 0;

	if (name.len == 0)
		name = behind(message, "node ");
	if (pgh_span_begins(name, "'"))
	{
		name.at++;
		name.len--;
	}
	while (len < name.len && name.at[len] != '\'' && name.at[len] > ' ')
		len++;
	while (len > 0 && (name.at[len - 1] == ':' || name.at[len - 1] == ','))
		len--;
	if (len == 0)
		return 0;
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char) name.at[i]) * UINT64_C(0x100000001b3);
	return hash == 0 ? 1 : hash;
}

static bool
judge_neon(struct pgh_span sqlstate, struct pgh_span id, struct pgh_span message,
           struct pgh_span detail, struct pgh_verdict *verdict)
{
	static const char page_error[] = "page server returned error: ";

	verdict->source = PGH_SOURCE_PAGESERVER;
	verdict->shard = shard_in(message);
	if (pgh_span_begins(sqlstate, "58030") && pgh_span_begins(detail, page_error))
	{
		pgh_judge_page_error(behind(detail, page_error), verdict);
		return verdict->certainty != PGH_CERTAINTY_NONE;
	}
	return apply_rules(neon_rules, COUNT(neon_rules), skip_tags(id), message, verdict);
}

static bool
judge_walreceiver(struct pgh_span sqlstate, struct pgh_span id, struct pgh_span message,
                  struct pgh_verdict *verdict)
{
	verdict->source = PGH_SOURCE_PRIMARY;
	/* how a reload ends a healthy one */
	if (pgh_span_begins(sqlstate, "57P01"))
		return false;
	if (apply_rules(walreceiver_rules, COUNT(walreceiver_rules), id, message, verdict))
		return true;
	if (!pgh_span_begins(sqlstate, "08"))
		return false;
	verdict->trouble = pgh_span_begins(sqlstate, "08P01") ? NONSENSE : DEAD;
	verdict->certainty = SUSPECT;
	return true;
}

bool
pgh_classify_report(bool is_wal_receiver, const char *sqlstate, const char *message_id,
                    const char *message, const char *detail, struct pgh_verdict *verdict)
{
	struct pgh_span state = pgh_span_of(sqlstate);
	struct pgh_span id = pgh_span_of(message_id);
	struct pgh_span text = pgh_span_of(message);
	bool ours = false;

	*verdict = (struct pgh_verdict){ .shard = -1 };
	if (message_id == NULL)
		return false;
	if (is_wal_receiver)
		ours = judge_walreceiver(state, id, text, verdict);
	else if (pgh_span_begins(id, "[NEON_SMGR] "))
		ours = judge_neon(state, id, text, pgh_span_of(detail), verdict);
	else if (pgh_span_begins(id, "[WP] "))
	{
		verdict->source = PGH_SOURCE_SAFEKEEPER;
		verdict->peer = peer_in(text);
		ours =
			apply_rules(walproposer_rules, COUNT(walproposer_rules), skip_tags(id), text, verdict);
	}
	if (!ours)
		*verdict = (struct pgh_verdict){ .shard = -1 };
	return ours;
}
