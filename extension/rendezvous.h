/*
 * The library's side of neon_refresh_api.h.
 */
#ifndef NR_RENDEZVOUS_H
#define NR_RENDEZVOUS_H

void nr_rendezvous_offer(void);

#endif
