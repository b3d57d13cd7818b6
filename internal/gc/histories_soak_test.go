//go:build soak

package gc

const histories = 10_000

// How many processes are killed, and each at how many requests after the one before.
const victims, everyVictim = 80, 1
