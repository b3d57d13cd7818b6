//go:build soak

package gc

const histories = 10_000
