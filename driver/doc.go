// Package driver connects [database/sql] to databases whose user and password are in a secret,
// for example in AWS Secrets Manager. It keeps working while the password rotates.
//
// Most programs never call this package. They import the package of their database below
// engines, such as [github.com/sqlsecrets/sqlsecrets/engines/postgres], and pass the name of a
// secret to [database/sql.Open]. They need this package only to set [Options] and to test for
// errors:
//
//	connector, err := postgres.NewConnector("prod/app", &driver.Options{Logger: slog.Default()})
//	if err != nil {
//		return err
//	}
//	db := sql.OpenDB(connector)
//	if err := db.PingContext(ctx); errors.Is(err, driver.ErrAuthFailed) {
//		return fmt.Errorf("the secret does not have the database's password: %w", err)
//	}
//
// # How a connection is opened
//
// [database/sql] keeps a pool of connections. If it needs a new one, it calls Connect of a
// [database/sql/driver.Connector]. This package's [Connector] is one. Its Connect call
//
//   - reads the secret, usually from a cache in memory, which also serves it while Secrets Manager
//     fails,
//   - takes host, port, database, user and password from the secret,
//   - logs in and returns the connection of the vendor's own driver, such as pgx's.
//
// A secret has versions. Labels, the version stages, name them: AWSCURRENT names the version in
// use. A rotation changes the password. It creates a version with a new password, which gets the
// stage AWSPENDING. It sets that password in the database. Then it moves AWSCURRENT to the new
// version.
//
// In a rotation the server rejects the version that the cache has. The Connect call then reads the
// secret again, which is a refresh. It logs in with the newer version that it finds under
// AWSCURRENT, or else with the one of AWSPENDING. All Connect calls that need a newer version wait
// for the same refresh. A version that the server has rejected is not sent again until a pause is
// over, so that the program does not lock its account. Connections that are already open go on
// working, unless [Options].CloseSuperseded makes the pool close them.
//
// # The data source name
//
// A data source name is the name or the ARN of a secret. Parameters may follow:
//
//	prod/app?dbname=reports&sslmode=verify-full
//
// The name ends at the "?", so "prod/app/db" is the name of one secret, and names no database.
// Values are percent-encoded; a "+" is a plus. These parameters are the same for all engines:
//
//   - host, port, dbname and engine take precedence over the secret's. host can be that of a
//     replica, for example.
//   - hostKey, portKey, dbnameKey, usernameKey and passwordKey are the names of the secret's keys,
//     if they are not the usual ones.
//   - stage is the version stage, AWSCURRENT by default. fallback=AWSPENDING,AWSPREVIOUS,
//     rotationWindow=1m, maxLogins=2 and closeSuperseded=true set the field of [Options] with a
//     similar name. fallback=none means no stages, and maxLogins=none means no bound.
//   - region, endpoint, source, profile, roleArn and externalId are the fields of [Location].
//   - auth=iam logs in with a token of AWS IAM in place of the password.
//
// All others are parameters of the vendor's driver, such as sslmode of pgx. An unknown parameter is
// an error, so a typo cannot turn TLS off. A data source name can also be a URL of AWS's JDBC
// library, which begins with "jdbc-secretsmanager:". Its property user is the name of the secret.
// [docs/dsn.md] lists all parameters with their defaults.
//
// # The secret
//
// The secret's value is a JSON object, as the AWS console writes it for a database:
//
//	{"engine":"postgres","host":"db.example.com","port":5432,"dbname":"app","username":"app","password":"…"}
//
// username and password are required, and host too unless the data source name has it: secrets that
// RDS or Redshift manages have no host. port is a number or a string. Without port or dbname the
// engine's default is used. If engine is there, it must be for this kind of database. If ssl is true
// or "true", TLS is required, and the server is verified only if the parameters ask for that. Other
// keys are ignored.
//
// # What a program needs next
//
//   - Settings: [Options]. NewConnector of the packages engines/<db> takes them for
//     [database/sql.OpenDB]; their Register takes them for [database/sql.Open].
//   - Settings of the vendor's driver, such as pgx's: the module's engines have fields for them. Pass
//     the engine to [NewConnector] of this package, for example pgxv5.Engine{Configure: f}, with
//     engines.Options(opts) as the options.
//   - Errors: [Error], [ErrAuthFailed] and the other variables, for [errors.Is] and [errors.As].
//   - What happens: [Options].Logger, whose messages are in [docs/observability.md], and [Trace];
//     [Connector.Status] for a health page.
//   - One driver for several kinds of databases: [NewAnyDriver].
//   - A token in place of the secret's password: [Options].Token.
//   - Another source of secrets: [Secrets], which [*secretcache.Cache] implements.
//   - Another kind of database: an [Engine] adapts a vendor's driver; [NewConnector] and [Register]
//     take it. The package driver/drivertest tests it, and driver/vocabulary helps to write it.
//
// This package imports the standard library and the package secretcache only. [docs/rotation.md]
// shows what a program sees in a rotation. [docs/state-machine.md] draws how a Connect call works
// inside.
//
// [docs/dsn.md]: https://github.com/sqlsecrets/sqlsecrets/blob/main/docs/dsn.md
// [docs/observability.md]: https://github.com/sqlsecrets/sqlsecrets/blob/main/docs/observability.md
// [docs/rotation.md]: https://github.com/sqlsecrets/sqlsecrets/blob/main/docs/rotation.md
// [docs/state-machine.md]: https://github.com/sqlsecrets/sqlsecrets/blob/main/docs/state-machine.md
package driver
