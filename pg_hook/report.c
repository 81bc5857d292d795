/*
 * What the reports of others mean: Neon's pageserver client, its walproposer, and PostgreSQL's
 * walreceiver.
 *
 * Matched is the format string, which is neither translated nor filled in: an SQL user who
 * raises an error with the same words has "%s" there. Values (shard, node) are taken from the
 * message. Called from inside ereport, maybe with locks held or in a signal handler.
 */
#include <string.h>

#include "judgement.h"

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
	STREAM_ENDED,       /* the same, and without words the server ended it in an orderly way */
	USEFUL,
	CONNECTED,
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
	enum pgh_stream_state stream;
};

#define NO_TROUBLE PGH_TROUBLE_NONE, PGH_CERTAINTY_NONE
#define ATTEMPT    PGH_STREAM_ATTEMPT
#define IN_USE     PGH_STREAM_IN_USE
#define ENDED      PGH_STREAM_ENDED

static const struct report_rule neon_rules[] = {
	{ "could not establish connection to pageserver", false, TROUBLE_OR_REFUSAL, DEAD, SUSPECT,
	  ATTEMPT },
	{ "could not connect to pageserver", false, TROUBLE_OR_REFUSAL, DEAD, SUSPECT, ATTEMPT },
	{ "could not send pagestream command to pageserver", false, TROUBLE_OR_REFUSAL, DEAD, SUSPECT,
	  ATTEMPT },
	{ "could not complete handshake with pageserver", false, TROUBLE_OR_REFUSAL, DEAD, SUSPECT,
	  ATTEMPT },
	{ "libpagestore: connected to ", false, CONNECTED, NO_TROUBLE, PGH_STREAM_CONNECTED },
	{ "received response from pageserver after", false, USEFUL, NO_TROUBLE, IN_USE },
	{ "could not get response from pageserver", false, STREAM_ENDED, DEAD, SUSPECT, ENDED },
	{ "no response received from pageserver for", false, TROUBLE, SILENT, SUSPECT, IN_USE },
	{ "no response from pageserver for", false, TROUBLE, SILENT, SUSPECT, IN_USE },
	/* no words: reconnect, shutdown or not found; libpq's words: the server died */
	{ "psql end of copy data", true, STREAM_ENDED, WRONG, SUSPECT, ENDED },
	{ "could not read COPY data", true, TROUBLE, NONSENSE, SUSPECT, IN_USE },
	{ "unexpected PQgetCopyData return value", true, TROUBLE, NONSENSE, SUSPECT, IN_USE },
	{ "failure while parsing response", true, TROUBLE, NONSENSE, SUSPECT, IN_USE },
	/* a login that was refused may be found here only */
	{ "pageserver_send disconnect", false, STREAM_ENDED, DEAD, SUSPECT, ENDED },
	{ "pageserver_flush disconnect", false, STREAM_ENDED, DEAD, SUSPECT, ENDED },
	{ "returning NULL for non-connected", true, TROUBLE, DEAD, SUSPECT, ENDED },
	{ "Tried to flush while disconnected", false, TROUBLE, DEAD, SUSPECT, ENDED },
	/* the query ends, after many attempts or because Neon's own request to the daemon failed */
	{ "request failed too many times, cancelling query", true, TROUBLE, DEAD, SUSPECT, ATTEMPT },
	{ "refresh_configuration request failed, cancelling", true, TROUBLE, DEAD, SUSPECT, ATTEMPT },
	/* an answer to another request than the client's; most of these are PANIC */
	{ "Broken connection state", false, TROUBLE, NONSENSE, SUSPECT, IN_USE },
	{ "Unexpected prefetch response", false, TROUBLE, NONSENSE, SUSPECT, IN_USE },
	{ "unexpected neon message tag", false, TROUBLE, NONSENSE, SUSPECT, IN_USE },
	{ "Error message {", false, TROUBLE, NONSENSE, SUSPECT, IN_USE },
	/* "Shard %d is greater or equal than number of shards %d" is a list that has just shrunk */
};

