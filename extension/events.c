/*
 * The ring of events. Rules: see events.h.
 */
#include "prelude.h"

#include "events.h"
#include "shmem.h"

void
nr_event_init(NrEvent *event)
{
	memset(event, 0, sizeof(*event));
	pg_atomic_init_u64(&event->sequence, 0);
}

static void
init_slot(NrEventSlot *slot)
{
	nr_event_init(&slot->event);
	pg_atomic_init_u64(&slot->what, 0);
	pg_atomic_init_u64(&slot->success, 0);
	pg_atomic_init_u64(&slot->repeats, 0);
	pg_atomic_init_u64(&slot->last_at, 0);
}

void
nr_event_ring_init(NrEventRing *ring)
{
	pg_atomic_init_u64(&ring->total, 0);
	pg_atomic_init_u64(&ring->repeated, 0);
	pg_atomic_init_u64(&ring->dropped, 0);
	for (int i = 0; i < NR_EVENTS; i++)
	{
		pg_atomic_init_u64(&ring->lost[i], 0);
		init_slot(&ring->slots[i]);
	}
}

void
nr_text_clean(char *text)
{
	size_t length = strlen(text);
	size_t i = 0;

	while (i < length)
	{
		size_t bytes = pg_utf_mblen((const unsigned char *) text + i);

		if (i + bytes > length && (unsigned char) text[i] >= 0xc0)
			length = i; /* cut in a character */
		else if (i + bytes > length ||
		         !pg_utf8_islegal((const unsigned char *) text + i, (int) bytes))
			text[i++] = '?';
		else if ((unsigned char) text[i] < ' ' || text[i] == 0x7f)
			text[i++] = ' ';
		else
			i += bytes;
	}
	while (length > 0 && text[length - 1] == ' ')
		length--;
	text[length] = '\0';
}

void
nr_text_to_server(char *text)
{
	if (GetDatabaseEncoding() == PG_UTF8 || GetDatabaseEncoding() == PG_SQL_ASCII)
		return;
	for (; *text != '\0'; text++)
	{
		if (IS_HIGHBIT_SET(*text))
			*text = '?';
	}
}

void
nr_sqlstate_copy(char to[6], const char *from)
{
	to[0] = '\0';
	if (from == NULL || strspn(from, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 5 ||
	    from[5] != '\0')
		return;
	memcpy(to, from, 6);
}

void
nr_event_set_text(NrEventData *data, const char *text, size_t text_len)
{
	data->text[0] = '\0';
	if (text == NULL)
		return;
	(void) pgh_redact(text, text_len, data->text, sizeof(data->text));
	nr_text_clean(data->text);
}

bool
nr_event_write(NrEvent *event, const NrEventData *data)
{
	uint64 sequence = pg_atomic_read_u64(&event->sequence);

	if (sequence % 2 != 0 ||
	    !pg_atomic_compare_exchange_u64(&event->sequence, &sequence, sequence + 1))
		return false;
	event->data = *data;
	pg_write_barrier();
	pg_atomic_write_u64(&event->sequence, sequence + 2);
	return true;
}

bool
nr_event_read(NrEvent *event, NrEventData *data)
{
	uint64 before = pg_atomic_read_u64(&event->sequence);

	if (before == 0 || before % 2 != 0)
		return false;
	pg_read_barrier();
	*data = event->data;
	pg_read_barrier();
	return pg_atomic_read_u64(&event->sequence) == before;
}

static uint64
mix(uint64 hash, uint64 value)
{
	return (hash ^ value) * UINT64CONST(0x100000001b3);
}

/* Which server it is about; never 0. */
static uint64
server_of(const NrEventData *data)
{
	uint64 hash = mix(UINT64CONST(0xcbf29ce484222325), (uint64) data->source);

	return mix(mix(hash, (uint64) data->shard), data->peer) | 1;
}

/* Server and words; digits, which may be a time or a number that counts up, are left out. */
static uint64
what_of(const NrEventData *data)
{
	uint64 hash = mix(server_of(data), (uint64) data->trouble);

	for (const char *c = data->text; *c != '\0'; c++)
	{
		if (*c < '0' || *c > '9')
			hash = mix(hash, (unsigned char) *c);
	}
	return hash | 1;
}

static uint64
append(NrEventData *data, uint64 what, uint64 success)
{
	NrEventRing *ring = &nr_shared->events;
	NrEventSlot *slot;

	data->number = pg_atomic_fetch_add_u64(&ring->total, 1) + 1;
	data->at = GetCurrentTimestamp();
	data->pid = MyProcPid;
	slot = &ring->slots[data->number % NR_EVENTS];
	pg_atomic_write_u64(&slot->what, 0); /* no repeats are counted here from now on */
	pg_atomic_write_u64(&slot->success, success);
	pg_atomic_write_u64(&slot->repeats, 0);
	pg_atomic_write_u64(&slot->last_at, 0);
	if (nr_event_write(&slot->event, data))
	{
		(void) pg_atomic_exchange_u64(&slot->what, what); /* a barrier: the event is there */
		return data->number;
	}
	pg_atomic_fetch_add_u64(&ring->dropped, 1);
	pg_atomic_write_u64(&ring->lost[data->number % NR_EVENTS], data->number);
	return data->number;
}

uint64
nr_event_append(NrEventData *data)
{
	return append(data, 0, 0);
}

/* Count it at the place of the same event, unless the server has had a success since. */
static bool
count_repeat(NrEventData *data, uint64 what, uint64 server)
{
	NrEventRing *ring = &nr_shared->events;
	uint64 total = pg_atomic_read_u64(&ring->total);

	for (uint64 number = total; number > 0 && number + NR_EVENTS > total; number--)
	{
		NrEventSlot *slot = &ring->slots[number % NR_EVENTS];

		if (pg_atomic_read_u64(&slot->success) == server)
			return false;
		if (pg_atomic_read_u64(&slot->what) != what)
			continue;
		data->number = number;
		data->at = GetCurrentTimestamp();
		data->pid = MyProcPid;
		pg_atomic_write_u64(&slot->last_at, (uint64) data->at);
		pg_atomic_fetch_add_u64(&slot->repeats, 1);
		pg_atomic_fetch_add_u64(&ring->repeated, 1);
		return true;
	}
	return false;
}

void
nr_event_append_report(NrEventData *data)
{
	uint64 server = server_of(data);
	uint64 what = what_of(data);

	if (data->useful)
		(void) append(data, 0, server);
	else if (!count_repeat(data, what, server))
		(void) append(data, what, 0);
}

uint64
nr_event_repeats(uint64 number, uint64 *last_at)
{
	NrEventSlot *slot = &nr_shared->events.slots[number % NR_EVENTS];

	*last_at = pg_atomic_read_u64(&slot->last_at);
	return pg_atomic_read_u64(&slot->repeats);
}

bool
nr_event_dropped(uint64 number)
{
	return pg_atomic_read_u64(&nr_shared->events.lost[number % NR_EVENTS]) == number;
}

bool
nr_event_get(uint64 number, NrEventData *data)
{
	return nr_event_read(&nr_shared->events.slots[number % NR_EVENTS].event, data) &&
	       data->number == number;
}
