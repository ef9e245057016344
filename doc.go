// Package sqlsecrets is the root of a module with which a program opens a database by the name of a
// secret in AWS Secrets Manager instead of a password. The program keeps working while the password
// rotates. This package holds no code. Import the package of your engine and use [database/sql]:
//
//	import _ "github.com/sqlsecrets/sqlsecrets/engines/postgres"
//
//	db, err := sql.Open("secretsmanager-postgres", "prod/app/db?sslmode=verify-full")
//
// # The data source name
//
// Everything before "?" names the secret. It is the secret's name, here prod/app/db, or its ARN. A
// slash is part of the name. After "?" come parameters, separated by "&". Some are the library's own,
// such as region, host and dbname. All others are those of the vendor's driver, such as sslmode. An
// unknown parameter is an error. By default the server is not verified, and with Oracle and Db2 there
// is no TLS: in production, ask for verified TLS, as sslmode=verify-full does here. All parameters are
// in docs/dsn.md:
// https://github.com/sqlsecrets/sqlsecrets/blob/main/docs/dsn.md.
//
// # The secret
//
// The secret is a JSON object, in the form that AWS's rotation functions and RDS use:
//
//	{"engine": "postgres", "host": "db.example.com", "port": 5432, "dbname": "app", "username": "app", "password": "…"}
//
// The parameters host, port and dbname of the data source name take precedence over the secret's. The
// region comes from the parameter region or from the secret's ARN. If neither is there, it comes from
// where the AWS SDK for Go finds it, as the AWS credentials do: environment variables, the
// configuration file, or the role of the machine. The program needs the permission
// secretsmanager:GetSecretValue, and kms:Decrypt for a secret with a customer managed key. sql.Open
// reads no secret: what is missing is an error of the first query or Ping.
//
// # Rotation
//
// A secret has versions. Each version has its own value, and so its own password. A label called a
// version stage says which version is in use: AWSCURRENT. While a password rotates, the new version has
// the stage AWSPENDING. A rotation has four steps: create the new version, set its password on the
// server, test it, and finish by moving AWSCURRENT to the new version. AWS or a function of your own
// rotates; this library only follows.
//
// New connections log in with AWSCURRENT's version. A cache in memory keeps it, by default for 30 to 60
// minutes, so most new connections call no AWS service. If Secrets Manager fails, the cache serves the
// version for up to a day more. When the server rejects its password, the library reads the secret
// again, once for all waiting connections. It logs in with the version that AWSCURRENT names by then,
// or else with AWSPENDING's. Connections that are already open go on, because a server checks a
// password only at login.
//
// # Map of the packages
//
// For programs:
//
//   - engines/postgres, engines/mysql, engines/mariadb, engines/sqlserver, engines/oracle,
//     engines/redshift and engines/db2 register one driver each: "secretsmanager-postgres" and so on. Each
//     also has NewConnector and Register, for programs that set options. engines/db2 needs a Db2 driver
//     that the program imports.
//   - engines/all imports every engine. It registers "secretsmanager", which takes the engine from the data
//     source name or the secret.
//   - engines sets the process's defaults, such as a logger, and gives access to its caches.
//   - driver holds the options, the errors and the trace of a connection.
//   - otelsqlsecrets, a module of its own, writes metrics and spans with OpenTelemetry.
//   - cmd/sqlsecrets is a command. "sqlsecrets check" says why a database does not open. "sqlsecrets serve"
//     is a Secrets Manager for tests.
//
// For tests:
//
//   - secretcache/awssm/awssmtest is a Secrets Manager in the test's process.
//   - secretcache/agent/agenttest is a Secrets Manager Agent and a Lambda extension.
//
// For programs that read secrets without a database:
//
//   - secretcache is the cache. secretcache/awssm reads secrets from the Secrets Manager API,
//     secretcache/agent from the Secrets Manager Agent or the Lambda extension, and secretcache/file from
//     files and environment variables.
//   - secretcache/awscaching has the API of AWS's caching client for Go.
//
// For those who write an engine:
//
//   - driver/vocabulary reads parameters and JDBC properties. driver/drivertest is the suite that every
//     engine passes.
//   - engines/postgres/pgxv5, engines/mysql/gosqldriver, engines/sqlserver/mssqldb and
//     engines/oracle/goora adapt the vendors' drivers. They do not import the AWS SDK.
package sqlsecrets
