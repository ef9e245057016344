// Package fleet simulates many instances of a program that all start, rotate and fail together.
//
// Each instance has a real secretcache.Cache, a real awssm.Source, the AWS SDK and a real
// driver.Connector. Only three things are models: the answers of Secrets Manager, the database, and
// the pool that calls Connect. The time is that of testing/synctest, so an hour of a fleet takes
// seconds.
//
// The quota of Secrets Manager and the logins per second that the database takes are in proportion
// to the number of instances. So a fleet of 1,000 instances shows the share of the quota that
// 100,000 instances take, as long as the rates of one instance do not depend on the number of
// instances. Runs with 100, 1,000 and 10,000 instances check that.
package fleet
