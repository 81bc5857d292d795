/*
 * Listening to the error reports of others. See log_hook.c for what may happen in it.
 */
#ifndef NR_LOG_HOOK_H
#define NR_LOG_HOOK_H

void nr_log_hook_install(void);

#endif
