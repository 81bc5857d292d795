/*
 * The last events, for the views, and for the worker where it needs more than a count.
 * A slot is claimed by compare-and-swap; if another process is writing there, the event is dropped.
 * So writing never waits, never allocates and may happen in a signal handler.
 */
#ifndef NR_EVENTS_H
#define NR_EVENTS_H

#include "pg_hook.h"

#define NR_EVENTS    128
#define NR_TEXT_SIZE 201 /* 200 bytes of text and NUL */
#define NR_NO_PHASE  (-1)

typedef struct NrEventData
{
	uint64 number; /* from 1, without gaps but for events that found their slot taken */
	TimestampTz at;
	uint64 peer; /* hash of a safekeeper's name, 0 = none */
	int32 pid;
	int32 shard; /* -1 = none */
	int32 phase; /* enum pgh_phase, NR_NO_PHASE = reported by others */
	enum pgh_source source;
	enum pgh_trouble trouble;
	enum pgh_certainty certainty;
	bool useful;
	bool manual; /* request(): source means nothing */
	char sqlstate[6];
	char text[NR_TEXT_SIZE]; /* redacted */
} NrEventData;

typedef struct NrEvent
{
	pg_atomic_uint64 sequence; /* odd while it is written, 0 = never */
	NrEventData data;
} NrEvent;

/*
 * A place in the ring. What is reported again in the same words, by whichever process, is counted
 * at its place, so that three dead safekeepers do not fill the ring in a minute; a success of the
 * same server in between begins a new place.
 */
typedef struct NrEventSlot
{
	NrEvent event;
	pg_atomic_uint64 what;    /* hash of server and words; 0 = is not repeated */
	pg_atomic_uint64 success; /* hash of the server if this is a success, else 0 */
	pg_atomic_uint64 repeats;
	pg_atomic_uint64 last_at; /* TimestampTz of the last repeat */
} NrEventSlot;

typedef struct NrEventRing
{
	pg_atomic_uint64 total;           /* numbers given so far */
	pg_atomic_uint64 repeated;        /* events that got none, since they repeat another */
	pg_atomic_uint64 dropped;         /* of the numbered, those that found their slot taken */
	pg_atomic_uint64 lost[NR_EVENTS]; /* number of the last dropped event of each slot */
	NrEventSlot slots[NR_EVENTS];
} NrEventRing;

void nr_event_init(NrEvent *event);
void nr_event_ring_init(NrEventRing *ring);

/* Text from elsewhere may have any encoding, be cut inside a character or hold control characters.
 * Shared memory holds one line of valid UTF-8: other bytes become '?', control characters ' '. */
void nr_text_clean(char *text);

/* Make UTF-8 valid in the encoding of this database: where that is not UTF-8, all bytes that are
 * not ASCII become '?'. */
void nr_text_to_server(char *text);

/* Five letters or digits, else "". from may be NULL. */
void nr_sqlstate_copy(char to[6], const char *from);

/* Redacts, cuts and cleans text (NULL is fine) into data. */
void nr_event_set_text(NrEventData *data, const char *text, size_t text_len);

/* False if another process is writing there. */
bool nr_event_write(NrEvent *event, const NrEventData *data);

/* False if there is nothing, or it changes right now. */
bool nr_event_read(NrEvent *event, NrEventData *data);

/* Number, stamp and append; returns the number. */
uint64 nr_event_append(NrEventData *data);

/* The same for a report of others, or count it as a repeat of one that is still there. */
void nr_event_append_report(NrEventData *data);

/* How often the event of this number was repeated, and when last (0 = never). */
uint64 nr_event_repeats(uint64 number, uint64 *last_at);

/* The event of this number; false if it is not there: dropped, no longer, or not yet. */
bool nr_event_get(uint64 number, NrEventData *data);
bool nr_event_dropped(uint64 number);

#endif
