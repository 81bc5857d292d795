/*
 * Private to the core: what suspicion.c (our own client) and report.c (reports of others) share.
 */
#ifndef PGH_JUDGEMENT_H
#define PGH_JUDGEMENT_H

#include "pg_hook.h"

/* A stretch of text that need not end in a NUL. */
struct pgh_span
{
	const char *at;
	size_t len;
};

struct pgh_span pgh_span_of(const char *text); /* NULL gives an empty span */
bool pgh_span_begins(struct pgh_span text, const char *prefix);
bool pgh_span_contains(struct pgh_span text, const char *part);
/* Where the text behind the first occurrence of a word begins; empty if there is none. */
struct pgh_span pgh_span_behind(struct pgh_span text, const char *word);

/* The text of an ERROR answer inside the stream. */
void pgh_judge_page_error(struct pgh_span text, struct pgh_verdict *verdict);

/* A connection that could not be made, or broke: libpq's words tell a refusal by the server, and
 * an answer that is not the protocol, from plain death. */
enum pgh_trouble pgh_judge_connection_text(struct pgh_span text);

#endif
