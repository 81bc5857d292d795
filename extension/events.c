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

void
nr_event_ring_init(NrEventRing *ring)
{
	pg_atomic_init_u64(&ring->total, 0);
	pg_atomic_init_u64(&ring->dropped, 0);
	for (int i = 0; i < NR_EVENTS; i++)
	{
		pg_atomic_init_u64(&ring->lost[i], 0);
		nr_event_init(&ring->slots[i]);
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

uint64
nr_event_append(NrEventData *data)
{
	NrEventRing *ring = &nr_shared->events;

	data->number = pg_atomic_fetch_add_u64(&ring->total, 1) + 1;
	data->at = GetCurrentTimestamp();
	data->pid = MyProcPid;
	if (!nr_event_write(&ring->slots[data->number % NR_EVENTS], data))
	{
		pg_atomic_fetch_add_u64(&ring->dropped, 1);
		pg_atomic_write_u64(&ring->lost[data->number % NR_EVENTS], data->number);
	}
	return data->number;
}

bool
nr_event_dropped(uint64 number)
{
	return pg_atomic_read_u64(&nr_shared->events.lost[number % NR_EVENTS]) == number;
}

bool
nr_event_get(uint64 number, NrEventData *data)
{
	return nr_event_read(&nr_shared->events.slots[number % NR_EVENTS], data) &&
	       data->number == number;
}
