// Package health finds out which servers live: probers for the usual protocols, a
// Monitor that calls any number of them, and the policy of a pool.
package health
