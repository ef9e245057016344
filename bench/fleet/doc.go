// Package fleet simulates many instances of a program that all start, rotate and fail together.
//
// Each instance has a real secretcache.Cache, a real awssm.Source, the AWS SDK and a real
// driver.Connector. Only three things are models: the answers of Secrets Manager, the
// database, and the pool that calls Connect. Time is testing/synctest's, so an hour of a
// fleet takes seconds.
//
// The quota of Secrets Manager and the logins per second that the database takes are in
// proportion to the number of instances. So a fleet of 1,000 shows the share of the quota that
// a fleet of 100,000 takes, as long as the rates of one instance do not depend on how many
// there are. Runs with 100, 1,000 and 10,000 instances check that.
package fleet
