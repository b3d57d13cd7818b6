/* Keeps the translator's callers from taking the size of a stub on the brick
 * for that of the file. */
#ifndef COLDBRICK_GUARD_H
#define COLDBRICK_GUARD_H

#include "translator.h"

/* What the guard answers with, on any file, when it is asked for this attribute.
 * The version grows with what it guards. */
#define GUARD_XATTR "trusted.coldbrick.guard"
#define GUARD_VERSION "1"

struct guard;

/* Whether the operations of this translator are those that the guard was written
 * for. module is an address within cloudsync.so. */
gf_boolean_t guard_fits(xlator_t *this, void *module);

/* NULL if there is no memory. going is called once the graph gets no more requests,
 * before anything of it is taken down. */
struct guard *guard_install(xlator_t *this, void (*going)(void *data), void *data);
void guard_remove(struct guard *guard, xlator_t *this);

#endif
