// Package sqlsecrets is the root of a module with which a program opens a
// database by the name of a secret in AWS Secrets Manager instead of a
// password, and keeps working while the password rotates. It holds no code;
// import the package of the engine and use [database/sql]:
//
//	import _ "github.com/sqlsecrets/sqlsecrets/engines/postgres"
//
//	db, err := sql.Open("secretsmanager-postgres", "prod/app/db?sslmode=verify-full")
//
// # Map of the packages
//
//   - engines/postgres, engines/mysql, engines/mariadb register the drivers
//     "secretsmanager-postgres", "secretsmanager-mysql" and
//     "secretsmanager-mariadb"; each has NewConnector and Register for programs
//     that set options.
//   - engines/redshift and engines/db2 register "secretsmanager-redshift" and
//     "secretsmanager-db2"; the latter needs a Db2 driver that the program imports.
//   - engines/all imports every engine and registers "secretsmanager", which takes
//     the engine from the data source name or the secret.
//   - engines/sqlserver and engines/oracle register "secretsmanager-sqlserver" and
//     "secretsmanager-oracle".
//   - engines/postgres/pgxv5, engines/mysql/gosqldriver, engines/sqlserver/mssqldb and
//     engines/oracle/goora adapt the vendors' drivers and import no AWS SDK.
//   - engines holds the process's default caches, one for each location of
//     secrets.
//   - driver holds the connector: data source names, the secret's fields, the
//     refresh after a rejected login, errors, tracing.
//   - driver/drivertest is the conformance suite of an engine.
//   - secretcache is the cache of secrets; it can be used without a database.
//   - secretcache/awssm fetches secrets from the Secrets Manager API,
//     secretcache/agent from the Secrets Manager Agent or the Lambda extension,
//     secretcache/file from files and environment variables.
//   - secretcache/awssm/awssmtest is an in-process Secrets Manager for tests,
//     secretcache/agent/agenttest an agent and an extension.
//   - secretcache/awscaching has the API of AWS's own caching client for Go, for
//     programs that use that one.
package sqlsecrets