static const struct report_rule walproposer_rules[] = {
	{ "immediate failure to connect with node", false, TROUBLE_OR_REFUSAL, DEAD, SUSPECT, ATTEMPT },
	{ "failed to connect to node", false, TROUBLE_OR_REFUSAL, DEAD, SUSPECT, ATTEMPT },
	{ "EOF from node", false, TROUBLE, DEAD, SUSPECT, ATTEMPT },
	{ "failed to flush write to node", false, TROUBLE_OR_REFUSAL, DEAD, SUSPECT, ATTEMPT },
	{ "unexpected message tag", false, TROUBLE, NONSENSE, SUSPECT, ATTEMPT },
	{ "failed to read from node", false, TROUBLE, DEAD, SUSPECT, ATTEMPT },
	{ "failed to send ", false, TROUBLE_OR_REFUSAL, DEAD, SUSPECT, ATTEMPT },
	{ "terminating connection to safekeeper", false, TROUBLE, SILENT, SUSPECT, ATTEMPT },
	{ "received bad response from safekeeper", false, TROUBLE, NONSENSE, SUSPECT, ATTEMPT },
	/* "connected with node" proves a port only */
	{ "received AcceptorGreeting from safekeeper", false, USEFUL, NO_TROUBLE, ATTEMPT },
};

static const struct report_rule walreceiver_rules[] = {
	/* from 16 on, the receiver's name comes first */
	{ "could not connect to the primary server", true, TROUBLE_OR_REFUSAL, DEAD, SUSPECT, ATTEMPT },
	{ "could not receive data from WAL stream", false, TROUBLE_OR_REFUSAL, DEAD, SUSPECT, ATTEMPT },
	{ "could not send data to WAL stream", false, TROUBLE_OR_REFUSAL, DEAD, SUSPECT, ATTEMPT },
	{ "terminating walreceiver due to timeout", false, TROUBLE, SILENT, SUSPECT, ATTEMPT },
	{ "database system identifier differs between", false, TROUBLE, WRONG, CERTAIN, ATTEMPT },
	{ "highest timeline ", false, TROUBLE, WRONG, SUSPECT, ATTEMPT },
	{ "could not start WAL streaming", false, TROUBLE, WRONG, SUSPECT, ATTEMPT },
	{ "started streaming WAL from primary", false, USEFUL, NO_TROUBLE, ATTEMPT },
	{ "restarted WAL streaming", false, USEFUL, NO_TROUBLE, ATTEMPT },
};

/*
 * The startup process of a standby that has replayed beyond the point where the primary's history
 * forks off. Where both lie in one segment, the walreceiver starts before the fork, is served and
 * ends in good order, again and again.
 */
static const struct report_rule recovery_rules[] = {
	{ "new timeline %u forked off current database system timeline", false, TROUBLE, WRONG, CERTAIN,
	  ATTEMPT },
	{ "new timeline %u is not a child of database system timeline", false, TROUBLE, WRONG, CERTAIN,
	  ATTEMPT },
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* Is there anything behind the last colon? */
static bool
has_words(struct pgh_span message)
{
	size_t end = message.len;

	while (end > 0 && (message.at[end - 1] == ' ' || message.at[end - 1] == '\n'))
		end--;
	return end > 0 && message.at[end - 1] != ':';
}

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
		verdict->stream = rule->stream;
		if (rule->meaning == TROUBLE_OR_REFUSAL ||
		    (rule->meaning == STREAM_ENDED && has_words(message)))
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

static int32_t
shard_in(struct pgh_span message)
{
	struct pgh_span digits = pgh_span_behind(message, "[shard ");
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
	struct pgh_span name = pgh_span_behind(message, "safekeeper ");
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	size_t len = 0;

	if (name.len == 0)
		name = pgh_span_behind(message, "node ");
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
	/* what is not about a page goes to shard 0, and is reported without a number */
	if (verdict->shard < 0 && pgh_span_begins(message, "[NEON_SMGR] [reqid "))
		verdict->shard = 0;
	if (pgh_span_begins(sqlstate, "58030") && pgh_span_begins(detail, page_error))
	{
		verdict->stream = PGH_STREAM_IN_USE;
		pgh_judge_page_error(pgh_span_behind(detail, page_error), verdict);
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
	else
	{
		verdict->source = PGH_SOURCE_PRIMARY;
		ours = apply_rules(recovery_rules, COUNT(recovery_rules), id, text, verdict);
	}
	if (!ours)
		*verdict = (struct pgh_verdict){ .shard = -1 };
	return ours;
}
