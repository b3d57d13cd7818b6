/* Reads that are answered from the store: the file stays a stub. */
#ifndef COLDBRICK_REMOTE_H
#define COLDBRICK_REMOTE_H

#include "plugin.h"
#include "translator.h"

/* What the counters of a client are read by, on any file. */
#define COUNTERS_XATTR "trusted.coldbrick.counters"

/* Begins a read, and returns 0 at once; then the frame is answered later, by
 * another thread. Else it returns -1, and the translator answers. */
int remote_read(call_frame_t *frame, uintptr_t handle, const struct stub *stub);

/* The graph goes: what still waits for the store is answered with an error, and nothing
 * waits for a brick to return any more. */
void remote_end(xlator_t *this);

/* Answers a getxattr of COUNTERS_XATTR. */
int32_t remote_counters(call_frame_t *frame, xlator_t *this);

/* ---- implemented in plugin.c ---- */

/* The Go instance of a translator; 0 while there is none. */
uintptr_t plugin_handle(xlator_t *this);

#endif
