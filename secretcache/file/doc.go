// Package file is the [secretcache.Source] for secrets that another program puts into files
// or environment variables: the Secrets Store CSI driver, Kubernetes, Docker, ECS, AWS Batch,
// App Runner, GitLab. It needs the standard library only.
//
// Use it with a [secretcache.Cache], as the example of [New] does. A program that only
// opens databases does not need this package: the key source of a data source name, or the
// environment variable SQLSECRETS_SOURCE, names the file or variable, such as
// file:/mnt/secrets-store. There are complete examples for Kubernetes, Docker, ECS and GitLab in
// https://github.com/sqlsecrets/sqlsecrets/blob/main/docs/sources.md.
//
// When a database rejects the password, a connector makes the cache read the file again at
// once. As long as the file has the old password, logins fail: a file has no AWSPENDING version
// to fall back on. A cache of package secretcache keeps a secret for 1 h by default. Reading a
// file is cheap, so set its Options.TTL to seconds; the source of a data source name has 10 s.
//
// # Choose a constructor
//
//   - [New]: a directory with one entry for each secret, such as /mnt/secrets-store; or one
//     file that is the secret.
//   - [NewKeys]: a directory that is one secret, with a file for each key (username, password
//     and so on), such as a volume of a Kubernetes Secret.
//   - [NewEnv]: an environment variable that holds the value.
//   - [NewEnvFile]: an environment variable that holds a path for New.
//
// At each fetch New asks the file system which of these its path is:
//
//   - A file is the secret, for every id.
//   - A directory has an entry that is named after the id. If the entry is a file, it is the
//     whole secret. If the entry is a directory, it has a file for each key of the secret.
//
// New never takes its directory itself for a secret with a file for each key, even if it
// looks like one: the error is ErrNotFound, and says to use NewKeys. Otherwise a mistyped id
// would get the password of another secret.
//
// Where the secret does not depend on the id, a data source name must still have one, but
// any valid name will do.
//
// # Names of entries
//
// The entry of an id has the name that AWS's provider for the CSI driver (ASCP) gives it: the
// secret's name, or the whole ARN, with "_" for each "/". [Options.PathTranslation] sets
// another character.
//
// For an ARN, New tries three names. For example, for
// arn:aws:secretsmanager:us-west-2:123456789012:secret:prod/app-a1b2c3 they are:
//
//  1. the whole ARN: arn:aws:secretsmanager:us-west-2:123456789012:secret:prod_app-a1b2c3
//  2. the name in the ARN: prod_app-a1b2c3
//  3. that name without the hyphen and six characters that Secrets Manager appends: prod_app
//
// The third name is not tried if the six characters are lower case letters only, so that
// "my-secret" in a partial ARN does not find the secret "my". Only the first name tells
// accounts and regions apart. A
// file that was mounted under an alias (objectAlias) is found by the alias as the id, or by
// its own path.
//
// No id leads out of the directory. Names that are empty, begin with "..", or have a separator
// or a NUL are not found. A symbolic link that leads out of the directory is an error, and so
// is an absolute link into it. The links that Kubernetes makes, through "..data", stay inside.
//
// # Values
//
// A file that is the whole secret is the value, byte for byte. So is an environment
// variable. For a directory with a file for each key, the value is a JSON object of strings:
//
//	{"host":"db.example.com","password":"…","username":"app"}
//
// In a file for a key:
//
//   - One line ending ("\n" or "\r\n") at the end is not part of the string, because editors and
//     echo write one. Spring's configtree and Tomcat also remove one; $(<file) in Docker's
//     official images removes all.
//   - A file with only blanks is an empty string.
//   - Names that begin with a dot, directories, and files that are not UTF-8 are skipped; see
//     [Trace.Skipped].
//
// In a file that is the whole secret:
//
//   - A value that is not UTF-8 makes a binary secret.
//   - A file with only blanks is an error. So is a file that begins with a brace and is not
//     JSON, because it may be half written.
//
// All files of one secret together have at most [MaxSize] bytes.
//
// # User and password of one version
//
// The user and the password come from the same version of the files. Kubernetes replaces all
// files of a volume at once, by the symbolic link "..data". A read follows that link once.
//
// Elsewhere, a read of a directory with a file for each key checks the files again at the
// end, and starts again if any of them has changed. A file or directory that was changed less
// than 100 ms ago is also read again when that time is over, because ASCP replaces one file
// after the other unless the CSI driver writes for it. If a writer pauses for longer between the
// user and the password, the read cannot notice it: keep both in one file then.
//
// A secret has no stage but AWSCURRENT. Its version id is a hash of the value with a
// random key of this process. Equal values of one id have equal version ids, but the id tells
// the reader of a log nothing.
//
// # Errors
//
// Errors name the path and say what to do. They match ErrNotFound, ErrNoVersion and
// ErrAccessDenied of package secretcache: a missing file or variable is ErrNotFound, a stage
// other than AWSCURRENT is ErrNoVersion, and a file that the process may not read is
// ErrAccessDenied. An empty file or variable matches none of them. Errors hold no part of a
// file or variable. A variable that should hold a path may hold the secret by mistake, so
// errors show "$NAME" in place of the path that [NewEnvFile] found. An id that is neither a
// secret's name nor an ARN is not shown either.
package file
