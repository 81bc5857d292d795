/*
 * Which reports of Neon's pageserver client count as trouble, given the earlier reports of the same
 * process about the same shard.
 *
 * Each report is about a single attempt, so one alone can mislead in three ways:
 *   - A stream that ends is routine: the pageserver closes idle ones, and the client reconnects
 *     within milliseconds. Trouble is what follows: a connection that cannot be made, or a second
 *     end right after the reconnect. (If nothing follows, the caller counts it after
 *     PGH_STREAM_WAIT_MS: the reconnect hangs.)
 *   - One end may be reported twice or three times. A stream cannot end twice without a
 *     reconnect in between.
 *   - After a reload the client makes one more attempt at the old endpoint, and reports it late.
 */
#include <string.h>

#include "judgement.h"

enum
{
	US_PER_MS = 1000
};

/* ---- which endpoint a report speaks of ------------------------------------------------------ */

static bool
is_name_character(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
	       c == '-' || c == '_';
}

/* Does the word stand in the text, not as a part of a longer one? */
static bool
contains_word(struct pgh_span text, struct pgh_span word)
{
	if (word.len == 0)
		return false;
	for (size_t i = 0; i + word.len <= text.len; i++)
	{
		size_t end = i + word.len;

		if (memcmp(text.at + i, word.at, word.len) == 0 &&
		    (i == 0 || !is_name_character(text.at[i - 1])) &&
		    (end == text.len || !is_name_character(text.at[end])))
			return true;
	}
	return false;
}

/* The text behind `before` and up to a character. */
static struct pgh_span
quoted(struct pgh_span text, const char *before, char end)
{
	struct pgh_span found = pgh_span_behind(text, before);
	const char *stop = found.len > 0 ? memchr(found.at, end, found.len) : NULL;

	if (stop == NULL)
		return (struct pgh_span){ 0 };
	found.len = (size_t) (stop - found.at);
	return found;
}

static struct pgh_span
port_in(struct pgh_span message)
{
	struct pgh_span port = pgh_span_behind(message, "port ");
	size_t len = 0;

	while (len < port.len && port.at[len] >= '0' && port.at[len] <= '9')
		len++;
	port.len = len;
	return port;
}

enum pgh_report_endpoint
pgh_report_names(const char *message, const char *endpoint)
{
	struct pgh_span text = pgh_span_of(message);
	struct pgh_span known = pgh_span_of(endpoint);
	struct pgh_span whole = quoted(text, "connected to '", '\'');
	struct pgh_span host = quoted(text, "at \"", '"');
	struct pgh_span port = port_in(text);

	if (whole.len > 0)
		return whole.len == known.len && memcmp(whole.at, known.at, known.len) == 0
				   ? PGH_REPORT_ENDPOINT_SAME
				   : PGH_REPORT_ENDPOINT_OTHER;
	if (host.len == 0)
		host = quoted(text, "host \"", '"'); /* libpq until 13 */
	if (host.len == 0)
		host = quoted(text, "host name \"", '"');
	if (host.len == 0)
		return PGH_REPORT_ENDPOINT_UNKNOWN;
	if (!contains_word(known, host))
		return PGH_REPORT_ENDPOINT_OTHER;
	if (port.len == 0 || contains_word(known, port) ||
	    (port.len == 4 && pgh_span_begins(port, "5432")))
		return PGH_REPORT_ENDPOINT_SAME;
	return PGH_REPORT_ENDPOINT_OTHER;
}

/* ---- does it count -------------------------------------------------------------------------- */

static enum pgh_report_value
value_of_end(struct pgh_stream *stream, uint64_t now_us)
{
	bool again = stream->ended_us != 0 &&
	             now_us - stream->ended_us <= UINT64_C(1) * PGH_STREAM_AGAIN_MS * US_PER_MS;

	if (stream->ended && stream->ended_us != 0)
		return PGH_REPORT_REPEATS;
	stream->ended = true;
	stream->ended_us = now_us;
	return again ? PGH_REPORT_COUNTS : PGH_REPORT_WAITS;
}

/* Is it about an endpoint that the map no longer names? */
static bool
is_stale(struct pgh_stream *stream, const struct pgh_verdict *verdict,
         enum pgh_report_endpoint names, uint32_t renewals)
{
	bool renewed = stream->heard && stream->renewals != renewals;

	switch (verdict->stream)
	{
		case PGH_STREAM_IN_USE:
		case PGH_STREAM_ENDED: return renewed;
		case PGH_STREAM_ATTEMPT:
		case PGH_STREAM_CONNECTED: break;
	}
	if (names != PGH_REPORT_ENDPOINT_UNKNOWN)
		return names == PGH_REPORT_ENDPOINT_OTHER;
	return renewed; /* the one attempt whose list was read before the reload */
}

enum pgh_report_value
pgh_stream_report(struct pgh_stream *stream, const struct pgh_verdict *verdict,
                  enum pgh_report_endpoint names, uint32_t renewals, uint64_t now_us)
{
	bool stale = is_stale(stream, verdict, names, renewals);

	/* an old stream stays old until there is another; an old attempt was the last of its kind */
	if (!stale || verdict->stream == PGH_STREAM_ATTEMPT || verdict->stream == PGH_STREAM_ENDED)
		stream->renewals = renewals;
	stream->heard = true;
	if (stale)
	{
		stream->ended = true;
		stream->ended_us = 0;
		return PGH_REPORT_STALE;
	}
	switch (verdict->stream)
	{
		case PGH_STREAM_CONNECTED: stream->ended = false; return PGH_REPORT_CONNECTED;
		case PGH_STREAM_ENDED: return value_of_end(stream, now_us);
		case PGH_STREAM_ATTEMPT:
		case PGH_STREAM_IN_USE: break;
	}
	return PGH_REPORT_COUNTS;
}
