/* Enough event threads for recalls.
 *
 * The translator recalls in the event thread that brought it the reply, and
 * waits there for replies that only event threads can bring. With N of them (2
 * by default), N recalls at once stop the mount for ever, before the plugin has
 * been called for the last one. So the plugin raises their number, and more of
 * them are started when none is left to answer. */
#ifndef COLDBRICK_POLLERS_H
#define COLDBRICK_POLLERS_H

struct event_pool;

/* Watches over the pool, from now until as many calls of pollers_release. NULL
 * if out of memory. */
struct pollers *pollers_acquire(struct event_pool *pool);

/* last says that the pool is about to end, whatever the number of users:
 * glusterfs never ends the graphs that others have replaced. */
void pollers_release(struct pollers *p, int last);

/* Raises the number of event threads now, after something lowered it. */
void pollers_assert(struct pollers *p);

#endif
